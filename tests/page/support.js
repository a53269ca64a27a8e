// Servers (started by scripts/harness.py), browsers, and what the tests do with the page.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

export const root = fileURLToPath(new URL("../..", import.meta.url));
const BINARY = join(root, "target/release/accountd");
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export const CAPTCHA = "k7m3xp";
export const KEY = "a registration key";
export const RESET = "a reset key";
export const PASSWORD = "a password";

/// Starts a server with these settings in addition to those that the tests need.
export async function serve(settings = {}) {
  const all = {
    secret_key_required_for_account_registration: KEY,
    forget_password_key: RESET,
    forgot_password_function_status: true,
    throttle: false,
    ...settings,
  };
  const options = Object.entries(all).flatMap((pair) => ["--set", pair.join("=")]);
  // It stops the server when its standard input ends, so also when this process does.
  const harness = spawn(join(root, "scripts/harness.py"), ["serve", ...options], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise((resolve) => harness.once("exit", resolve));
  const line = await Promise.race([new Promise((resolve) => createInterface(harness.stdout).once("line", resolve)), ended]);
  assert.equal(typeof line, "string", `harness.py exited with code ${line}`);
  const { URL: url, DATA: data } = JSON.parse(line);
  for (const handle of [harness, harness.stdin, harness.stdout]) handle.unref();

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

  /// Runs a command of an administrator; returns its output.
  const command = (...words) =>
    execFileSync(BINARY, [...words, "--data", data], { stdio: ["ignore", "pipe", "ignore"], encoding: "utf8" });

  return {
    url,
    post,
    /// Registers an account without the page.
    async register(username, more = {}) {
      const email = `${encodeURIComponent(username)}@example.org`;
      const user = { username, show_name: username, passwd: PASSWORD, email, key: KEY, ...more };
      assert.equal((await post("registered", user, true)).code, 200);
    },
    /// Logs in without the page; returns the token.
    async login(username, passwd = PASSWORD) {
      return (await post("login", { username, passwd }, true)).message;
    },
    command,
    /// Creates a link by a command: its key, and more.
    link: (...words) => JSON.parse(command(...words, "--json")),
    info: async (token) => (await post("user_info", { token })).message,
    async stop() {
      harness.stdin.end();
      assert.equal(await ended, 0);
    },
  };
}

/// A server behind a proxy that guards programs as docs/forward-auth.md tells nginx to: auth.example.test leads to the
/// server, and every other host is a program that is shown to signed-in users. `options` changes what the proxy does:
/// `drops`, a path of the server that is answered with 404; `cookies`, whether it passes cookies on to the browser;
/// `forwards`, whether it passes them on to the server.
export async function gate(settings = {}) {
  const options = { drops: "", cookies: true, forwards: true };
  let server;
  const pass = (request, response) => {
    const { method, url: path, headers } = request;
    const onward = http.request(server.url + path, { method, headers }, (answer) => {
      const kept = Object.entries(answer.headers).filter(([name]) => options.cookies || name !== "set-cookie");
      response.writeHead(answer.statusCode, Object.fromEntries(kept));
      answer.pipe(response);
    });
    request.pipe(onward);
  };
  const guard = async ({ headers, url: path }, response) => {
    const cookie = options.forwards && headers.cookie ? { cookie: headers.cookie } : {};
    const answer = await fetch(`${server.url}/api/forward_auth/`, { headers: cookie });
    if (answer.status === 401) {
      return response.writeHead(303, { Location: `${url}/#return=http://${headers.host}${path}` }).end();
    }
    response.writeHead(answer.status, { "Content-Type": "text/html" });
    const name = answer.headers.get("Remote-User");
    response.end(`<link rel=icon href=data:,><title>${headers.host}</title><p>${path} for ${name}</p>`);
  };
  const proxy = http.createServer((request, response) => {
    if (!request.headers.host.startsWith("auth.")) return guard(request, response);
    if (request.url === options.drops) return response.writeHead(404).end();
    return pass(request, response);
  });
  await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const { port } = proxy.address();
  const url = `http://auth.example.test:${port}`;
  server = await serve({ public_url: url, cookie_domain: "example.test", ...settings });
  return {
    ...server,
    url,
    options,
    /// Its address without the proxy.
    direct: server.url,
    program: (host) => `http://${host}.example.test:${port}`,
    async stop() {
      proxy.closeAllConnections();
      proxy.close();
      await server.stop();
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
      "--host-resolver-rules=MAP *.example.test 127.0.0.1",
    ],
  });

/// A person with a browser context. `leave` fails after an error on the console or a request to another host;
/// `expected` are console errors that are allowed, `others` the origins of programs to which the page may lead.
export async function person(browser, server, wishes = {}) {
  const { language = "en", width = 1280, height = 900, dark = false, touch = false, expected = [], others = [] } = wishes;
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
      if (![server.url, ...others].includes(url.origin) && url.protocol !== "blob:") faults.push(`a request to ${url}`);
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

/// What axe-core objects to in the current view.
export async function findings(page) {
  await page.evaluate(AXE);
  const result = await page.evaluate(() =>
    axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }),
  );
  const place = ({ html, failureSummary }) => `${html} ${failureSummary}`;
  return result.violations.map(({ id, nodes }) => `${id}: ${nodes.map(place).join(" | ")}`);
}

/// Types into the fields of an interface's form; `fields` has their names on the wire.
export async function fill(page, api, fields) {
  for (const [name, text] of Object.entries(fields)) {
    await page.locator(`[data-api=${api}] [name=${name}]`).fill(text);
  }
}

/// Presses the submit button of an interface's form.
export const submit = (page, api) => page.locator(`[data-api=${api}] .buttons button`).first().click();

/// Signs in through the page.
export async function signIn(page, username, passwd = PASSWORD) {
  await fill(page, "login", { username, passwd, verification_code: CAPTCHA });
  await submit(page, "login");
  await page.locator("#account-name", { hasText: username }).waitFor();
}
