// What the tests do with the page, in every browser. Each function waits for what it needs, and none sleeps.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { setTimeout as pause } from "node:timers/promises";
import { PATIENCE } from "./browsers.js";
import { CAPTCHA, PASSWORD } from "./servers.js";

export * from "./browsers.js";
export * from "./servers.js";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/// Selectors that occur often.
export const AT = {
  notice: "#notice",
  name: "#account-name",
  title: "#account-title",
  signOut: "#sign-out",
  toRegister: "#sign-in [href^='#/register']",
  toReset: "#sign-in [href^='#/reset']",
  toSignIn: (view) => `#${view} [href^='#/sign-in']`,
  form: (api) => `[data-api=${api}]`,
  /// What is said about a form, or below one of its fields.
  message: (api) => `[data-api=${api}] :is(.message, .error)`,
  field: (api, name) => `[data-api=${api}] [name=${name}]`,
  submit: (api) => `[data-api=${api}] .buttons button`,
  /// The captcha of a view, and the button that renews it.
  captcha: (view) => `#${view} .picture img`,
  again: (view) => `#${view} .captcha button`,
};

/// Sentences of the page that occur often.
export const SAYS = {
  offline: "The server can’t be reached.",
  signedOut: "You are signed out.",
  ended: "Your session has ended. Please sign in again.",
  linkDead: "This link no longer works",
  newPassword: "Your password is changed. Sign in with the new one.",
};

/// Waits until a function of the page returns something true, and returns that.
export async function until(page, predicate, ...args) {
  const end = performance.now() + PATIENCE;
  // An element cannot be returned from Firefox.
  const asked = `Promise.resolve((${predicate})(...${JSON.stringify(args)})).then((found) => (found instanceof Node ? true : found))`;
  for (let wait = 4; ; wait = Math.min(2 * wait, 50)) {
    let found, error;
    try {
      found = await page.evaluate(asked);
    } catch (thrown) {
      // A page that is being left is asked again when the next one is there.
      error = thrown;
    }
    if (found) return found;
    if (performance.now() > end) {
      const view = await page.evaluate(() => `${location.href}\n${document.body.innerText}`).catch(String);
      throw new Error(`not within ${PATIENCE} ms: ${JSON.stringify(args)} ${error ?? ""}\n${predicate}\nThe page shows:\n${view}`);
    }
    await pause(wait);
  }
}

/// Whether an element that matches is visible now.
export const isVisible = (page, selector) =>
  page.evaluate((selector) => {
    const seen = (one) => one.checkVisibility({ visibilityProperty: true }) && one.getClientRects().length > 0;
    return [...document.querySelectorAll(selector)].some(seen);
  }, selector);

/// Waits until an element that matches is visible.
export const shown = (page, selector) => waitText(page, selector, "");

/// Waits until no element that matches is visible.
export const gone = (page, selector) =>
  until(page, (selector) => ![...document.querySelectorAll(selector)].some((one) => one.checkVisibility({ visibilityProperty: true })), selector);

/// Waits until the captcha of a view is there.
export const captcha = (page, view) => shown(page, AT.captcha(view));

/// Waits until a visible element that matches contains this text, or matches this regular expression; returns its text.
export async function waitText(page, selector, text) {
  const [source, flags] = text instanceof RegExp ? [text.source, text.flags] : [text, null];
  const { found } = await until(
    page,
    (selector, source, flags) => {
      const fits = (found) => (flags === null ? found.includes(source) : new RegExp(source, flags).test(found));
      const seen = (one) => one.checkVisibility({ visibilityProperty: true }) && one.getClientRects().length > 0;
      // Firefox's innerText has no isolates around names, and Chromium's has.
      const found = [...document.querySelectorAll(selector)].filter(seen).map((one) => one.innerText.replace(/[\u2068\u2069]/g, ""));
      const nth = found.findIndex(fits);
      return nth < 0 ? null : { found: found[nth] };
    },
    selector,
    source,
    flags,
  );
  return found;
}

/// The text of the first element that matches, shown or not.
export const text = (page, selector) => page.evaluate((selector) => document.querySelector(selector).textContent, selector);

/// The value of a field.
export const value = (page, selector) => page.evaluate((selector) => document.querySelector(selector).value, selector);

/// An attribute of the first element that matches, or null.
export const attribute = (page, selector, name) =>
  page.evaluate((selector, name) => document.querySelector(selector).getAttribute(name), selector, name);

/// How many elements match.
export const count = (page, selector) => page.evaluate((selector) => document.querySelectorAll(selector).length, selector);

/// The part of the page's address after #, and the whole of it.
export const address = (page) => page.evaluate(() => location.href);

/// Opens the panel of the account view that has an element which matches, if the panel is closed.
export const openPanel = (page, selector) =>
  page.evaluate((selector) => {
    const found = document.querySelector(selector);
    if (!found?.closest("summary")) found?.closest("details:not([open])")?.querySelector("summary").click();
  }, selector);

/// Clicks with the mouse on the first visible element that matches; if `text` is given, on the first that contains it.
/// A closed panel is opened before.
export async function click(page, selector, text = "") {
  await openPanel(page, selector);
  await waitText(page, selector, text);
  const found = await page.evaluateHandle(
    (selector, text) => {
      const seen = (one) => one.checkVisibility({ visibilityProperty: true }) && one.getClientRects().length > 0;
      return [...document.querySelectorAll(selector)].find((one) => seen(one) && one.innerText.includes(text));
    },
    selector,
    text,
  );
  await found.asElement().click();
  await found.dispose();
}

/// Presses a key on the focused element, with those before it held down: "Tab", "Shift+ArrowLeft".
export async function press(page, key) {
  const keys = key === "+" ? ["+"] : key.replace("Space", " ").split("+");
  for (const held of keys.slice(0, -1)) await page.keyboard.down(held);
  await page.keyboard.press(keys.at(-1));
  for (const held of keys.slice(0, -1).reverse()) await page.keyboard.up(held);
}

/// Types on the focused element.
export const type = (page, text) => page.keyboard.type(text);

/// Focuses an element. A closed panel is opened before.
export async function focus(page, selector) {
  await openPanel(page, selector);
  await page.evaluate((selector) => document.querySelector(selector).focus(), selector);
}

/// The id of the focused element, or "".
export const focusedId = (page) => page.evaluate(() => document.activeElement?.id ?? "");

/// Waits until the element with this id is focused.
export const waitFocus = (page, id) => until(page, (id) => document.activeElement?.id === id, id);

/// Sets the fields of an interface's form, as an input does; `fields` has their names on the wire. A closed panel is
/// opened before.
export async function fill(page, api, fields) {
  await openPanel(page, AT.form(api));
  return until(
    page,
    (form, fields) => {
      const inputs = Object.keys(fields).map((name) => document.querySelector(`${form} [name=${name}]`));
      if (!inputs.every((input) => input?.checkVisibility() && !input.readOnly && !input.disabled)) return false;
      for (const input of inputs) {
        input.focus();
        input.value = fields[input.name];
        input.dispatchEvent(new InputEvent("input", { bubbles: true, inputType: "insertText" }));
        input.dispatchEvent(new Event("change", { bubbles: true }));
      }
      return true;
    },
    AT.form(api),
    fields,
  );
}

/// Clicks on the submit button of an interface's form.
export const submit = (page, api) => click(page, AT.submit(api));

/// Signs in through the page, and waits for the account.
export async function signIn(page, username, passwd = PASSWORD) {
  await captcha(page, "sign-in");
  await fill(page, "login", { username, passwd, verification_code: CAPTCHA });
  await submit(page, "login");
  await waitText(page, AT.name, username);
}

/// Waits until a new account is signed in.
export async function entered(page, username) {
  await waitText(page, AT.notice, /^(Your account is created, and you are signed in\.|账户已创建，你已登录。)$/);
  await waitText(page, AT.name, username);
}

/// Signs out through the page, and waits for the message.
export async function signOut(page) {
  await click(page, AT.signOut);
  await shown(page, `${AT.notice}.good`);
}

/// Puts a file into a file field: a path, or { name, type, base64 }.
export async function choose(page, selector, file) {
  if (typeof file === "string") {
    const field = await page.$(selector);
    return field.uploadFile(file);
  }
  return page.evaluate(
    (selector, { name, type, base64 }) => {
      const data = new DataTransfer();
      data.items.add(new File([Uint8Array.from(atob(base64), (one) => one.charCodeAt())], name, { type }));
      const field = document.querySelector(selector);
      field.files = data.files;
      for (const kind of ["input", "change"]) field.dispatchEvent(new Event(kind, { bubbles: true }));
    },
    selector,
    file,
  );
}

/// What axe-core objects to in the current view.
export async function findings(page) {
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(AXE);
  return page.evaluate(async () => {
    const { violations } = await axe.run(document, {
      runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
      resultTypes: ["violations"],
    });
    const place = ({ html, failureSummary }) => `${html} ${failureSummary}`;
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(place).join(" | ")}`);
  });
}

/// How many pixels the page is wider than the window.
export const overflow = (page) => page.evaluate(() => Math.max(0, document.documentElement.scrollWidth - innerWidth));

/// Writes a picture of the page to a file once captchas and images are loaded; `full` takes all of the page, not only
/// what the window shows.
export async function screenshot(page, file, full = true) {
  await until(page, () => !document.querySelector(".view:not([hidden]) .waiting"));
  await until(page, () => [...document.images].every((image) => !image.src || image.hidden || image.complete));
  writeFileSync(file, await page.screenshot({ fullPage: full }));
}

/// Replaces the page's clock, before the page opens. Time passes as usual until `stop`; after that only `pass` lets
/// timers run.
export async function clock(page) {
  await page.evaluateOnNewDocument(() => {
    const start = { timeout: setTimeout.bind(window), clear: clearTimeout.bind(window), now: performance.now.bind(performance) };
    const timers = new Map();
    let stopped = null;
    let nth = 1_000_000;
    const now = () => stopped ?? start.now();
    const began = Date.now() - start.now();
    const run = (id) => {
      const timer = timers.get(id);
      if (!timer) return;
      if (timer.every === null) timers.delete(id);
      else plan(id, timer.every);
      timer.act();
    };
    const plan = (id, wait) => {
      timers.get(id).due = now() + wait;
      start.timeout(() => stopped ?? run(id), wait);
    };
    const add = (every) => (act, wait = 0, ...args) => {
      const id = ++nth;
      timers.set(id, { act: () => act(...args), every: every ? Math.max(1, wait) : null });
      plan(id, wait);
      return id;
    };
    window.setTimeout = add(false);
    window.setInterval = add(true);
    window.clearTimeout = window.clearInterval = (id) => timers.delete(id) || start.clear(id);
    performance.now = now;
    Date.now = () => began + now();
    AbortSignal.timeout = (wait) => {
      const control = new AbortController();
      window.setTimeout(() => control.abort(new DOMException("the time is over", "TimeoutError")), wait);
      return control.signal;
    };
    window.testClock = {
      stop: () => void (stopped = now()),
      async pass(milliseconds) {
        const end = stopped + milliseconds;
        for (;;) {
          const [id, next] = [...timers].filter(([, { due }]) => due <= end).sort(([, one], [, other]) => one.due - other.due)[0] ?? [];
          if (!next) break;
          stopped = Math.max(stopped, next.due);
          run(id);
          // What waits for promises goes on before the next timer.
          await new Promise((go) => start.timeout(go, 0));
        }
        stopped = end;
      },
    };
  });
  return {
    stop: () => page.evaluate(() => window.testClock.stop()),
    pass: (milliseconds) => page.evaluate((milliseconds) => window.testClock.pass(milliseconds), milliseconds),
  };
}

/// The addresses of the page's requests from now on: an array that grows.
export function calls(page) {
  const list = [];
  page.on("request", (request) => list.push(request.url()));
  return list;
}
