// Accessibility: screen readers, keyboards, narrow screens, names in any script.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { CAPTCHA, PASSWORD, fill, findings, launch, person, root, serve, signIn, submit } from "./support.js";

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
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(overflow <= 0, `${what} is ${overflow} pixels too wide`);
    };
    await open();
    await page.locator("#sign-in .picture img").waitFor();
    await clean("sign-in");
    await submit(page, "login");
    await clean("sign-in with absent fields");
    await fill(page, "login", { username: name, passwd: "wrong", verification_code: CAPTCHA });
    await submit(page, "login");
    await page.locator("[data-api=login] .message.bad").waitFor();
    await clean("sign-in refused");
    await page.click("[href='#/register']");
    await page.locator("#register .picture img").waitFor();
    await clean("register");
    await page.click("#register [href='#/sign-in']");
    await page.click("[href='#/reset']");
    await page.locator("#reset .picture img").waitFor();
    await clean("reset");
    await page.click("#reset [href='#/sign-in']");
    await signIn(page, name);
    await page.locator("#account .picture img").waitFor();
    await clean("account");
    await page.click("#fresh-key");
    await clean("the question before a fresh key");
    await page.click("#ask .plain");
    await page.setInputFiles("#file", PICTURE);
    await page.locator("#crop").waitFor();
    await clean("crop");
    await page.click("#away");
    await page.click("#sign-out");
    await page.locator("#notice.good").waitFor();
    await clean("signed out");
    await leave();

    const other = await person(browser, closed, { language, width, dark });
    for (const view of ["register", "reset"]) {
      await other.open(`#/${view}`);
      await other.page.locator(`#${view} .closed`).waitFor();
      assert.deepEqual(await findings(other.page), [], `${view}, closed`);
    }
    await other.leave();
  });
}

test("the keyboard alone signs in, changes a name and signs out, in the order of the page", async () => {
  await server.register("rei");
  const { page, open, leave } = await person(browser, server);
  await open();
  await page.locator("#sign-in .picture img").waitFor();
  const press = (key) => page.keyboard.press(key);
  const focus = () => page.evaluate(() => document.activeElement.id || document.activeElement.textContent.trim());
  const order = [];
  for (let nth = 0; nth < 9; nth++) {
    await press("Tab");
    order.push(await focus());
  }
  const captcha = await page.getAttribute("#sign-in [name=verification_code]", "id");
  assert.deepEqual(order, [
    "language", "Create an account", "Forgotten your password?", "login-username", "login-passwd", "Show", captcha, "", "stay",
  ]);
  // The focus is visible.
  await page.focus("#login-username");
  await page.keyboard.type("rei");
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineWidth);
  assert.equal(outline, "3px");
  await press("Tab");
  await page.keyboard.type(PASSWORD);
  await press("Tab");
  await press("Space");
  assert.equal(await page.getAttribute("#login-passwd", "type"), "text");
  await press("Tab");
  await page.keyboard.type(CAPTCHA);
  await press("Enter");
  await page.waitForFunction(() => document.activeElement.id === "account-title");
  assert.equal(await page.getAttribute("#login-passwd", "type"), "password", "a password is hidden again");
  await page.focus("#show-name");
  await page.keyboard.type("零");
  await press("Enter");
  await page.waitForFunction(() => document.getElementById("account-title").textContent === "零");
  await page.focus("#sign-out");
  await press("Enter");
  await page.waitForFunction(() => document.activeElement.id === "login-username");
  await leave();
});

test("messages reach a screen reader, marked with their language", async () => {
  await server.register("asuka");
  const { page, open, leave } = await person(browser, server);
  await open();
  await page.locator("#sign-in .picture img").waitFor();
  await fill(page, "login", { username: "asuka", passwd: "wrong", verification_code: CAPTCHA });
  await submit(page, "login");
  const sentence = page.locator("[data-api=login] [role=status] p").first();
  await sentence.waitFor();
  assert.equal(await sentence.textContent(), "账号或密码错误");
  assert.equal(await sentence.getAttribute("lang"), "zh-CN");
  // A message that is already shown changes its language too.
  await page.click("#language");
  await page.locator("[data-api=login] .message").getByText("请重新输入密码。").waitFor();
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
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, `${overflow} pixels too wide at ${width}`);
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
        [...form.querySelectorAll("[autocomplete]")].map((input) => input.autocomplete).filter((kind) => kind !== "off"),
      ]),
    ),
  );
  assert.deepEqual(kinds, {
    login: ["username", "current-password"],
    registered: ["username", "nickname", "email", "new-password"],
    forget_password: ["username", "email", "new-password"],
    update_show_name: ["nickname"],
    update_key: [],
    update_password: ["username", "current-password", "new-password"],
  });
  await leave();
});
