// Signing in on the way to another program, and going back there.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { codeOf, enrol } from "./codes.js";
import {
  AT, CAPTCHA, KEY, PASSWORD, REPORTS, address, captcha, click, fill, findings, gate, gone, isVisible, launch, person, reload, shown, signIn,
  submit, text, visit, waitText,
} from "./support.js";

let server, browser;
before(async () => ([server, browser] = await Promise.all([gate({ sessions_per_user: 10 }), launch()])));
after(async () => {
  await browser?.close();
  await server?.stop();
});

/// What the browser reports on its console: each answer of 401, and that it isolates only pages that came over TLS.
const USUAL = [REPORTS.status(401), REPORTS.insecure];
const visitor = ({ expected = [], ...wishes } = {}) =>
  person(browser, server, {
    others: ["wiki", "a.b", "shop"].map(server.program),
    expected: [...USUAL, ...expected],
    ...wishes,
  });

/// Fills the sign-in form in and sends it, without waiting for what follows.
async function send(page, username, passwd = PASSWORD) {
  await captcha(page, "sign-in");
  await fill(page, "login", { username, passwd, verification_code: CAPTCHA });
  await submit(page, "login");
}

for (const [language, texts] of Object.entries({
  en: { onward: "to continue to wiki.example.test" },
  "zh-CN": { onward: "登录后将前往 wiki.example.test" },
})) {
  test(`a sign-in leads back to the program, by way of a wrong captcha, a reload and other views, in ${language}`, async () => {
    const name = `rei-${language.toLowerCase()}`;
    const { page, leave } = await visitor({ language });
    const wiki = `${server.program("wiki")}/pages/a%20b?c=d&e=%26`;
    await visit(page, wiki);
    const onward = () => waitText(page, ".view:not([hidden]) .onward", texts.onward);
    await onward();
    assert.equal(new URL(await address(page)).origin, server.url);
    assert.deepEqual(await findings(page), []);

    await click(page, AT.toRegister);
    await onward();
    await captcha(page, "register");
    const user = { username: name, show_name: name, email: `${name}@example.org`, key: KEY };
    await fill(page, "registered", { ...user, passwd: PASSWORD, verification_code: "wrong" });
    await submit(page, "registered");
    await shown(page, "[data-api=registered] .error");
    await onward();
    await server.register(name);

    await click(page, AT.toSignIn("register"));
    await click(page, AT.toReset);
    await onward();
    await reload(page);
    await onward();
    await click(page, AT.toSignIn("reset"));
    await captcha(page, "sign-in");
    await fill(page, "login", { username: name, passwd: PASSWORD, verification_code: "wrong" });
    await submit(page, "login");
    await shown(page, "[data-api=login] .error");
    await onward();
    await send(page, name);
    await waitText(page, "body", `/pages/a%20b?c=d&e=%26 for ${name}`);
    assert.equal(await address(page), wiki);

    // Programs on other hosts of the domain let the person in without a question, and so does the page on the way.
    await visit(page, server.program("a.b"));
    await waitText(page, "body", `/ for ${name}`);
    await visit(page, `${server.url}/#return=${encodeURIComponent(server.program("shop"))}`);
    await waitText(page, "body", `/ for ${name}`);
    assert.equal(await address(page), `${server.program("shop")}/`);

    // A sign-out at the page signs out of them all.
    await visit(page, server.url);
    await click(page, "#sign-out");
    await waitText(page, AT.notice, /You are signed out.|你已退出登录。/);
    await visit(page, wiki);
    await onward();
    await leave();
  });
}

test("the cookie lasts as long as the person has asked for", async () => {
  await server.register("ritsuko");
  for (const stays of [false, true]) {
    const { context, page, leave } = await visitor();
    await visit(page, server.program("wiki"));
    if (stays) await click(page, "#stay");
    await send(page, "ritsuko");
    await waitText(page, "body", "for ritsuko");
    const [cookie] = (await context.cookies()).filter(({ domain }) => domain.endsWith("example.test"));
    assert.equal(cookie.httpOnly, true);
    assert.equal(cookie.expires > 0, stays, "a cookie of the browser session has no date");
    await leave();
  }
});

test("a browser that blocks the cookie gets a message, and no loop", async () => {
  await server.register("misato");
  const { page, leave } = await visitor();
  server.options.cookies = false;
  await visit(page, server.program("wiki"));
  await send(page, "misato");
  await waitText(page, AT.notice, "your browser did not keep the cookie that wiki.example.test");
  await waitText(page, AT.name, "misato");
  assert.deepEqual(await findings(page), []);
  // A reload asks for another sign-in, and so does the link.
  await reload(page);
  await waitText(page, AT.name, "misato");
  await visit(page, server.program("wiki"));
  await waitText(page, AT.notice, "sign in once more, so that wiki.example.test");
  await send(page, "misato");
  server.options.cookies = true;
  await click(page, `${AT.notice} a`, "Sign in again");
  await send(page, "misato");
  await waitText(page, "body", "/ for misato");
  await leave();
});

test("a program that sends a signed-in person back ends in a message, and no loop", async () => {
  await server.register("kaji");
  const { page, leave } = await visitor();
  server.options.forwards = false;
  await visit(page, server.program("wiki"));
  await send(page, "kaji");
  await waitText(page, AT.notice, /but wiki\.example\.test:\d+ sent you back here/);
  await waitText(page, AT.name, "kaji");
  server.options.forwards = true;
  await click(page, `${AT.notice} a`, "Continue to wiki.example.test");
  await waitText(page, "body", "/ for kaji");
  await leave();
});

test("a program that demands a second factor gets it when the person has signed in with one", async () => {
  await server.register("gendo");
  const { page, leave } = await visitor();
  server.options.factor = true;
  await visit(page, server.program("wiki"));
  await send(page, "gendo");
  await waitText(page, AT.notice, "It may require the second step");
  await waitText(page, AT.name, "gendo");
  assert.deepEqual(await findings(page), []);
  const { secret } = await enrol(server, await server.login("gendo"), PASSWORD);
  await click(page, `${AT.notice} a`, "Sign in again");
  await send(page, "gendo");
  await fill(page, "login", { otp: codeOf(secret, 1) });
  await submit(page, "login");
  await waitText(page, "body", "/ for gendo");
  server.options.factor = false;
  await leave();
});

test("a server that does not tell who is signed in leaves the choice to the person", async () => {
  await server.register("hikari");
  const { page, leave } = await visitor({ expected: [REPORTS.status(404)] });
  await visit(page, server.program("wiki"));
  server.options.drops = "/api/forward_auth/";
  await reload(page);
  await shown(page, "#sign-in .onward");
  await send(page, "hikari");
  await waitText(page, AT.notice, /but wiki\.example\.test:\d+ may not know it/);
  server.options.drops = "";
  await click(page, `${AT.notice} a`, "Continue to wiki.example.test");
  await waitText(page, "body", "/ for hikari");
  await leave();
});

test("an address that does not belong here leads nowhere", async () => {
  await server.register("shinji");
  const { page, leave } = await visitor();
  const wrong = ["https://evil.test/", "//evil.test/", "javascript:alert(1)", `${server.program("wiki")}@evil.test/`, "https%3A%2F%2Fevil.test"];
  for (const target of wrong) {
    await visit(page, "about:blank");
    await visit(page, `${server.url}/#return=${target}`);
    await waitText(page, AT.notice, "The address to return to does not belong here.");
    assert.equal(await isVisible(page, "#sign-in .onward"), false);
    assert.equal(await address(page), `${server.url}/#/sign-in`);
    assert.ok(!(await text(page, "body")).includes("evil.test"), "nothing of the address is shown");
  }
  await signIn(page, "shinji");
  await visit(page, "about:blank");
  await visit(page, `${server.url}/#return=https://evil.test/`);
  await waitText(page, AT.notice, "does not belong here");
  await waitText(page, AT.name, "shinji");
  await leave();
});

test("a page under another name than the cookie's domain says so at once", async () => {
  const { page, leave } = await person(browser, { url: server.direct });
  await visit(page, `${server.direct}/#return=${encodeURIComponent(server.program("wiki"))}`);
  await waitText(page, AT.notice, `the shared sign-in works only at example.test and below`);
  assert.equal(await isVisible(page, "#sign-in .onward"), false);
  await leave();
});

test("tabs that wait for a sign-in go on together", async () => {
  await server.register("maya");
  const { page, tab, leave } = await visitor();
  await visit(page, `${server.program("wiki")}/first`);
  const second = await tab(`${server.program("shop")}/second`);
  await shown(second, "#sign-in .onward");
  await send(page, "maya");
  await waitText(page, "body", "/first for maya");
  await waitText(second, "body", "/second for maya");
  await leave();
});

test("an address that changes while the page is open is followed", async () => {
  await server.register("aoba");
  const { page, leave } = await visitor();
  await visit(page, server.program("wiki"));
  await waitText(page, "#sign-in .onward", "wiki");
  const shop = encodeURIComponent(server.program("shop"));
  await page.evaluate((shop) => (location.hash = `#return=${shop}`), shop);
  await waitText(page, "#sign-in .onward", "shop.example.test");
  await page.evaluate(() => (location.hash = "#/sign-in"));
  await gone(page, "#sign-in .onward");
  await send(page, "aoba");
  await waitText(page, AT.name, "aoba");
  await page.evaluate((shop) => (location.hash = `#return=${shop}`), shop);
  await waitText(page, "body", "/ for aoba");
  await leave();
});
