// What users do with their own account: its sessions, email, key and data, and its end.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { enrol } from "./codes.js";
import {
  AT, PASSWORD, REPORTS, SAYS, attribute, click, count, fill, findings, isVisible, launch, overflow, person, press, serve, shown, signIn,
  signOut, submit, text, until, value, waitFocus, waitText,
} from "./support.js";

let server, browser;
before(async () => ([server, browser] = await Promise.all([serve({ sessions_per_user: 5 }), launch()])));
after(async () => {
  await browser?.close();
  await server?.stop();
});

/// What the page says in both languages, and how it looks.
const LOOKS = [
  {
    language: "en", width: 1280, dark: false,
    email: "Your email is changed.", passwd: "The password is not right.", taken: "Another account has this email.", notEmail: "This does not look like an email address.",
    here: "This one", other: "curl", ended: "That device is signed out.", gone: ["the account", "its picture", "its sign-ins on all devices (1)", "the user key"],
    deleted: "Your account is deleted.", panels: ["Picture", "Display name", "Email", "Password", "Second step at sign-in", "Where you are signed in", "User key", "Your data, and deletion"],
  },
  {
    language: "zh-CN", width: 360, dark: true,
    email: "邮箱已修改。", passwd: "密码不对。", taken: "这个邮箱已被别人使用。", notEmail: "这不像是邮箱地址。",
    here: "当前设备", other: "curl", ended: "那台设备已退出登录。", gone: ["账户", "头像", "所有设备上的登录 (1)", "用户密钥"],
    deleted: "账户已删除。", panels: ["头像", "显示名称", "邮箱", "密码", "二步验证", "登录的设备", "用户密钥", "数据与注销"],
  },
];

const tokenOf = (page) => page.evaluate(() => sessionStorage.getItem("accountd.token"));

/// Opens a session as curl would.
async function curl(username) {
  const captcha = await fetch(`${server.url}/api/get_verification_code/`);
  await captcha.arrayBuffer();
  const members = { username, passwd: PASSWORD, verification_code_key: captcha.headers.get("VerificationCodeKey"), verification_code: "k7m3xp" };
  const answer = await fetch(`${server.url}/api/login/`, { method: "POST", headers: { "User-Agent": "curl/8.5.0" }, body: JSON.stringify(members) });
  return (await answer.json()).message;
}

for (const { language, width, dark, ...says } of LOOKS) {
  test(`email, sessions and the end of an account: ${language}, ${width} pixels`, async () => {
    const name = `rei-${width}`;
    await server.register(name);
    await server.register(`other-${width}`);
    const { page, open, leave } = await person(browser, server, { language, width, dark });
    const clean = async (what) => {
      assert.deepEqual(await findings(page), [], what);
      assert.equal(await overflow(page), 0, `pixels that ${what} is too wide`);
    };
    await open();
    await signIn(page, name);
    const token = await curl(name);
    const titles = await page.evaluate(() => [...document.querySelectorAll("#account h2")].map((title) => title.textContent));
    assert.deepEqual(titles, says.panels);
    await clean("the account with closed panels");

    await fill(page, "update_email", { new_email: "no address", passwd: PASSWORD });
    await submit(page, "update_email");
    await waitText(page, "#change-email-error", says.notEmail);
    await fill(page, "update_email", { new_email: `other-${width}@example.org`, passwd: "wrong" });
    await submit(page, "update_email");
    await waitText(page, AT.form("update_email"), says.passwd);
    await waitFocus(page, "update_email-passwd");
    await fill(page, "update_email", { passwd: PASSWORD });
    await submit(page, "update_email");
    await waitText(page, AT.form("update_email"), says.taken);
    await waitFocus(page, "change-email");
    assert.equal(await value(page, "#update_email-passwd"), PASSWORD, "the password stays");
    await clean("the email refused");
    await fill(page, "update_email", { new_email: `new-${width}@example.org` });
    await submit(page, "update_email");
    await waitText(page, AT.message("update_email"), says.email);
    assert.equal(await text(page, "#account-email"), `new-${width}@example.org`);
    assert.equal(await value(page, "#update_email-passwd"), "");
    assert.equal((await server.info(token)).email, `new-${width}@example.org`);

    await click(page, "summary:has([data-t=sessions])");
    await until(page, () => document.querySelectorAll("#sessions li").length === 2);
    await waitText(page, "#sessions li", says.here);
    await waitText(page, "#sessions li", says.other);
    await waitText(page, "#sessions li", "127.0.0.1");
    await waitText(page, "#sessions li", String(new Date().getFullYear()));
    if (language === "zh-CN") await waitText(page, "#sessions li b", "Linux 上的");
    await page.evaluate(() => document.querySelectorAll("details").forEach((panel) => (panel.open = true)));
    await clean("the account with open panels");
    await click(page, "#sessions li:not(:has(span)) button");
    await waitText(page, "#sessions .message", says.ended);
    assert.equal(await count(page, "#sessions li"), 1);
    assert.equal((await server.post("user_info", { token })).code, 403);

    await click(page, "#delete-open");
    await waitFocus(page, "delete_account-passwd");
    for (const line of says.gone) await waitText(page, "#gone", line);
    await waitText(page, "#gone", name);
    await clean("the dialog before the end");
    await press(page, "Escape");
    await waitFocus(page, "delete-open");
    await click(page, "#delete-open");
    await fill(page, "delete_account", { passwd: "wrong" });
    await submit(page, "delete_account");
    await waitText(page, AT.form("delete_account"), says.passwd);
    await fill(page, "delete_account", { passwd: PASSWORD });
    await submit(page, "delete_account");
    await waitText(page, AT.notice, says.deleted);
    assert.equal(await isVisible(page, "dialog[open]"), false);
    assert.equal(await tokenOf(page), null);
    assert.equal(await text(page, "#account-email"), "");
    const again = await server.post("login", { username: name, passwd: PASSWORD }, true);
    assert.equal(again.code, 604);
    await leave();
  });
}

test("with a second factor, the email and the end need a code, too", async () => {
  await server.register("asuka");
  const { page, open, leave } = await person(browser, server);
  await open();
  await signIn(page, "asuka");
  const { codes } = await enrol(server, await tokenOf(page), PASSWORD);
  await fill(page, "update_email", { new_email: "soryu@example.org", passwd: PASSWORD });
  await submit(page, "update_email");
  await shown(page, AT.field("update_email", "otp"));
  await fill(page, "update_email", { otp: codes[0] });
  await submit(page, "update_email");
  await waitText(page, "#account-email", "soryu@example.org");
  await click(page, "#delete-open");
  await fill(page, "delete_account", { passwd: PASSWORD });
  await submit(page, "delete_account");
  await shown(page, AT.field("delete_account", "otp"));
  await fill(page, "delete_account", { otp: codes[1] });
  await submit(page, "delete_account");
  await waitText(page, AT.notice, "Your account is deleted.");
  await leave();
});

test("the row of this device signs out", async () => {
  await server.register("kaji");
  const { page, open, leave } = await person(browser, server);
  await open();
  await signIn(page, "kaji");
  await click(page, "summary:has([data-t=sessions])");
  await click(page, "#sessions li:has(span) button");
  await waitText(page, AT.notice, SAYS.signedOut);
  assert.equal(await count(page, "#sessions li"), 0);
  await leave();
});

test("the data is a file without keys to the account, and the picture another one", async () => {
  await server.register("misato");
  const { page, open, leave } = await person(browser, server);
  await open();
  await signIn(page, "misato");
  await page.evaluate(() => {
    // The policy of the page allows no request to a blob.
    const create = URL.createObjectURL;
    URL.createObjectURL = (blob) => {
      if (blob.type === "application/json") window.blob = blob;
      return create(blob);
    };
    HTMLAnchorElement.prototype.click = async function () {
      window.saved = { name: this.download, text: await window.blob.text() };
    };
  });
  await click(page, "#data button");
  await until(page, () => window.saved);
  const { name, text: json } = await page.evaluate(() => window.saved);
  assert.equal(name, "misato.json");
  const data = JSON.parse(json);
  const token = await tokenOf(page);
  const info = await server.info(token);
  assert.deepEqual(data.account, { id: info.id, name: "misato", show_name: "misato", email: "misato@example.org", avatar: info.avatar });
  assert.deepEqual(data.second_factor, { on: false, recovery_codes: 0 });
  assert.equal(data.sessions.length, 1);
  for (const secret of [token, info.key]) assert.ok(!json.includes(secret));
  assert.equal(await attribute(page, "#picture-link", "href"), `s/${info.avatar}`);
  assert.equal(await attribute(page, "#picture-link", "download"), "");
  await leave();
});

test("the user key is in no field, is shown on request, and is copied with the name", async () => {
  await server.register("ritsuko");
  const { page, open, leave } = await person(browser, server);
  await open();
  await signIn(page, "ritsuko");
  const { key } = await server.info(await tokenOf(page));
  await click(page, "summary:has([data-t=key])");
  await waitText(page, "[data-api=update_key] .hint", "your server’s operator has put behind this account");
  const inDocument = () => page.evaluate((key) => document.documentElement.outerHTML.includes(key), key);
  const inFields = () => page.evaluate((key) => [...document.querySelectorAll("input, textarea")].some((one) => one.value.includes(key)), key);
  assert.equal(await inDocument(), false);
  assert.equal(await page.evaluate(() => document.querySelectorAll("[data-api=update_key] input").length), 0);
  await click(page, "#show-key");
  await waitText(page, "#key", key);
  await waitText(page, "#show-key", "Hide");
  assert.equal(await inFields(), false);
  await click(page, "#show-key");
  assert.equal(await inDocument(), false);
  await click(page, "#copy");
  await waitText(page, AT.message("update_key"), "Copied.");
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), key);
  await click(page, "#copy-both");
  await until(page, async (both) => (await navigator.clipboard.readText()) === both, `ritsuko:${key}`);
  await click(page, "#show-key");
  await signOut(page);
  assert.equal(await inDocument(), false);
  await leave();
});

test("offline, a form of the account keeps what was typed; a session that ended does, too", async () => {
  await server.register("maya");
  const { page, open, offline, leave } = await person(browser, server, { expected: [REPORTS.offline] });
  await open();
  await signIn(page, "maya");
  await fill(page, "update_email", { new_email: "ibuki@example.org", passwd: PASSWORD });
  await offline(true);
  await submit(page, "update_email");
  await waitText(page, AT.message("update_email"), SAYS.offline);
  assert.equal(await value(page, "#update_email-passwd"), PASSWORD);
  await offline(false);
  await server.post("logout", { token: await server.login("maya"), everywhere: true });
  await submit(page, "update_email");
  await waitText(page, AT.notice, SAYS.ended);
  await signIn(page, "maya");
  await until(page, () => document.getElementById("change-email").value === "ibuki@example.org");
  assert.equal(await isVisible(page, "#change-email"), true);
  assert.equal(await value(page, "#update_email-passwd"), "");
  await leave();
});
