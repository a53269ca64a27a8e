// Invitations, and links that reset a password.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { CAPTCHA, KEY, PASSWORD, fill, findings, gate, launch, person, serve, signIn, submit } from "./support.js";

let server, browser;
before(async () => ([server, browser] = await Promise.all([serve(), launch()])));
after(async () => {
  await browser?.close();
  await server?.stop();
});

const message = (page, api) => page.locator(`[data-api=${api}] .message`);

/// Fills the registration form in, except for the key, and sends it.
async function register(page, name) {
  await page.locator("#register .picture img").waitFor();
  const email = `${name}@example.org`;
  await fill(page, "registered", { username: name, show_name: name, email, passwd: PASSWORD, verification_code: CAPTCHA });
  await submit(page, "registered");
}

const LANGUAGES = {
  en: { groups: "Your groups: art, media.", until: /The link is good until \w+ \d+, \d{4}/, dead: "This link no longer works" },
  "zh-CN": { groups: "你将加入用户组：art, media。", until: /链接有效期至 \d{4}年\d+月\d+日/, dead: "链接已失效" },
};

for (const [language, texts] of Object.entries(LANGUAGES)) {
  test(`an invitation creates an account though registration is closed, and is used up then, in ${language}`, async () => {
    const closed = await serve({ registration_function_status: false });
    for (const group of ["media", "art"]) closed.command("group", "add", group);
    const { key } = closed.link("invite", "--group", "media", "--group", "art");
    const { page, open, leave } = await person(browser, closed, { language });
    await open(`#invite=${key}`);
    await page.locator("#register .facts").getByText(texts.groups).waitFor();
    assert.match(await page.textContent("#register .facts"), texts.until);
    assert.equal(await page.inputValue("#new-key"), key);
    assert.equal(await page.getAttribute("#new-key", "readonly"), "");
    assert.deepEqual(await findings(page), []);
    // The sign-in and a reload keep the link.
    await page.click("#register [href^='#/sign-in']");
    await page.reload();
    await page.click("#sign-in [href^='#/register']");
    await register(page, "rei");
    await page.locator("#notice").getByText("注册成功").waitFor();
    assert.ok(!page.url().includes(key), "the address forgets the key");
    await signIn(page, "rei");
    await page.click("#sign-out");
    await page.locator("#notice.good").waitFor();

    await page.goto("about:blank");
    await open(`#invite=${key}`);
    await page.getByText(texts.dead).waitFor();
    assert.equal(await page.locator("[data-api=registered]").isVisible(), false);
    assert.equal(await page.locator("#register .closed a").isVisible(), false, "no configured key would be accepted");
    assert.deepEqual(await findings(page), []);
    await leave();
    await closed.stop();
  });
}

test("a dead invitation leaves the form for the configured key", async () => {
  const { page, open, leave } = await person(browser, server);
  await open(`#invite=${"x".repeat(40)}`);
  await page.getByText("This link no longer works").waitFor();
  await page.locator("#register").getByText("Use a key instead").click();
  await page.locator("#register .picture img").waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.tagName), "H1");
  assert.equal(await page.getAttribute("#new-key", "readonly"), null);
  await fill(page, "registered", { key: KEY });
  await register(page, "kensuke");
  await page.locator("#notice").getByText("注册成功").waitFor();
  await leave();
});

test("a link that is used up while the form is filled in is named after the attempt", async () => {
  const { page, open, leave } = await person(browser, server);
  const { key, id } = server.link("invite");
  await open(`#invite=${key}`);
  await page.locator("#register .picture img").waitFor();
  server.command("invite", "revoke", String(id));
  await register(page, "toji");
  await message(page, "registered").getByText("The link was used, withdrawn or replaced").waitFor();
  await leave();
});

test("a reset link does not open the registration", async () => {
  await server.register("hikari");
  const { page, open, leave } = await person(browser, server);
  const { key } = server.link("user", "reset-link", "hikari");
  await open(`#invite=${key}`);
  await page.locator("#register").getByText("This link no longer works").waitFor();
  await leave();
});

for (const status of [true, false]) {
  test(`a reset link sets a password ${status ? "beside the reset key" : "though the reset is closed"}`, async () => {
    const where = await serve({ forgot_password_function_status: status });
    await where.register("asuka");
    const { key } = where.link("user", "reset-link", "asuka");
    const { page, open, leave } = await person(browser, where);
    // A person who is still signed in somewhere may use it too.
    await open();
    await signIn(page, "asuka");
    await page.goto("about:blank");
    await open(`#reset=${key}`);
    await page.locator("#reset .lead").getByText("This link sets a new password for \u2068asuka\u2069.").waitFor();
    await page.locator("#reset .picture img").waitFor();
    assert.equal(await page.inputValue("#lost-name"), "asuka");
    assert.equal(await page.inputValue("#lost-key"), key);
    assert.deepEqual(await findings(page), []);
    await fill(page, "forget_password", { email: "other@example.org", new_passwd: "second", verification_code: CAPTCHA });
    await submit(page, "forget_password");
    await message(page, "forget_password").getByText("User name and email").waitFor();
    await fill(page, "forget_password", { email: "asuka@example.org", new_passwd: "second", verification_code: CAPTCHA });
    await submit(page, "forget_password");
    await page.locator("#notice").getByText("Sign in with the new password.").waitFor();
    await signIn(page, "asuka", "second");
    await page.goto("about:blank");
    await open(`#reset=${key}`);
    await page.locator("#reset").getByText("This link no longer works").waitFor();
    assert.equal(await page.locator("#reset .closed a").isVisible(), status);
    await leave();
    await where.stop();
  });
}

test("an invitation leads to the program by way of the registration", async () => {
  const guarded = await gate();
  const { key } = guarded.link("invite");
  const wiki = `${guarded.program("wiki")}/start`;
  const expected = [/status of 401/, /Cross-Origin-Opener-Policy/];
  const { page, leave } = await person(browser, guarded, { others: [guarded.program("wiki")], expected });
  await page.goto(`${guarded.url}/#invite=${key}&return=${encodeURIComponent(wiki)}`);
  await page.locator("#register .onward", { hasText: "to continue to wiki.example.test" }).waitFor();
  await register(page, "ryoji");
  await page.locator("#sign-in .onward").waitFor();
  await fill(page, "login", { passwd: PASSWORD, verification_code: CAPTCHA });
  await page.locator("#sign-in .picture img").waitFor();
  await submit(page, "login");
  await page.getByText("/start for ryoji").waitFor();
  await leave();
  await guarded.stop();
});

test("a link about which the server cannot be asked still has its form", async () => {
  const { page, open, leave } = await person(browser, server, { expected: [/status of 429/] });
  const { key } = server.link("invite");
  await page.route("**/api/link_info/", (route) =>
    route.fulfill({ status: 429, headers: { "Retry-After": "1" }, json: { message: "too many requests", code: 429 } }),
  );
  await open(`#invite=${key}`);
  await message(page, "registered").getByText("too many requests").waitFor();
  await page.locator("[data-api=registered] .buttons button[aria-disabled=false]").waitFor();
  await register(page, "makoto");
  await page.locator("#notice").getByText("注册成功").waitFor();
  await leave();
});

test("another tab's session does not take the form of an invitation away", async () => {
  await server.register("shigeru");
  const { context, page, open, leave } = await person(browser, server);
  await open();
  await signIn(page, "shigeru");
  const second = await context.newPage();
  const { key } = server.link("invite");
  await second.goto(`${server.url}/#invite=${key}`);
  await second.waitForFunction(() => sessionStorage.getItem("accountd.token"));
  await register(second, "maya");
  await second.locator("#notice").getByText("注册成功").waitFor();
  // The first session has ended, in its tab too.
  await page.locator("#notice").getByText("You signed out in another tab.").waitFor();
  await leave();
});
