// Everything that a user does with the page.

import assert from "node:assert/strict";
import http from "node:http";
import { after, before, test } from "node:test";
import {
  AT, CAPTCHA, DROP, KEY, PASSWORD, REPORTS, RESET, SAYS, address, attribute, calls, captcha, click, clock, count, disturbed, entered, fill,
  focus, focusedId, isVisible, launch, person, reload, serve, shown, signIn, signOut, submit, text, until, value, waitFocus, waitText,
} from "./support.js";

let server, browser;
before(async () => ([server, browser] = await Promise.all([serve(), launch()])));
after(async () => {
  await browser?.close();
  await server?.stop();
});

/// Texts of the page in both languages.
const LANGUAGES = {
  en: { wrong: "Wrong characters, or the picture had expired.", own: "Sign in", other: "登录" },
  "zh-CN": { wrong: "字符不对或图片已过期", own: "登录", other: "Sign in" },
};

for (const [language, texts] of Object.entries(LANGUAGES)) {
  test(`from nothing to signed out, in ${language}`, async () => {
    const { page, open, leave } = await person(browser, server, { language });
    const name = `rei-${language}`;
    await open();
    assert.equal(await attribute(page, "html", "lang"), language);
    await click(page, AT.toRegister);
    await captcha(page, "register");

    // A wrong captcha brings a new picture; the other fields keep their text.
    const user = { username: name, show_name: "綾波 Rei", email: `${name}@example.org`, key: KEY, passwd: PASSWORD };
    const first = await attribute(page, "#register .picture img", "src");
    await fill(page, "registered", { ...user, verification_code: "wrong" });
    await submit(page, "registered");
    await waitText(page, AT.message("registered"), "验证码错误或者过期！");
    await waitText(page, AT.message("registered"), texts.wrong);
    await until(page, (first) => document.querySelector("#register .picture img").src !== first, first);
    for (const [field, typed] of Object.entries(user)) {
      assert.equal(await value(page, AT.field("registered", field)), typed);
    }
    assert.equal(await value(page, AT.field("registered", "verification_code")), "");
    assert.equal(await page.evaluate(() => document.activeElement.name), "verification_code");

    await fill(page, "registered", { verification_code: CAPTCHA });
    await submit(page, "registered");
    await entered(page, name);
    assert.equal(await text(page, "#account-title"), "綾波 Rei");
    assert.equal(await text(page, "#account-email"), `${name}@example.org`);
    await waitFocus(page, "account-title");

    // Signing out revokes the token.
    const token = await page.evaluate(() => sessionStorage.getItem("accountd.token"));
    assert.equal((await server.post("user_info", { token })).code, 200);
    await signOut(page);
    assert.equal((await server.post("user_info", { token })).code, 403);
    assert.equal(await page.evaluate(() => sessionStorage.length + localStorage.length), 0);
    assert.equal(await text(page, "#account-email"), "");

    // The page remembers the chosen language, which the server cannot know: each time it fetches the texts.
    const isOther = () => until(page, (language) => document.documentElement.lang !== language, language);
    const requests = calls(page);
    const fetched = () => requests.filter((one) => one.endsWith(".json")).length;
    await click(page, "#language");
    await isOther();
    await waitText(page, "#sign-in h1", texts.other);
    assert.equal(fetched(), 1);
    await reload(page);
    await isOther();
    await waitText(page, "#sign-in h1", texts.other);
    assert.equal(fetched() >= 1, true);
    const source = await page.evaluate(async () => (await fetch(".")).text());
    assert.match(source, new RegExp(`<html lang="${language}"`), "the page came in the browser's language");
    // Back and forth again fetches nothing.
    const before = fetched();
    await click(page, "#language");
    await waitText(page, "#sign-in h1", texts.own);
    await click(page, "#language");
    await waitText(page, "#sign-in h1", texts.other);
    assert.equal(fetched(), before);
    await leave();
  });
}

test("a display name and a key are changed, and the key is copied", async () => {
  await server.register("shinji");
  const { page, open, leave } = await person(browser, server);
  await open();
  await signIn(page, "shinji");
  await fill(page, "update_show_name", { new_show_name: "碇 שינג'י" });
  await submit(page, "update_show_name");
  await waitText(page, AT.message("update_show_name"), "好诶！修改成功~");
  assert.equal(await text(page, "#account-title"), "碇 שינג'י");

  // The longest allowed name, whose length JavaScript counts double, and one character more.
  await fill(page, "update_show_name", { new_show_name: "😀".repeat(65) });
  await submit(page, "update_show_name");
  await waitText(page, "body", "At most 64 characters; this has 65.");
  assert.equal(await attribute(page, "#show-name", "aria-invalid"), "true");
  await fill(page, "update_show_name", { new_show_name: "😀".repeat(64) });
  await submit(page, "update_show_name");
  await until(page, () => document.getElementById("account-title").textContent.startsWith("😀"));

  await click(page, "#show-key");
  const key = await text(page, "#key");
  assert.match(key, /^[A-Za-z0-9]{40}$/);
  await click(page, "#copy");
  await waitText(page, "body", "Copied.");
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), key);
  // Browsers offer no clipboard without TLS, except on localhost.
  await page.evaluate(() => delete Navigator.prototype.clipboard);
  await page.evaluate(() => document.addEventListener("copy", () => (document.title = document.activeElement.value)));
  await click(page, "#copy");
  await until(page, (key) => document.title === key, key);
  await waitFocus(page, "copy");

  await click(page, "#fresh-key");
  await click(page, "#ask .plain");
  assert.equal(await text(page, "#key"), key);
  await click(page, "#fresh-key");
  await click(page, "#ask [value=yes]");
  await waitText(page, AT.message("update_key"), "呐呐呐呐！修改成功了呢~");
  await click(page, "#show-key");
  assert.match(await text(page, "#key"), /^[A-Za-z0-9]{40}$/);
  assert.notEqual(await text(page, "#key"), key);
  await leave();
});

test("a password can be changed, and reset when forgotten", async () => {
  await server.register("asuka");
  const { page, open, leave } = await person(browser, server);
  await open();
  await signIn(page, "asuka");
  assert.equal(await isVisible(page, AT.captcha("account")), false, "a captcha for a form that may stay unused");
  await focus(page, "#old-passwd");
  await captcha(page, "account");
  await fill(page, "update_password", { old_passwd: "wrong", new_passwd: "second", verification_code: CAPTCHA });
  await submit(page, "update_password");
  await waitText(page, AT.message("update_password"), "输入信息有误重新输入");
  await waitFocus(page, "old-passwd");
  assert.equal(await value(page, "#change-passwd"), "second");
  await fill(page, "update_password", { old_passwd: PASSWORD, verification_code: CAPTCHA });
  await submit(page, "update_password");
  await waitText(page, AT.notice, "好耶！修改成功~");
  await waitText(page, AT.notice, SAYS.newPassword);
  assert.equal(await value(page, "#login-username"), "asuka");
  await signIn(page, "asuka", "second");
  await click(page, "#sign-out");

  await click(page, AT.toReset);
  await captcha(page, "reset");
  const lost = { name: "asuka", email: "asuka@example.org" };
  await fill(page, "forget_password", { ...lost, key: "wrong", new_passwd: "third", verification_code: CAPTCHA });
  await submit(page, "forget_password");
  await waitText(page, AT.message("forget_password"), "大黑阔别乱搞，莎莎好怕怕(*/ω＼*)");
  await waitText(page, AT.message("forget_password"), "The reset key is not right.");
  await fill(page, "forget_password", { key: RESET, new_passwd: "third", verification_code: CAPTCHA });
  await submit(page, "forget_password");
  await waitText(page, AT.notice, "修改成功啦~");
  await signIn(page, "asuka", "third");
  await leave();
});

test("a button renews the captcha, and empty fields are reported before anything is sent", async () => {
  const { page, open, leave } = await person(browser, server);
  await open();
  await captcha(page, "sign-in");
  const first = await attribute(page, AT.captcha("sign-in"), "src");
  await click(page, AT.again("sign-in"));
  await until(page, (first) => document.querySelector("#sign-in .picture img").src !== first, first);
  const sent = calls(page);
  await submit(page, "login");
  assert.equal(await count(page, "#sign-in .error"), 3);
  assert.equal(await focusedId(page), "login-username");
  const described = await attribute(page, "#login-username", "aria-describedby");
  assert.equal(await text(page, `#${described.split(" ")[0]}`), "Please fill this in.");
  await fill(page, "login", { username: "a" });
  assert.equal(await count(page, "#sign-in .error"), 2);
  assert.deepEqual(sent, []);
  await leave();
});

test("an expired session leads back to the sign-in", async () => {
  await server.register("misato");
  const { page, open, leave } = await person(browser, server);
  await open();
  await signIn(page, "misato");
  // Another session replaces it.
  const token = await server.login("misato");
  await fill(page, "update_show_name", { new_show_name: "x" });
  await submit(page, "update_show_name");
  await waitText(page, "#notice.bad", "小宝贝这是非法查询哦(๑•̀ㅂ•́)و✧");
  await waitText(page, AT.notice, SAYS.ended);
  assert.equal((await server.info(token)).show_name, "misato");

  // So does one that ended before the page opened.
  await page.evaluate(() => localStorage.setItem("accountd.token", "x"));
  await reload(page);
  await waitText(page, AT.notice, "Your session has ended.");
  assert.equal(await page.evaluate(() => localStorage.getItem("accountd.token")), null);
  await leave();
});

test("tabs share a session, and a restarted browser is signed in only on request", async () => {
  await server.register("ritsuko");
  const { page, open, tab, leave } = await person(browser, server);
  await open();
  await signIn(page, "ritsuko");
  const second = await tab(server.url);
  await waitText(second, AT.name, "ritsuko");
  assert.equal(await second.evaluate(() => localStorage.getItem("accountd.token")), null);
  await click(second, "#sign-out");
  await waitText(page, AT.notice, "You signed out in another tab.");

  await click(page, "#stay");
  await signIn(page, "ritsuko");
  await waitText(second, AT.name, "ritsuko");
  await second.close();
  const kept = await page.evaluate(() => localStorage.getItem("accountd.token"));
  assert.equal(kept.length, 250);
  assert.equal(await page.evaluate(() => sessionStorage.getItem("accountd.token")), null);
  await reload(page);
  await waitText(page, AT.name, "ritsuko");
  await leave();
});

test("a user can sign out of one session or of all", async () => {
  const roomy = await serve({ sessions_per_user: 3 });
  await roomy.register("hikari");
  const other = await roomy.login("hikari");
  const { page, open, leave } = await person(browser, roomy);
  await open();
  await signIn(page, "hikari");
  await signOut(page);
  assert.equal((await roomy.post("user_info", { token: other })).code, 200);
  await signIn(page, "hikari");
  await click(page, "#sign-out-everywhere");
  await shown(page, "#notice.good");
  assert.equal((await roomy.post("user_info", { token: other })).code, 403);
  await leave();
  await roomy.stop();
});

test("after a 429 the button counts the wait down and then works again", async () => {
  const strict = await serve({ throttle: true });
  await strict.register("kaji");
  const { page, open, leave } = await person(browser, strict, { expected: [REPORTS.status(429)] });
  await open();
  await page.evaluate(() => {
    window.labels = [];
    const button = document.querySelector("[data-api=login] .buttons button");
    new MutationObserver(() => labels.push(button.textContent)).observe(button, { childList: true });
  });
  // From the third wrong password on, the server asks for a wait, which doubles each time: at last even a slow browser is
  // too early.
  const said = () => text(page, "[data-api=login]");
  do {
    await until(page, () => document.querySelector("#sign-in .picture:not(.waiting) img[src]"));
    await fill(page, "login", { username: "kaji", passwd: "wrong", verification_code: CAPTCHA });
    await submit(page, "login");
    await until(page, () => /账号或密码错误|too many requests/.test(document.querySelector("[data-api=login]").textContent));
  } while (!(await said()).includes("too many requests, try again later"));
  // The fields keep their text except the captcha.
  assert.equal(await value(page, "#login-passwd"), "wrong");
  await waitText(page, AT.message("login"), "You can try again now.");
  const labels = await page.evaluate(() => window.labels);
  assert.match(labels.join(), /Wait 1 s,Sign in$/);
  await signIn(page, "kaji");
  await leave();
  await strict.stop();
});

test("longer waits count down second by second", async () => {
  const line = await disturbed(server);
  const { page, open, leave } = await person(browser, line, { expected: [REPORTS.status(429)] });
  const time = await clock(page);
  line.rules["/api/login/"] = { status: 429, headers: { "Retry-After": "3" }, json: { message: "too many requests", code: 429 } };
  await open();
  await captcha(page, "sign-in");
  await fill(page, "login", { username: "a", passwd: "b", verification_code: "c" });
  await time.stop();
  await submit(page, "login");
  const button = AT.submit("login");
  for (const left of [3, 2, 1]) {
    await waitText(page, button, `Wait ${left} s`);
    assert.equal(await attribute(page, button, "aria-disabled"), "true");
    await time.pass(1000);
  }
  await waitText(page, button, "Sign in");
  assert.equal(await attribute(page, button, "aria-disabled"), "false");
  await leave();
  line.stop();
});

test("a language that cannot be fetched is named in a notice, and the page stays as it is", async () => {
  const { page, open, offline, leave } = await person(browser, server, { expected: [REPORTS.offline] });
  await open();
  await captcha(page, "sign-in");
  await offline(true);
  await click(page, "#language");
  await waitText(page, AT.notice, SAYS.offline);
  assert.equal(await attribute(page, "html", "lang"), "en");
  await waitText(page, "#sign-in h1", "Sign in");
  await offline(false);
  await click(page, "#language");
  await waitText(page, "#sign-in h1", "登录");
  await leave();
});

test("without a connection the page shows a message and keeps the form", async () => {
  const { page, open, offline, leave } = await person(browser, server, { expected: [REPORTS.offline] });
  await server.register("maya");
  await open();
  await captcha(page, "sign-in");
  await fill(page, "login", { username: "maya", passwd: PASSWORD, verification_code: CAPTCHA });
  await offline(true);
  await submit(page, "login");
  await waitText(page, AT.message("login"), SAYS.offline);
  assert.equal(await value(page, "#login-passwd"), PASSWORD);
  assert.equal(await value(page, AT.field("login", "verification_code")), CAPTCHA);
  await click(page, AT.again("sign-in"));
  await waitText(page, "body", "No picture could be fetched.");
  await offline(false);
  await captcha(page, "sign-in");
  await signIn(page, "maya");

  await offline(true);
  // The other devices stay signed in, so the token that can end their sessions is kept.
  await click(page, "#sign-out-everywhere");
  await waitText(page, "#account-message", SAYS.offline);
  const token = await page.evaluate(() => sessionStorage.getItem("accountd.token"));
  await click(page, "#sign-out");
  await waitText(page, "#notice.bad", "The server could not be told");
  assert.equal(await page.evaluate(() => sessionStorage.getItem("accountd.token")), null);
  assert.equal((await server.post("user_info", { token })).code, 200);
  await offline(false);
  await leave();
});

test("the page shows the password policy", async () => {
  const strict = await serve({ min_password_length: 10, refuse_common_passwords: true });
  await strict.register("fuyutsuki", { passwd: "long enough" });
  const { page, open, leave } = await person(browser, strict);
  await open();
  await signIn(page, "fuyutsuki", "long enough");
  await focus(page, "#old-passwd");
  await captcha(page, "account");
  await fill(page, "update_password", { old_passwd: "x", new_passwd: "too short", verification_code: CAPTCHA });
  await submit(page, "update_password");
  await waitText(page, "#change-passwd-error", "At least 10 characters.");
  // The page knows the most common ones, and the server more.
  await fill(page, "update_password", { old_passwd: "long enough", new_passwd: "1234567890" });
  await submit(page, "update_password");
  await waitText(page, "#change-passwd-error", "Easy to guess");
  await fill(page, "update_password", { new_passwd: "undertaker" });
  await submit(page, "update_password");
  await waitText(page, AT.message("update_password"), "or the new one is too easy to guess.");
  await leave();
  await strict.stop();
});

test("the page works under another path behind a proxy", async () => {
  await server.register("aoba");
  const proxy = http.createServer((request, response) => {
    const path = request.url.replace(/^\/accounts\//, "/");
    const onward = path === request.url ? `/not-ours${path}` : path;
    const { method, headers } = request;
    const ask = http.request(server.url + onward, { method, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    request.pipe(ask);
  });
  await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  proxy.unref();
  const url = `http://127.0.0.1:${proxy.address().port}`;
  const { page, open, leave } = await person(browser, { url });
  await open("accounts/");
  await signIn(page, "aoba");
  await until(page, () => document.getElementById("avatar").naturalWidth > 0);
  await signOut(page);
  assert.equal(new URL(await address(page)).pathname, "/accounts/");
  await leave();
  proxy.closeAllConnections();
  proxy.close();
});

test("an account that could not be loaded can be loaded again", async () => {
  await server.register("makoto");
  const line = await disturbed(server);
  const { page, open, leave } = await person(browser, line, { expected: [REPORTS.dropped] });
  await open();
  await signIn(page, "makoto");
  line.rules["/api/user_info/"] = DROP;
  await reload(page);
  await waitText(page, "#account-message", SAYS.offline);
  delete line.rules["/api/user_info/"];
  await click(page, "#account-message button", "Try again");
  await waitText(page, AT.name, "makoto");
  assert.equal(await count(page, "#account-message p"), 0);
  await leave();
  line.stop();
});

test("a disabled function shows a message instead of its form", async () => {
  const closed = await serve({ registration_function_status: false, forgot_password_function_status: false });
  const { page, open, leave } = await person(browser, closed);
  await open("#/register");
  await waitText(page, "body", "Registration is closed");
  assert.equal(await isVisible(page, "[data-api=registered]"), false);
  await click(page, AT.toSignIn("register"));
  await shown(page, "#sign-in");
  for (const link of [AT.toRegister, AT.toReset]) assert.equal(await isVisible(page, link), false, link);
  await open("#/reset");
  await waitText(page, "body", "Password reset is closed");
  assert.doesNotMatch(await text(page, "body"), /config\.json|_status/);
  assert.equal(await isVisible(page, "[data-api=forget_password]"), false);
  await page.evaluate(() => history.back());
  await shown(page, "#sign-in");
  await leave();
  await closed.stop();
});
