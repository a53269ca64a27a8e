// Everything that a user does with the page.

import assert from "node:assert/strict";
import http from "node:http";
import { after, before, test } from "node:test";
import { CAPTCHA, KEY, PASSWORD, RESET, fill, launch, person, serve, signIn, submit } from "./support.js";

let server, browser;
before(async () => ([server, browser] = await Promise.all([serve(), launch()])));
after(async () => {
  await browser?.close();
  await server?.stop();
});

const message = (page, api) => page.locator(`[data-api=${api}] .message`);

/// Texts of the page and of the server in both languages.
const LANGUAGES = {
  en: { registered: "Your account is there. You can sign in now.", wrong: "Please type the password again", other: "中文" },
  "zh-CN": { registered: "账户已创建，现在可以登录。", wrong: "密码也要重新输入", other: "English" },
};

for (const [language, texts] of Object.entries(LANGUAGES)) {
  test(`from nothing to signed out, in ${language}`, async () => {
    const { page, open, leave } = await person(browser, server, { language });
    const name = `rei-${language}`;
    await open();
    assert.equal(await page.getAttribute("html", "lang"), language);
    await page.click("[href='#/register']");
    await page.locator("#register .picture img").waitFor();

    // A wrong captcha brings a new picture; the fields keep their text except the password.
    const user = { username: name, show_name: "綾波 Rei", email: `${name}@example.org`, key: KEY };
    const first = await page.getAttribute("#register .picture img", "src");
    await fill(page, "registered", { ...user, passwd: PASSWORD, verification_code: "wrong" });
    await submit(page, "registered");
    await message(page, "registered").getByText("验证码错误或者过期！").waitFor();
    await message(page, "registered").getByText(texts.wrong).waitFor();
    await page.waitForFunction((first) => document.querySelector("#register .picture img").src !== first, first);
    for (const [field, text] of Object.entries(user)) {
      assert.equal(await page.inputValue(`[data-api=registered] [name=${field}]`), text);
    }
    for (const field of ["passwd", "verification_code"]) {
      assert.equal(await page.inputValue(`[data-api=registered] [name=${field}]`), "");
    }
    assert.equal(await page.evaluate(() => document.activeElement.id), "new-passwd");

    await fill(page, "registered", { passwd: PASSWORD, verification_code: CAPTCHA });
    await submit(page, "registered");
    await page.locator("#notice").getByText("注册成功").waitFor();
    await page.locator("#notice").getByText(texts.registered).waitFor();
    assert.equal(await page.inputValue("#login-username"), name);

    await signIn(page, name);
    assert.equal(await page.textContent("#account-title"), "綾波 Rei");
    assert.equal(await page.textContent("#account-email"), `${name}@example.org`);
    await page.waitForFunction(() => document.activeElement.id === "account-title");

    // Signing out revokes the token.
    const token = await page.evaluate(() => sessionStorage.getItem("accountd.token"));
    assert.equal((await server.post("user_info", { token })).code, 200);
    await page.click("#sign-out");
    await page.locator("#notice.good").waitFor();
    assert.equal((await server.post("user_info", { token })).code, 403);
    assert.equal(await page.evaluate(() => sessionStorage.length + localStorage.length), 0);
    assert.equal(await page.textContent("#account-email"), "");

    // The page remembers the chosen language.
    await page.click("#language");
    assert.notEqual(await page.getAttribute("html", "lang"), language);
    await page.reload();
    assert.notEqual(await page.getAttribute("html", "lang"), language);
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
  await message(page, "update_show_name").getByText("好诶！修改成功~").waitFor();
  assert.equal(await page.textContent("#account-title"), "碇 שינג'י");

  // The longest allowed name, whose length JavaScript counts double, and one character more.
  await fill(page, "update_show_name", { new_show_name: "😀".repeat(65) });
  await submit(page, "update_show_name");
  await page.getByText("At most 64 characters; this has 65.").waitFor();
  assert.equal(await page.getAttribute("#show-name", "aria-invalid"), "true");
  await fill(page, "update_show_name", { new_show_name: "😀".repeat(64) });
  await submit(page, "update_show_name");
  await page.waitForFunction(() => document.getElementById("account-title").textContent.startsWith("😀"));

  const key = await page.inputValue("#key");
  assert.equal(await page.getAttribute("#key", "type"), "password");
  await page.click("#copy");
  await page.getByText("Copied.").waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), key);
  // Browsers offer no clipboard without TLS, except on localhost.
  await page.evaluate(() => delete Navigator.prototype.clipboard);
  await page.evaluate(() => document.addEventListener("copy", () => (document.title = getSelection().toString())));
  await page.click("#copy");
  await page.waitForFunction((key) => document.title === key, key);
  assert.equal(await page.getAttribute("#key", "type"), "password");

  await page.click("#fresh-key");
  await page.click("#ask .plain");
  assert.equal(await page.inputValue("#key"), key);
  await page.click("#fresh-key");
  await page.click("#ask [value=yes]");
  await message(page, "update_key").getByText("呐呐呐呐！修改成功了呢~").waitFor();
  assert.notEqual(await page.inputValue("#key"), key);
  await leave();
});

test("a password can be changed, and reset when forgotten", async () => {
  await server.register("asuka");
  const { page, open, leave } = await person(browser, server);
  await open();
  await signIn(page, "asuka");
  await page.locator("#account .picture img").waitFor();
  await fill(page, "update_password", { old_passwd: "wrong", new_passwd: "second", verification_code: CAPTCHA });
  await submit(page, "update_password");
  await message(page, "update_password").getByText("输入信息有误重新输入").waitFor();
  assert.equal(await page.inputValue("#old-passwd"), "");
  assert.equal(await page.inputValue("#change-passwd"), "");
  await fill(page, "update_password", { old_passwd: PASSWORD, new_passwd: "second", verification_code: CAPTCHA });
  await submit(page, "update_password");
  await page.locator("#notice").getByText("好耶！修改成功~").waitFor();
  await page.locator("#notice").getByText("Sign in with the new password.").waitFor();
  assert.equal(await page.inputValue("#login-username"), "asuka");
  await signIn(page, "asuka", "second");
  await page.click("#sign-out");

  await page.click("[href='#/reset']");
  await page.locator("#reset .picture img").waitFor();
  const lost = { name: "asuka", email: "asuka@example.org" };
  await fill(page, "forget_password", { ...lost, key: "wrong", new_passwd: "third", verification_code: CAPTCHA });
  await submit(page, "forget_password");
  await message(page, "forget_password").getByText("大黑阔别乱搞，莎莎好怕怕(*/ω＼*)").waitFor();
  await message(page, "forget_password").getByText("The reset key is not right.").waitFor();
  await fill(page, "forget_password", { key: RESET, new_passwd: "third", verification_code: CAPTCHA });
  await submit(page, "forget_password");
  await page.locator("#notice").getByText("修改成功啦~").waitFor();
  await signIn(page, "asuka", "third");
  await leave();
});

test("a click renews the captcha, and empty fields are reported before anything is sent", async () => {
  const { page, open, leave } = await person(browser, server);
  await open();
  const image = page.locator("#sign-in .picture img");
  await image.waitFor();
  const first = await image.getAttribute("src");
  await page.click("#sign-in .picture");
  await page.waitForFunction((first) => document.querySelector("#sign-in .picture img").src !== first, first);
  const calls = [];
  page.on("request", (request) => calls.push(request.url()));
  await submit(page, "login");
  assert.equal(await page.locator("#sign-in .error").count(), 3);
  assert.equal(await page.evaluate(() => document.activeElement.id), "login-username");
  const described = await page.getAttribute("#login-username", "aria-describedby");
  assert.equal(await page.textContent(`#${described.split(" ")[0]}`), "Please fill this in.");
  await fill(page, "login", { username: "a" });
  assert.equal(await page.locator("#sign-in .error").count(), 2);
  assert.deepEqual(calls, []);
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
  await page.locator("#notice.bad").getByText("小宝贝这是非法查询哦(๑•̀ㅂ•́)و✧").waitFor();
  await page.locator("#notice").getByText("Your session has ended. Please sign in again.").waitFor();
  assert.equal((await server.info(token)).show_name, "misato");

  // So does one that ended before the page opened.
  await page.evaluate(() => localStorage.setItem("accountd.token", "x"));
  await page.reload();
  await page.locator("#notice").getByText("Your session has ended.").waitFor();
  assert.equal(await page.evaluate(() => localStorage.getItem("accountd.token")), null);
  await leave();
});

test("tabs share a session, and a restarted browser is signed in only on request", async () => {
  await server.register("ritsuko");
  const { context, page, open, leave } = await person(browser, server);
  await open();
  await signIn(page, "ritsuko");
  const second = await context.newPage();
  await second.goto(server.url);
  await second.locator("#account-name", { hasText: "ritsuko" }).waitFor();
  assert.equal(await second.evaluate(() => localStorage.getItem("accountd.token")), null);
  await second.click("#sign-out");
  await page.locator("#notice").getByText("You signed out in another tab.").waitFor();

  await page.check("#stay");
  await signIn(page, "ritsuko");
  await second.locator("#account-name", { hasText: "ritsuko" }).waitFor();
  await second.close();
  const kept = await page.evaluate(() => localStorage.getItem("accountd.token"));
  assert.equal(kept.length, 250);
  assert.equal(await page.evaluate(() => sessionStorage.getItem("accountd.token")), null);
  await page.reload();
  await page.locator("#account-name", { hasText: "ritsuko" }).waitFor();
  await leave();
});

test("a user can sign out of one session or of all", async () => {
  const roomy = await serve({ sessions_per_user: 3 });
  await roomy.register("hikari");
  const other = await roomy.login("hikari");
  const { page, open, leave } = await person(browser, roomy);
  await open();
  await signIn(page, "hikari");
  await page.click("#sign-out");
  await page.locator("#notice.good").waitFor();
  assert.equal((await roomy.post("user_info", { token: other })).code, 200);
  await signIn(page, "hikari");
  await page.click("#sign-out-everywhere");
  await page.locator("#notice.good").waitFor();
  assert.equal((await roomy.post("user_info", { token: other })).code, 403);
  await leave();
  await roomy.stop();
});

test("after a 429 the button counts the wait down and then works again", async () => {
  const strict = await serve({ throttle: true });
  await strict.register("kaji");
  const { page, open, leave } = await person(browser, strict, { expected: [/status of 429/] });
  await open();
  for (let nth = 0; nth < 4; nth++) {
    await page.waitForFunction(() => document.querySelector("#sign-in .picture:not(.waiting) img[src]"));
    await fill(page, "login", { username: "kaji", passwd: "wrong", verification_code: CAPTCHA });
    if (nth < 3) {
      await submit(page, "login");
      await message(page, "login").getByText("账号或密码错误").waitFor();
    }
  }
  await page.evaluate(() => {
    window.labels = [];
    const button = document.querySelector("[data-api=login] .buttons button");
    new MutationObserver(() => labels.push(button.textContent)).observe(button, { childList: true });
  });
  await submit(page, "login");
  await message(page, "login").getByText("too many requests, try again later").waitFor();
  // The fields keep their text except the captcha.
  assert.equal(await page.inputValue("#login-passwd"), "wrong");
  await message(page, "login").getByText("You can try again now.").waitFor();
  const labels = await page.evaluate(() => window.labels);
  assert.match(labels.join(), /Wait 1 s,Sign in$/);
  await signIn(page, "kaji");
  await leave();
  await strict.stop();
});

test("longer waits count down second by second", async () => {
  const { page, open, leave } = await person(browser, server, { expected: [/status of 429/] });
  await page.clock.install();
  await page.route("**/api/login/", (route) =>
    route.fulfill({ status: 429, headers: { "Retry-After": "3" }, json: { message: "too many requests", code: 429 } }),
  );
  await open();
  await page.locator("#sign-in .picture img").waitFor();
  await fill(page, "login", { username: "a", passwd: "b", verification_code: "c" });
  await page.clock.pauseAt(new Date(Date.now() + 60_000));
  await submit(page, "login");
  const button = page.locator("[data-api=login] .buttons button");
  for (const left of [3, 2, 1]) {
    await button.getByText(`Wait ${left} s`).or(button.filter({ hasText: `Wait ${left} s` })).first().waitFor();
    assert.equal(await button.getAttribute("aria-disabled"), "true");
    await page.clock.runFor(1000);
  }
  await button.filter({ hasText: "Sign in" }).waitFor();
  assert.equal(await button.getAttribute("aria-disabled"), "false");
  await leave();
});

test("without a connection the page shows a message and keeps the form", async () => {
  const { context, page, open, leave } = await person(browser, server, { expected: [/ERR_INTERNET_DISCONNECTED/] });
  await server.register("maya");
  await open();
  await page.locator("#sign-in .picture img").waitFor();
  await fill(page, "login", { username: "maya", passwd: PASSWORD, verification_code: CAPTCHA });
  await context.setOffline(true);
  await submit(page, "login");
  await message(page, "login").getByText("The server can’t be reached.").waitFor();
  assert.equal(await page.inputValue("#login-passwd"), PASSWORD);
  assert.equal(await page.inputValue("[data-api=login] [name=verification_code]"), CAPTCHA);
  await page.click("#sign-in .picture");
  await page.getByText("No picture could be fetched.").waitFor();
  await context.setOffline(false);
  await page.locator("#sign-in .picture img").waitFor();
  await signIn(page, "maya");

  await context.setOffline(true);
  await page.click("#sign-out");
  await page.locator("#account-message").getByText("The server can’t be reached.").waitFor();
  await context.setOffline(false);
  await page.click("#sign-out");
  await page.locator("#notice").getByText("You are signed out.").waitFor();
  await leave();
});

test("the page shows the password policy", async () => {
  const strict = await serve({ min_password_length: 10, refuse_common_passwords: true });
  await strict.register("fuyutsuki", { passwd: "long enough" });
  const { page, open, leave } = await person(browser, strict);
  await open();
  await signIn(page, "fuyutsuki", "long enough");
  await page.locator("#account .picture img").waitFor();
  await fill(page, "update_password", { old_passwd: "x", new_passwd: "too short", verification_code: CAPTCHA });
  await submit(page, "update_password");
  await page.locator("#change-passwd-error", { hasText: "At least 10 characters." }).waitFor();
  await fill(page, "update_password", { old_passwd: "long enough", new_passwd: "1234567890" });
  await submit(page, "update_password");
  await message(page, "update_password").getByText("or the new one is too easy to guess.").waitFor();
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
  const url = `http://127.0.0.1:${proxy.address().port}`;
  const { page, open, leave } = await person(browser, { url });
  await open("accounts/");
  await signIn(page, "aoba");
  await page.waitForFunction(() => document.getElementById("avatar").naturalWidth > 0);
  await page.click("#sign-out");
  await page.locator("#notice.good").waitFor();
  assert.equal(new URL(page.url()).pathname, "/accounts/");
  await leave();
  proxy.closeAllConnections();
  proxy.close();
});

test("an account that could not be loaded can be loaded again", async () => {
  await server.register("makoto");
  const { page, open, leave } = await person(browser, server, { expected: [/ERR_FAILED/] });
  await open();
  await signIn(page, "makoto");
  await page.route("**/api/user_info/", (route) => route.abort());
  await page.reload();
  await page.locator("#account-message").getByText("The server can’t be reached.").waitFor();
  await page.unroute("**/api/user_info/");
  await page.getByText("Try again").click();
  await page.locator("#account-name", { hasText: "makoto" }).waitFor();
  assert.equal(await page.locator("#account-message p").count(), 0);
  await leave();
});

test("a disabled function shows a message instead of its form", async () => {
  const closed = await serve({ registration_function_status: false, forgot_password_function_status: false });
  const { page, open, leave } = await person(browser, closed);
  await open("#/register");
  await page.getByText("Registration is closed").waitFor();
  assert.equal(await page.locator("[data-api=registered]").isVisible(), false);
  await page.click("#register [href='#/sign-in']");
  await page.click("[href='#/reset']");
  await page.getByText("Password reset is closed").waitFor();
  assert.equal(await page.locator("[data-api=forget_password]").isVisible(), false);
  await page.goBack();
  await page.locator("#sign-in").waitFor();
  await leave();
  await closed.stop();
});
