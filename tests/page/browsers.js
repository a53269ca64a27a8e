// Chromium and Firefox, and all that differs between them. Chromium is driven over the DevTools protocol, Firefox over
// WebDriver BiDi.

import assert from "node:assert/strict";
import puppeteer from "puppeteer-core";

/// The browser that the tests of this process use; run.js starts a process for each.
export const BROWSER = process.env.BROWSER ?? "chromium";
/// Milliseconds after which a test no longer waits for something.
export const PATIENCE = 20_000;

const DRIVERS = {
  chromium: {
    options: {
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
    },
    async context(browser, { server, touch }) {
      const context = await browser.createBrowserContext();
      const { origin, hostname } = new URL(server.url);
      // Without TLS only this machine's own address may have a clipboard.
      if (hostname === "127.0.0.1") await context.overridePermissions(origin, ["clipboard-read", "clipboard-sanitized-write"]);
      return {
        context,
        async page({ language, width, height, dark }) {
          const page = await context.newPage();
          const session = await page.createCDPSession();
          const userAgent = (await browser.userAgent()).replace("Headless", "");
          await Promise.all([
            page.setViewport({ width, height, hasTouch: touch }),
            page.emulateMediaFeatures([
              { name: "prefers-color-scheme", value: dark ? "dark" : "light" },
              { name: "prefers-reduced-motion", value: "reduce" },
            ]),
            session.send("Emulation.setLocaleOverride", { locale: language }),
            session.send("Network.setUserAgentOverride", { userAgent, acceptLanguage: language }),
            // As if each page was in front.
            session.send("Emulation.setFocusEmulationEnabled", { enabled: true }),
          ]);
          return page;
        },
      };
    },
    async fingers(page, frames) {
      const session = await page.createCDPSession();
      for (const [nth, points] of frames.entries()) {
        const kind = nth === 0 ? "touchStart" : points.length ? "touchMove" : "touchEnd";
        await session.send("Input.dispatchTouchEvent", { type: kind, touchPoints: points.map((point, id) => ({ ...point, id })) });
      }
    },
  },
  firefox: {
    options: {
      browser: "firefox",
      executablePath: process.env.FIREFOX ?? "/usr/bin/firefox-esr",
      // For `colours` below.
      args: ["--remote-allow-system-access"],
      extraPrefsFirefox: {
        "network.dns.localDomains": ["auth", "wiki", "a.b", "shop"].map((name) => `${name}.example.test`).join(),
        "ui.prefersReducedMotion": 1,
        // The clipboard is read without a question.
        "dom.events.testing.asyncClipboard": true,
        "dom.w3c_touch_events.enabled": 1,
      },
    },
    async context(browser, { language }) {
      const context = await browser.createBrowserContext();
      await bidi(browser, "emulation.setLocaleOverride", { locale: language, userContexts: [context.id] });
      return {
        context,
        // The first page that isolates itself gets another browsing context, which would forget the colours.
        opened: (page, { dark }) => dark && colours(browser, page, "dark"),
        async page({ width, height }) {
          // Firefox slows the tabs that are not in front down, so each page has a window.
          const page = await context.newPage({ type: "window" });
          await page.setViewport({ width, height });
          return page;
        },
      };
    },
    fingers(page, frames, browser) {
      const finger = (nth) => {
        const [start, ...moves] = frames.slice(0, -1).map((points) => points[nth]);
        const move = ({ x, y }) => ({ type: "pointerMove", x: Math.round(x), y: Math.round(y) });
        const actions = [move(start), { type: "pointerDown", button: 0 }, ...moves.map(move), { type: "pointerUp", button: 0 }];
        return { type: "pointer", id: `finger ${nth}`, parameters: { pointerType: "touch" }, actions };
      };
      return bidi(browser, "input.performActions", { context: page.mainFrame()._id, actions: [0, 1].map(finger) });
    },
  },
};

const bidi = async (browser, method, parameters) => (await browser.connection.send(method, parameters)).result;

/// BiDi has no command for the colour scheme, so Firefox's own window sets it for the page.
async function colours(browser, page, scheme) {
  const { contexts } = await bidi(browser, "browsingContext.getTree", { "moz:scope": "chrome", maxDepth: 0 });
  const manager = "chrome://remote/content/shared/NavigableManager.sys.mjs";
  const { type } = await bidi(browser, "script.evaluate", {
    expression: `ChromeUtils.importESModule("${manager}").NavigableManager.getBrowsingContextById("${page.mainFrame()._id}")
      .top.prefersColorSchemeOverride = "${scheme}"`,
    target: { context: contexts[0].context },
    awaitPromise: false,
  });
  assert.equal(type, "success");
}

/// Puts two fingers on a place of the page and moves them to these distances from it, in pixels.
export function pinch(browser, page, { x, y }, distances) {
  const frames = distances.map((apart) => [{ x: x - apart, y }, { x: x + apart, y }]);
  return DRIVERS[browser.named].fingers(page, [...frames, []], browser);
}

const running = new Map();

/// Starts a browser, or returns the running one: a start takes seconds.
export function launch(name = BROWSER) {
  if (!running.has(name)) running.set(name, start(name));
  return running.get(name);
}

async function start(name) {
  const browser = await puppeteer.launch({ headless: true, ...DRIVERS[name].options });
  const close = browser.close.bind(browser);
  return Object.assign(browser, {
    named: name,
    close() {
      const closed = running.delete(name) && close();
      return closed || undefined;
    },
  });
}

/// Console errors that some tests expect. Firefox reports only what scripts log, so these are Chromium's.
export const REPORTS = {
  offline: /ERR_INTERNET_DISCONNECTED/,
  dropped: /ERR_(FAILED|EMPTY_RESPONSE|CONNECTION_RESET)/,
  status: (code) => new RegExp(`status of ${code}`),
  /// The header works only on pages that came over TLS.
  insecure: /Cross-Origin-Opener-Policy/,
};

/// A person with a browser of their own (a fresh context). `wishes` are `language`, `width`, `height`, `dark`, `touch`;
/// `expected`, console errors that are allowed; `others`, origins of programs to which the page may lead. Returns
///
/// - `page`, and `open(where)`, which opens an address below the server's;
/// - `tab(address)`, which opens another page;
/// - `offline(true)`, which cuts all pages off, and `offline(false)`;
/// - `leave()`, which fails after an error on a console or a request to another host.
export async function person(browser, server, wishes = {}) {
  const look = { language: "en", width: 1280, height: 900, dark: false, touch: false, ...wishes };
  const { expected = [], others = [] } = wishes;
  const driver = await DRIVERS[browser.named].context(browser, { server, ...look });
  const { context } = driver;
  const faults = [];
  const pages = [];
  const add = async () => {
    const page = await driver.page(look);
    page.setDefaultTimeout(PATIENCE);
    page.on("console", (message) => {
      const text = message.text();
      if (["error", "warn", "warning"].includes(message.type()) && !expected.some((one) => one.test(text))) faults.push(text);
    });
    page.on("pageerror", (error) => faults.push(String(error)));
    page.on("request", (request) => {
      const url = new URL(request.url());
      if (![server.url, ...others].includes(url.origin) && /^(http|ws)/.test(url.protocol)) faults.push(`a request to ${url}`);
    });
    // Firefox does not report these as messages of the console.
    await page.evaluateOnNewDocument(() =>
      addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) =>
        console.error(`the content security policy forbids ${blockedURI}: ${violatedDirective}`),
      ),
    );
    pages.push(page);
    return page;
  };
  const page = await add();
  return {
    context,
    page,
    async open(where = "") {
      await visit(page, `${server.url}/${where}`);
      await driver.opened?.(page, look);
    },
    async tab(address) {
      const page = await add();
      await visit(page, address);
      return page;
    },
    async offline(cut) {
      for (const page of pages.filter((page) => !page.isClosed())) await page.setOfflineMode(cut);
    },
    async leave() {
      await context.close();
      assert.deepEqual(faults, []);
    },
  };
}

/// Opens an address. What was opened may lead elsewhere before it is loaded.
export const visit = (page, address) => page.goto(address, { waitUntil: "load" }).catch(unlessLedAway);
export const reload = (page) => page.reload({ waitUntil: "load" }).catch(unlessLedAway);

function unlessLedAway(error) {
  if (!/ERR_ABORTED|NS_BINDING_ABORTED|navigation (was )?(aborted|canceled)|detached/i.test(error.message)) throw error;
}
