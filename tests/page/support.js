// A server on a free port over a fresh folder, a browser, and people in front of it.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

export const root = fileURLToPath(new URL("../..", import.meta.url));
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export const CAPTCHA = "k7m3xp";
export const KEY = "a registration key";
export const RESET = "a reset key";
export const PASSWORD = "a password";

/// Starts a server with these settings beside those that the tests need.
export async function serve(settings = {}) {
  const data = mkdtempSync(join(tmpdir(), "accountd-page-"));
  const all = {
    secret_key_required_for_account_registration: KEY,
    forget_password_key: RESET,
    forgot_password_function_status: true,
    throttle: false,
    ...settings,
  };
  writeFileSync(join(data, "config.json"), JSON.stringify(all));
  const program = process.env.ACCOUNTD ?? join(root, "target/debug/accountd");
  const options = ["--data", data, "--listen", "127.0.0.1:0", "--captcha-answer", CAPTCHA];
  const child = spawn(program, ["serve", ...options], { stdio: ["ignore", "ignore", "pipe"] });
  // Whatever becomes of the tests, the server and its folder end with them.
  process.once("exit", () => {
    child.kill("SIGTERM");
    rmSync(data, { recursive: true, force: true });
  });
  const url = await new Promise((resolve, reject) => {
    const lines = [];
    createInterface(child.stderr).on("line", (line) => {
      lines.push(line);
      if (line.startsWith("listening on ")) resolve(line.slice("listening on ".length));
    });
    child.once("exit", () => reject(new Error(`the server ended: ${lines.join("\n")}`)));
  });
  child.unref();
  child.stderr.unref();
  const ended = new Promise((resolve) => child.once("exit", resolve));

  async function post(api, members, solved = false) {
    if (solved) {
      const captcha = await fetch(`${url}/api/get_verification_code/`);
      await captcha.arrayBuffer();
      const key = captcha.headers.get("VerificationCodeKey");
      members = { ...members, verification_code_key: key, verification_code: CAPTCHA };
    }
    const response = await fetch(`${url}/api/${api}/`, { method: "POST", body: JSON.stringify(members) });
    return response.json();
  }

  return {
    url,
    post,
    /// A new account, without the page.
    async register(username, more = {}) {
      const email = `${encodeURIComponent(username)}@example.org`;
      const user = { username, show_name: username, passwd: PASSWORD, email, key: KEY, ...more };
      assert.equal((await post("registered", user, true)).code, 200);
    },
    /// A new session, without the page.
    async login(username, passwd = PASSWORD) {
      return (await post("login", { username, passwd }, true)).message;
    },
    info: async (token) => (await post("user_info", { token })).message,
    async stop() {
      child.kill("SIGTERM");
      await ended;
      rmSync(data, { recursive: true, force: true });
    },
  };
}

export const launch = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });

/// A person with a browser of their own. What goes wrong unseen, an error on the console or a request to another host,
/// fails when they leave; `expected` are console errors that are no fault.
export async function person(browser, server, { language = "en", width = 1280, height = 900, dark = false, touch = false, expected = [] } = {}) {
  const context = await browser.newContext({
    locale: language,
    viewport: { width, height },
    colorScheme: dark ? "dark" : "light",
    reducedMotion: "reduce",
    hasTouch: touch,
    permissions: ["clipboard-read", "clipboard-write"],
  });
  context.setDefaultTimeout(20_000);
  const faults = [];
  const watch = (page) => {
    page.on("console", (message) => {
      const text = message.text();
      if (["error", "warning"].includes(message.type()) && !expected.some((one) => one.test(text))) faults.push(text);
    });
    page.on("pageerror", (error) => faults.push(String(error)));
    page.on("request", (request) => {
      const url = new URL(request.url());
      if (url.origin !== server.url && url.protocol !== "blob:") faults.push(`a request to ${url}`);
    });
  };
  context.on("page", watch);
  const page = await context.newPage();
  return {
    context,
    page,
    async open(where = "") {
      await page.goto(`${server.url}/${where}`);
    },
    async leave() {
      await context.close();
      assert.deepEqual(faults, []);
    },
  };
}

/// What axe-core finds in what is shown.
export async function findings(page) {
  await page.evaluate(AXE);
  const result = await page.evaluate(() =>
    axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }),
  );
  const place = ({ html, failureSummary }) => `${html} ${failureSummary}`;
  return result.violations.map(({ id, nodes }) => `${id}: ${nodes.map(place).join(" | ")}`);
}

/// Types into the fields of the form of an interface, by their names on the wire.
export async function fill(page, api, fields) {
  for (const [name, text] of Object.entries(fields)) {
    await page.locator(`[data-api=${api}] [name=${name}]`).fill(text);
  }
}

/// Presses the button of a form.
export const submit = (page, api) => page.locator(`[data-api=${api}] .buttons button`).first().click();

/// Signs in by the page.
export async function signIn(page, username, passwd = PASSWORD) {
  await fill(page, "login", { username, passwd, verification_code: CAPTCHA });
  await submit(page, "login");
  await page.locator("#account-name", { hasText: username }).waitFor();
}
