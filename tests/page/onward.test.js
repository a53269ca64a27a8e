// Signing in on the way to another program, and going back there.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { CAPTCHA, KEY, PASSWORD, fill, findings, gate, launch, person, signIn, submit } from "./support.js";

let server, browser;
before(async () => ([server, browser] = await Promise.all([gate({ sessions_per_user: 10 }), launch()])));
after(async () => {
  await browser?.close();
  await server?.stop();
});

const notice = (page) => page.locator("#notice");
/// What the browser reports on its console: each answer of 401, and that it isolates only pages that came over TLS.
const REPORTS = [/status of 401/, /Cross-Origin-Opener-Policy/];
const visitor = ({ expected = [], ...wishes } = {}) =>
  person(browser, server, {
    others: ["wiki", "a.b", "shop"].map(server.program),
    expected: [...REPORTS, ...expected],
    ...wishes,
  });

/// Fills the sign-in form in and sends it, without waiting for what follows.
async function send(page, username, passwd = PASSWORD) {
  await page.locator("#sign-in .picture img").waitFor();
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
    await page.goto(wiki);
    const onward = page.locator(".view:not([hidden]) .onward", { hasText: texts.onward });
    await onward.waitFor();
    assert.equal(new URL(page.url()).origin, server.url);
    assert.deepEqual(await findings(page), []);

    await page.click("[href^='#/register']");
    await onward.waitFor();
    await page.locator("#register .picture img").waitFor();
    const user = { username: name, show_name: name, email: `${name}@example.org`, key: KEY };
    await fill(page, "registered", { ...user, passwd: PASSWORD, verification_code: "wrong" });
    await submit(page, "registered");
    await page.locator("[data-api=registered] .message.bad").waitFor();
    await fill(page, "registered", { passwd: PASSWORD, verification_code: CAPTCHA });
    await submit(page, "registered");
    await notice(page).getByText("注册成功").waitFor();
    await onward.waitFor();

    await page.click("#sign-in [href^='#/reset']");
    await onward.waitFor();
    await page.reload();
    await onward.waitFor();
    await page.click("#reset [href^='#/sign-in']");
    await page.locator("#sign-in .picture img").waitFor();
    await fill(page, "login", { username: name, passwd: PASSWORD, verification_code: "wrong" });
    await submit(page, "login");
    await page.locator("[data-api=login] .message.bad").waitFor();
    await onward.waitFor();
    await send(page, name);
    await page.getByText(`/pages/a%20b?c=d&e=%26 for ${name}`).waitFor();
    assert.equal(page.url(), wiki);

    // Programs on other hosts of the domain let the person in without a question, and so does the page on the way.
    await page.goto(server.program("a.b"));
    await page.getByText(`/ for ${name}`).waitFor();
    await page.goto(`${server.url}/#return=${encodeURIComponent(server.program("shop"))}`);
    await page.getByText(`/ for ${name}`).waitFor();
    assert.equal(page.url(), `${server.program("shop")}/`);

    // A sign-out at the page signs out of them all.
    await page.goto(server.url);
    await page.click("#sign-out");
    await notice(page).getByText(/You are signed out.|你已退出登录。/).waitFor();
    await page.goto(wiki);
    await onward.waitFor();
    await leave();
  });
}

test("the cookie lasts as long as the person has asked for", async () => {
  await server.register("ritsuko");
  for (const stays of [false, true]) {
    const { context, page, leave } = await visitor();
    await page.goto(server.program("wiki"));
    if (stays) await page.check("#stay");
    await send(page, "ritsuko");
    await page.getByText("for ritsuko").waitFor();
    const [cookie] = await context.cookies(server.program("wiki"));
    assert.equal(cookie.httpOnly, true);
    assert.equal(cookie.expires > 0, stays, "a cookie of the browser session has no date");
    await leave();
  }
});

test("a browser that blocks the cookie gets a message, and no loop", async () => {
  await server.register("misato");
  const { page, leave } = await visitor();
  server.options.cookies = false;
  await page.goto(server.program("wiki"));
  await send(page, "misato");
  await notice(page).getByText("your browser did not keep the cookie that wiki.example.test").waitFor();
  await page.locator("#account-name", { hasText: "misato" }).waitFor();
  assert.deepEqual(await findings(page), []);
  // A reload asks for another sign-in, and so does the link.
  await page.reload();
  await page.locator("#account-name", { hasText: "misato" }).waitFor();
  await page.goto(server.program("wiki"));
  await notice(page).getByText("sign in once more, so that wiki.example.test").waitFor();
  await send(page, "misato");
  server.options.cookies = true;
  await notice(page).getByRole("link", { name: "Sign in again" }).click();
  await send(page, "misato");
  await page.getByText("/ for misato").waitFor();
  await leave();
});

test("a program that sends a signed-in person back ends in a message, and no loop", async () => {
  await server.register("kaji");
  const { page, leave } = await visitor();
  server.options.forwards = false;
  await page.goto(server.program("wiki"));
  await send(page, "kaji");
  await notice(page).getByText(/but wiki\.example\.test:\d+ sent you back here/).waitFor();
  await page.locator("#account-name", { hasText: "kaji" }).waitFor();
  server.options.forwards = true;
  await notice(page).getByRole("link", { name: "Continue to wiki.example.test" }).click();
  await page.getByText("/ for kaji").waitFor();
  await leave();
});

test("a server that does not tell who is signed in leaves the choice to the person", async () => {
  await server.register("hikari");
  const { page, leave } = await visitor({ expected: [/status of 404/] });
  await page.goto(server.program("wiki"));
  server.options.drops = "/api/forward_auth/";
  await page.reload();
  await page.locator("#sign-in .onward").waitFor();
  await send(page, "hikari");
  await notice(page).getByText(/but wiki\.example\.test:\d+ may not know it/).waitFor();
  server.options.drops = "";
  await notice(page).getByRole("link", { name: "Continue to wiki.example.test" }).click();
  await page.getByText("/ for hikari").waitFor();
  await leave();
});

test("an address that does not belong here leads nowhere", async () => {
  await server.register("shinji");
  const { page, leave } = await visitor();
  const wrong = ["https://evil.test/", "//evil.test/", "javascript:alert(1)", `${server.program("wiki")}@evil.test/`, "https%3A%2F%2Fevil.test"];
  for (const address of wrong) {
    await page.goto("about:blank");
    await page.goto(`${server.url}/#return=${address}`);
    await notice(page).getByText("The address to return to does not belong here.").waitFor();
    assert.equal(await page.locator("#sign-in .onward").isVisible(), false);
    assert.equal(page.url(), `${server.url}/#/sign-in`);
    assert.ok(!(await page.textContent("body")).includes("evil.test"), "nothing of the address is shown");
  }
  await signIn(page, "shinji");
  await page.goto("about:blank");
  await page.goto(`${server.url}/#return=https://evil.test/`);
  await notice(page).getByText("does not belong here").waitFor();
  await page.locator("#account-name", { hasText: "shinji" }).waitFor();
  await leave();
});

test("a page under another name than the cookie's domain says so at once", async () => {
  const { page, leave } = await person(browser, { url: server.direct });
  await page.goto(`${server.direct}/#return=${encodeURIComponent(server.program("wiki"))}`);
  await notice(page).getByText(`the shared sign-in works only at example.test and below`).waitFor();
  assert.equal(await page.locator("#sign-in .onward").isVisible(), false);
  await leave();
});

test("tabs that wait for a sign-in go on together", async () => {
  await server.register("maya");
  const { context, page, leave } = await visitor();
  await page.goto(`${server.program("wiki")}/first`);
  const second = await context.newPage();
  await second.goto(`${server.program("shop")}/second`);
  await second.locator("#sign-in .onward").waitFor();
  await send(page, "maya");
  await page.getByText("/first for maya").waitFor();
  await second.getByText("/second for maya").waitFor();
  await leave();
});

test("an address that changes while the page is open is followed", async () => {
  await server.register("aoba");
  const { page, leave } = await visitor();
  await page.goto(server.program("wiki"));
  await page.locator("#sign-in .onward", { hasText: "wiki" }).waitFor();
  const shop = encodeURIComponent(server.program("shop"));
  await page.evaluate((shop) => (location.hash = `#return=${shop}`), shop);
  await page.locator("#sign-in .onward", { hasText: "shop.example.test" }).waitFor();
  await page.evaluate(() => (location.hash = "#/sign-in"));
  await page.locator("#sign-in .onward").waitFor({ state: "hidden" });
  await send(page, "aoba");
  await page.locator("#account-name", { hasText: "aoba" }).waitFor();
  await page.evaluate((shop) => (location.hash = `#return=${shop}`), shop);
  await page.getByText("/ for aoba").waitFor();
  await leave();
});
