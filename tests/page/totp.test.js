// The second factor: turned on, used and turned off.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { codeOf, enrol, wrongCode } from "./codes.js";
import {
  AT, CAPTCHA, PASSWORD, REPORTS, SAYS, attribute, click, fill, findings, isVisible, launch, overflow, person, press, serve,
  shown, signIn, signOut, submit, text, type, until, waitFocus, waitText,
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
    off: "Off", on: "On", turnOn: "Turn on the second step", turnOff: "Turn off the second step", scan: "Scan with your app",
    wrong: "This code is not right", passwd: "The password is not right.", keep: "Keep these recovery codes", copied: "Copied.",
    isOn: "The second step is on.", isOff: "The second step is off.", left: "Recovery codes left: 10.", qr: "QR code for your authenticator app",
  },
  {
    language: "zh-CN", width: 360, dark: true,
    off: "未开启", on: "已开启", turnOn: "开启二步验证", turnOff: "关闭二步验证", scan: "扫描二维码",
    wrong: "二步验证码不对", passwd: "密码不对。", keep: "请保存恢复码", copied: "已复制。",
    isOn: "二步验证已开启。", isOff: "二步验证已关闭。", left: "恢复码还剩 10 个", qr: "给验证器应用扫描的二维码",
  },
];

const STEPS = { passwd: "[data-api=totp_begin]", scan: "[data-api=totp_confirm]", codes: "#kept", off: "[data-api=totp_end]" };

/// Goes through the first step; returns the secret.
async function begin(page) {
  await click(page, "#totp-turn");
  await fill(page, "totp_begin", { passwd: PASSWORD });
  await submit(page, "totp_begin");
  return scanned(page);
}

async function scanned(page) {
  await shown(page, STEPS.scan);
  await until(page, () => document.getElementById("totp-qr").naturalWidth > 0);
  return (await text(page, "#totp-secret")).replaceAll(" ", "");
}

/// Sends a code in the second step.
async function confirm(page, otp) {
  await fill(page, "totp_confirm", { otp });
  await click(page, "[data-api=totp_confirm] .go");
}

const listed = (page) => page.evaluate(() => [...document.querySelectorAll("#codes li")].map((line) => line.textContent));

for (const { language, width, dark, ...says } of LOOKS) {
  test(`the second factor is turned on, asked for and turned off: ${language}, ${width} pixels`, async () => {
    const name = `rei-${width}`;
    await server.register(name);
    const { page, open, leave } = await person(browser, server, { language, width, dark });
    const clean = async (what) => {
      assert.deepEqual(await findings(page), [], what);
      assert.equal(await overflow(page), 0, `pixels that ${what} is too wide`);
    };
    await open();
    await signIn(page, name);
    await waitText(page, "#totp-state", says.off);
    await click(page, "summary:has(#totp-state)");
    await waitText(page, "#totp-turn", says.turnOn);
    assert.equal(await isVisible(page, "#totp-left"), false);

    await click(page, "#totp-turn");
    await waitText(page, "#sheet-title", says.turnOn);
    await waitFocus(page, "totp_begin-passwd");
    await clean("the first step");
    await fill(page, "totp_begin", { passwd: "wrong" });
    await submit(page, "totp_begin");
    await waitText(page, STEPS.passwd, says.passwd);
    await fill(page, "totp_begin", { passwd: PASSWORD });
    await submit(page, "totp_begin");

    const secret = await scanned(page);
    await waitText(page, "#sheet-title", says.scan);
    await waitFocus(page, "totp-code");
    assert.match(await text(page, "#totp-secret"), /^([A-Z2-7]{4} )+[A-Z2-7]{1,4}$/);
    assert.equal(await attribute(page, "#totp-qr", "aria-label"), says.qr);
    assert.match(await attribute(page, "#totp-qr", "src"), /^blob:/);
    assert.match(await attribute(page, "#totp-app", "href"), new RegExp(`^otpauth://totp/.*${secret}`));
    assert.equal(await attribute(page, "#totp-code", "autocomplete"), "one-time-code");
    assert.equal(await attribute(page, "#totp-code", "inputmode"), "numeric");
    await clean("the second step");
    await click(page, "#totp-copy");
    await waitText(page, STEPS.scan, says.copied);
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), secret);
    await confirm(page, wrongCode(secret));
    await waitText(page, STEPS.scan, says.wrong);
    await waitFocus(page, "totp-code");
    await clean("the second step with a wrong code");
    // People type the space that their app shows.
    await confirm(page, codeOf(secret).replace(/^.../, "$& "));

    await shown(page, STEPS.codes);
    await waitText(page, "#sheet-title", says.keep);
    const codes = await listed(page);
    assert.equal(new Set(codes).size, 10);
    await clean("the recovery codes");
    await click(page, "#codes-copy");
    await waitText(page, STEPS.codes, says.copied);
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), codes.join("\n"));
    // Escape does not lose the codes. Browsers let a page refuse it once, but not twice.
    for (const time of [1, 2]) {
      await press(page, "Escape");
      await until(page, () => document.activeElement.id === "sheet-title");
      assert.deepEqual(await listed(page), codes, `after Escape, ${time}`);
    }
    await click(page, "#codes-kept");
    await waitText(page, "#totp-message", says.isOn);
    await waitFocus(page, "totp-turn");
    await waitText(page, "#totp-state", says.on);
    await waitText(page, "#totp-left", says.left);
    await clean("the panel");
    const rest = await page.evaluate(() => document.documentElement.innerHTML);
    for (const secretText of [secret, ...codes, PASSWORD]) assert.ok(!rest.includes(secretText), "a secret is left in the page");

    await signOut(page);
    await fill(page, "login", { username: name, passwd: PASSWORD, verification_code: CAPTCHA });
    await submit(page, "login");
    await shown(page, AT.field("login", "otp"));
    await fill(page, "login", { otp: codeOf(secret, 1) });
    await submit(page, "login");
    await waitText(page, AT.name, name);

    await waitText(page, "#totp-state", says.on);
    await click(page, "#totp-turn");
    await waitText(page, "#sheet-title", says.turnOff);
    await waitFocus(page, "totp-off");
    await clean("the dialog that turns it off");
    await fill(page, "totp_end", { otp: wrongCode(secret), passwd: PASSWORD });
    await submit(page, "totp_end");
    await waitText(page, STEPS.off, says.wrong);
    await fill(page, "totp_end", { otp: codes[3] });
    await submit(page, "totp_end");
    await waitText(page, "#totp-message", says.isOff);
    await waitText(page, "#totp-state", says.off);
    await leave();
  });
}

test("the keyboard alone turns the second factor on", async () => {
  await server.register("asuka");
  const { page, open, leave } = await person(browser, server);
  await open();
  await signIn(page, "asuka");
  await waitText(page, "#totp-state", "Off");
  await page.evaluate(() => document.querySelector("summary:has(#totp-state)").focus());
  await press(page, "Enter");
  await press(page, "Tab");
  await waitFocus(page, "totp-turn");
  await press(page, "Enter");
  await waitFocus(page, "totp_begin-passwd");
  await press(page, "Escape");
  await waitFocus(page, "totp-turn");
  await press(page, "Enter");
  await waitFocus(page, "totp_begin-passwd");
  await type(page, PASSWORD);
  await press(page, "Enter");
  const secret = await scanned(page);
  await waitFocus(page, "totp-code");
  await type(page, codeOf(secret));
  await press(page, "Enter");
  await waitFocus(page, "sheet-title");
  await press(page, "Tab");
  await waitFocus(page, "codes-kept");
  await press(page, "Enter");
  await waitFocus(page, "totp-turn");
  await waitText(page, "#totp-state", "On");
  await leave();
});

test("offline in the middle, the step stays and goes on later", async () => {
  await server.register("misato");
  const { page, open, offline, leave } = await person(browser, server, { expected: [REPORTS.offline] });
  await open();
  await signIn(page, "misato");
  await waitText(page, "#totp-state", "Off");
  const secret = await begin(page);
  await offline(true);
  await confirm(page, codeOf(secret));
  await waitText(page, STEPS.scan, SAYS.offline);
  await offline(false);
  await confirm(page, codeOf(secret));
  await shown(page, STEPS.codes);
  assert.equal((await listed(page)).length, 10);
  await leave();
});

test("a session that ends in the middle leads to the sign-in, without a dialog", async () => {
  await server.register("kaji");
  const { page, open, leave } = await person(browser, server);
  await open();
  await signIn(page, "kaji");
  await waitText(page, "#totp-state", "Off");
  const secret = await begin(page);
  await server.post("logout", { token: await server.login("kaji"), everywhere: true });
  await confirm(page, codeOf(secret));
  await waitText(page, AT.notice, SAYS.ended);
  assert.equal(await isVisible(page, "dialog[open]"), false);
  assert.equal(await text(page, "#totp-secret"), "");
  await signIn(page, "kaji");
  await waitText(page, "#totp-state", "Off");
  await leave();
});

test("a sign-out in another tab closes the dialog, and one dialog never covers another", async () => {
  await server.register("ritsuko");
  const { page, open, tab, leave } = await person(browser, server);
  await open();
  await signIn(page, "ritsuko");
  await waitText(page, "#totp-state", "Off");
  await begin(page);
  await page.evaluate(() => {
    document.getElementById("fresh-key").click();
    document.getElementById("delete-open").click();
  });
  assert.equal(await page.evaluate(() => document.querySelectorAll("dialog[open]").length), 1);
  const other = await tab(server.url);
  await waitText(other, AT.name, "ritsuko");
  await signOut(other);
  await waitText(page, AT.notice, "You signed out in another tab.");
  assert.equal(await isVisible(page, "dialog[open]"), false);
  await leave();
});

test("the printed page has the codes, and what they are for", async () => {
  await server.register("maya");
  const { page, open, leave } = await person(browser, server);
  await open();
  await signIn(page, "maya");
  await waitText(page, "#totp-state", "Off");
  await confirm(page, codeOf(await begin(page)));
  await shown(page, STEPS.codes);
  await page.evaluate(() => (window.print = () => (window.printed = true)));
  await click(page, "#codes-print");
  assert.equal(await page.evaluate(() => window.printed), true);
  // Firefox cannot be told to show the style for printing.
  if (browser.named === "chromium") {
    await page.emulateMediaType("print");
    const lines = (await page.evaluate(() => document.body.innerText)).split("\n").filter(Boolean);
    assert.match(lines[0], new RegExp(`^accountd · ${new URL(server.url).host} · maya · .*20\\d\\d`));
    assert.deepEqual(lines.slice(1), await listed(page));
  }
  await leave();
});

test("a device that signed in before is asked once for a code", async () => {
  await server.register("shinji");
  const { page, open, leave } = await person(browser, server);
  await open();
  await signIn(page, "shinji");
  const { secret, codes } = await enrol(server, await server.login("shinji"), PASSWORD);
  await click(page, "summary:has([data-t=sessions])");
  await shown(page, "#sessions [name=otp]");
  await fill(page, "sessions", { otp: wrongCode(secret) });
  await submit(page, "sessions");
  await waitText(page, "#sessions", "This code is not right");
  // A recovery code will do, with capital letters and without hyphens, too.
  await fill(page, "sessions", { otp: codes[0].toUpperCase().replaceAll("-", "") });
  await submit(page, "sessions");
  await until(page, () => document.querySelectorAll("#sessions li").length === 2);
  await click(page, "#sessions li:first-child button");
  await waitText(page, "#sessions", "That device is signed out.");
  await until(page, () => document.querySelectorAll("#sessions li").length === 1);
  await leave();
});
