// Invitations, and links that reset a password.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  AT, CAPTCHA, KEY, PASSWORD, REPORTS, SAYS, address, attribute, captcha, click, disturbed, entered, fill, findings, gate, isVisible, launch, person, reload,
  serve, shown, signIn, signOut, submit, text, until, value, visit, waitFocus, waitText,
} from "./support.js";

let server, browser;
before(async () => ([server, browser] = await Promise.all([serve(), launch()])));
after(async () => {
  await browser?.close();
  await server?.stop();
});

/// Fills the registration form in, except for the key, and sends it.
async function register(page, name) {
  await captcha(page, "register");
  const email = `${name}@example.org`;
  await fill(page, "registered", { username: name, show_name: name, email, passwd: PASSWORD, verification_code: CAPTCHA });
  await submit(page, "registered");
}

const LANGUAGES = {
  en: { groups: "Your groups: art, media.", until: /The link is good until \w+ \d+, \d{4}/, dead: SAYS.linkDead },
  "zh-CN": { groups: "你将加入用户组：art, media。", until: /链接有效期至 \d{4}年\d+月\d+日/, dead: "链接已失效" },
};

for (const [language, texts] of Object.entries(LANGUAGES)) {
  test(`an invitation creates an account though registration is closed, and is used up then, in ${language}`, async () => {
    const closed = await serve({ registration_function_status: false });
    for (const group of ["media", "art"]) closed.command("group", "add", group);
    const { key } = closed.link("invite", "--group", "media", "--group", "art");
    const { page, open, leave } = await person(browser, closed, { language });
    await open(`#invite=${key}`);
    await waitText(page, "#register .facts", texts.groups);
    assert.match(await text(page, "#register .facts"), texts.until);
    assert.equal(await value(page, "#new-key"), key);
    assert.equal(await attribute(page, "#new-key", "readonly"), "");
    assert.deepEqual(await findings(page), []);
    // The sign-in and a reload keep the link.
    await click(page, AT.toSignIn("register"));
    await reload(page);
    await click(page, AT.toRegister);
    await register(page, "rei");
    await entered(page, "rei");
    assert.ok(!(await address(page)).includes(key), "the address forgets the key");
    await signOut(page);

    await visit(page, "about:blank");
    await open(`#invite=${key}`);
    await waitText(page, "body", texts.dead);
    assert.equal(await isVisible(page, "[data-api=registered]"), false);
    assert.equal(await isVisible(page, "#register .closed a"), false, "no configured key would be accepted");
    assert.deepEqual(await findings(page), []);
    await leave();
    await closed.stop();
  });
}

test("a dead invitation leaves the form for the configured key", async () => {
  const { page, open, leave } = await person(browser, server);
  await open(`#invite=${"x".repeat(40)}`);
  await waitText(page, "body", SAYS.linkDead);
  await click(page, "#register .closed a", "Use a key instead");
  await captcha(page, "register");
  await waitFocus(page, "new-username");
  assert.equal(await attribute(page, "#new-key", "readonly"), null);
  await fill(page, "registered", { key: KEY });
  await register(page, "kensuke");
  await entered(page, "kensuke");
  await leave();
});

test("a link that is used up while the form is filled in is named after the attempt", async () => {
  const { page, open, leave } = await person(browser, server);
  const { key, id } = server.link("invite");
  await open(`#invite=${key}`);
  await captcha(page, "register");
  server.command("invite", "revoke", String(id));
  await register(page, "toji");
  await waitText(page, AT.message("registered"), "The link was used, withdrawn or replaced");
  await leave();
});

test("a reset link does not open the registration", async () => {
  await server.register("hikari");
  const { page, open, leave } = await person(browser, server);
  const { key } = server.link("user", "reset-link", "hikari");
  await open(`#invite=${key}`);
  await waitText(page, "#register", SAYS.linkDead);
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
    await visit(page, "about:blank");
    await open(`#reset=${key}`);
    await waitText(page, "#reset .lead", "This link sets a new password for asuka.");
    assert.match(await text(page, "#reset .lead"), /\u2068asuka\u2069/);
    await captcha(page, "reset");
    assert.equal(await value(page, "#lost-name"), "asuka");
    assert.equal(await value(page, "#lost-key"), key);
    assert.deepEqual(await findings(page), []);
    await fill(page, "forget_password", { email: "other@example.org", new_passwd: "second", verification_code: CAPTCHA });
    await submit(page, "forget_password");
    await waitText(page, AT.message("forget_password"), "User name and email");
    await fill(page, "forget_password", { email: "asuka@example.org", new_passwd: "second", verification_code: CAPTCHA });
    await submit(page, "forget_password");
    await waitText(page, AT.notice, SAYS.newPassword);
    await signIn(page, "asuka", "second");
    await visit(page, "about:blank");
    await open(`#reset=${key}`);
    await waitText(page, "#reset", SAYS.linkDead);
    assert.equal(await isVisible(page, "#reset .closed a"), status);
    await leave();
    await where.stop();
  });
}

test("an invitation leads to the program by way of the registration", async () => {
  const guarded = await gate();
  const { key } = guarded.link("invite");
  const wiki = `${guarded.program("wiki")}/start`;
  const expected = [REPORTS.status(401), REPORTS.insecure];
  const { page, leave } = await person(browser, guarded, { others: [guarded.program("wiki")], expected });
  await visit(page, `${guarded.url}/#invite=${key}&return=${encodeURIComponent(wiki)}`);
  await waitText(page, "#register .onward", "to continue to wiki.example.test");
  await register(page, "ryoji");
  // A server without the flag `login` leads to the sign-in first.
  if (/sign-in/.test(await waitText(page, "body", /注册成功|for ryoji/).then(() => address(page)))) {
    await captcha(page, "sign-in");
    await fill(page, "login", { passwd: PASSWORD, verification_code: CAPTCHA });
    await submit(page, "login");
  }
  await waitText(page, "body", "/start for ryoji");
  await leave();
  await guarded.stop();
});

test("a link about which the server cannot be asked still has its form", async () => {
  const line = await disturbed(server);
  const { page, open, leave } = await person(browser, line, { expected: [REPORTS.status(429)] });
  const { key } = server.link("invite");
  line.rules["/api/link_info/"] = { status: 429, headers: { "Retry-After": "1" }, json: { message: "too many requests", code: 429 } };
  await open(`#invite=${key}`);
  await waitText(page, AT.message("registered"), "too many requests");
  await shown(page, "[data-api=registered] .buttons button[aria-disabled=false]");
  await register(page, "makoto");
  await entered(page, "makoto");
  await leave();
  line.stop();
});

test("another tab's session does not take the form of an invitation away", async () => {
  await server.register("shigeru");
  const { page, open, tab, leave } = await person(browser, server);
  await open();
  await signIn(page, "shigeru");
  const { key } = server.link("invite");
  const second = await tab(`${server.url}/#invite=${key}`);
  await until(second, () => sessionStorage.getItem("accountd.token"));
  await register(second, "maya");
  await entered(second, "maya");
  // The first session has ended, in its tab too.
  await waitText(page, AT.name, "maya");
  await leave();
});
