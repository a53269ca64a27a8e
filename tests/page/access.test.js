// Accessibility: screen readers, keyboards, narrow screens, names in any script.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
  AT, CAPTCHA, PASSWORD, attribute, captcha, choose, click, fill, findings, focus, launch, overflow, person, press, root, serve,
  shown, signIn, signOut, submit, text, type, until, waitFocus, waitText,
} from "./support.js";

let server, closed, browser;
before(async () => {
  const off = { registration_function_status: false, forgot_password_function_status: false };
  [server, closed, browser] = await Promise.all([serve(), serve(off), launch()]);
});
after(async () => {
  await browser?.close();
  await Promise.all([server?.stop(), closed?.stop()]);
});

const PICTURE = join(root, "tests/pictures/progressive-gps.jpg");

// Each colour scheme, language and width once: axe-core takes seconds for a view.
for (const [dark, language, width] of [[false, "en", 1280], [true, "zh-CN", 320]]) {
  test(`axe-core has no objection: ${dark ? "dark" : "light"}, ${language}, ${width} pixels`, async () => {
    const name = `user-${dark}-${width}`;
    await server.register(name);
    const { page, open, leave } = await person(browser, server, { language, width, dark });
    const clean = async (what) => {
      assert.deepEqual(await findings(page), [], what);
      assert.equal(await overflow(page), 0, `pixels that ${what} is too wide`);
    };
    await open();
    await captcha(page, "sign-in");
    await clean("sign-in");
    await submit(page, "login");
    await clean("sign-in with absent fields");
    await fill(page, "login", { username: name, passwd: "wrong", verification_code: CAPTCHA });
    await submit(page, "login");
    await shown(page, "#login-passwd-error");
    await clean("sign-in refused");
    await click(page, AT.toRegister);
    await captcha(page, "register");
    await clean("register");
    await click(page, AT.toSignIn("register"));
    await click(page, AT.toReset);
    await captcha(page, "reset");
    await clean("reset");
    await click(page, AT.toSignIn("reset"));
    await signIn(page, name);
    await clean("account");
    await focus(page, "#old-passwd");
    await captcha(page, "account");
    await clean("account with a captcha");
    await click(page, "#fresh-key");
    await clean("the question before a fresh key");
    await click(page, "#ask .plain");
    await choose(page, "#file", PICTURE);
    await shown(page, "#crop");
    await clean("crop");
    await click(page, "#away");
    await signOut(page);
    await clean("signed out");
    await leave();

    const other = await person(browser, closed, { language, width, dark });
    for (const view of ["register", "reset"]) {
      await other.open(`#/${view}`);
      await shown(other.page, `#${view} .closed`);
      assert.deepEqual(await findings(other.page), [], `${view}, closed`);
    }
    await other.leave();
  });
}

test("the keyboard alone signs in, changes a name and signs out, in the order of the page", async () => {
  await server.register("rei");
  const { page, open, leave } = await person(browser, server);
  await open();
  await captcha(page, "sign-in");
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.textContent.trim());
  await waitFocus(page, "login-username");
  await focus(page, "#language");
  const order = [];
  for (let nth = 0; nth < 9; nth++) {
    await press(page, "Tab");
    order.push(await focused());
  }
  const answer = await attribute(page, AT.field("login", "verification_code"), "id");
  assert.deepEqual(order, [
    "login-username", "login-passwd", "login-passwd-reveal", answer, "Another one", "stay", "Sign in", "Create an account",
    "Forgotten your password?",
  ]);
  // The focus is visible.
  await focus(page, "#login-username");
  await type(page, "rei");
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineWidth);
  assert.equal(outline, "3px");
  await press(page, "Tab");
  await type(page, PASSWORD);
  await press(page, "Tab");
  await press(page, "Space");
  assert.equal(await attribute(page, "#login-passwd", "type"), "text");
  await press(page, "Tab");
  await type(page, CAPTCHA);
  await press(page, "Enter");
  await waitFocus(page, "account-title");
  assert.equal(await attribute(page, "#login-passwd", "type"), "password", "a password is hidden again");
  await page.evaluate(() => document.getElementById("show-name").select());
  await type(page, "零");
  await press(page, "Enter");
  await until(page, () => document.getElementById("account-title").textContent === "零");
  await focus(page, "#sign-out");
  await press(page, "Enter");
  await waitFocus(page, "login-username");
  await leave();
});

test("messages reach a screen reader, marked with their language", async () => {
  await server.register("asuka");
  const { page, open, leave } = await person(browser, server);
  await open();
  await captcha(page, "sign-in");
  await fill(page, "login", { username: "asuka", passwd: "wrong", verification_code: CAPTCHA });
  await submit(page, "login");
  // The sentence of the page comes first, that of the server below it. Both describe the field at fault, which has the focus.
  await waitFocus(page, "login-passwd");
  assert.equal(await attribute(page, "#login-passwd", "aria-invalid"), "true");
  assert.match(await attribute(page, "#login-passwd", "aria-describedby"), /^login-passwd-error/);
  assert.equal(await attribute(page, "#login-passwd-error", "role"), "alert");
  const sentence = "#login-passwd-error .server";
  assert.equal(await text(page, "#login-passwd-error p"), "The user name or the password is not right.");
  assert.equal(await text(page, sentence), "账号或密码错误");
  assert.equal(await attribute(page, sentence, "lang"), "zh-CN");
  // A message that is already shown changes its language too.
  await click(page, "#language");
  await waitText(page, "#login-passwd-error", "用户名或密码不对。");
  assert.equal(await page.title(), "登录 · accountd");
  await leave();
});

test("long names keep the layout, and each script its direction", async () => {
  const name = "a-name-that-goes-on-without-a-single-space-for-all-of-its-64-chars";
  await server.register(name.slice(0, 64), {
    show_name: "שלום العربية 綾波レイ Ελληνικά Donaudampfschifffahrtselektrizitäte",
    email: `${"long".repeat(15)}@${"subdomain.".repeat(12)}example.org`,
  });
  for (const width of [320, 1280]) {
    const { page, open, leave } = await person(browser, server, { width });
    await open();
    await signIn(page, name.slice(0, 64));
    assert.equal(await overflow(page), 0, `pixels too wide at ${width}`);
    assert.equal(await page.evaluate(() => getComputedStyle(document.getElementById("account-title")).direction), "rtl");
    await leave();
  }
});

test("each field has an autocomplete hint for password managers", async () => {
  const { page, open, leave } = await person(browser, server);
  await open();
  const kinds = await page.evaluate(() =>
    Object.fromEntries(
      [...document.forms].map((form) => [
        form.dataset.api,
        // The attribute, since Firefox's property knows no nicknames.
        [...form.querySelectorAll("[autocomplete]")].map((input) => input.getAttribute("autocomplete")).filter((kind) => kind !== "off"),
      ]),
    ),
  );
  assert.deepEqual(kinds, {
    login: ["username", "current-password"],
    registered: ["username", "nickname", "email", "new-password"],
    forget_password: ["username", "email", "new-password"],
    update_show_name: ["nickname"],
    update_email: ["email", "username", "current-password"],
    update_password: ["username", "current-password", "new-password"],
    sessions: [],
    update_key: [],
    totp_begin: ["username", "current-password"],
    totp_confirm: ["one-time-code", "username"],
    totp_end: ["one-time-code", "username", "current-password"],
    delete_account: ["username", "current-password"],
  });
  await leave();
});
