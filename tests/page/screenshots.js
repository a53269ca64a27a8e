// Takes a picture of every view, light and dark, 360 and 1280 pixels wide, in both languages: `node screenshots.js FOLDER`.
// With --readme in place of the folder it renews the README's picture.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import {
  AT, CAPTCHA, PASSWORD, choose, click, disturbed, captcha, fill, focus, gate, launch, person, press, root, screenshot, serve, shown, signIn, signOut, submit, until, visit,
} from "./support.js";

const README = join(root, "tests/page/page.png");
const PICTURE = join(root, "tests/pictures/progressive-gps.jpg");
const LONG_NAME = "a-user-name-that-goes-on-without-a-single-space-for-64-characters";
const folder = process.argv[2];
if (!folder) {
  console.error("usage: node screenshots.js FOLDER | --readme");
  process.exit(2);
}

const [server, closed, guarded, browser] = await Promise.all([
  serve(),
  serve({ registration_function_status: false, forgot_password_function_status: false }),
  gate(),
  launch(),
]);
await server.register("rei", { show_name: "綾波レイ Rei Ayanami" });

/// Takes a picture without the port, which is another one each time.
async function shoot(page, path, full) {
  await page.evaluate(() => (document.getElementById("host").textContent = "127.0.0.1:9999"));
  await screenshot(page, path, full);
}

async function readme() {
  const { page, open, leave } = await person(browser, server, { width: 1120, height: 960 });
  await open();
  await signIn(page, "rei");
  await page.evaluate(() => document.activeElement.blur());
  await shoot(page, README, false);
  await leave();
}

/// Takes a picture of every view for this language, width and colour scheme.
async function views(wishes) {
  const { language, width, dark } = wishes;
  const height = width === 360 ? 640 : 860;
  const line = await disturbed(server);
  const { page, open, leave } = await person(browser, line, { ...wishes, height, expected: [/./] });
  const take = (name, fullPage = true) =>
    shoot(page, join(folder, `${name}-${dark ? "dark" : "light"}-${width}-${language.slice(0, 2)}.png`), fullPage);
  await open();
  await take("sign-in");
  await fill(page, "login", { username: "rei", passwd: "wrong", verification_code: CAPTCHA });
  await submit(page, "login");
  await shown(page, "[data-api=login] .error");
  await take("sign-in-refused");
  await click(page, AT.toRegister);
  await take("register");
  await submit(page, "registered");
  await take("register-absent");
  await click(page, AT.toSignIn("register"));
  await click(page, AT.toReset);
  await take("reset");
  await click(page, AT.toSignIn("reset"));
  await signIn(page, "rei");
  await take("account");
  await page.evaluate(() => document.querySelectorAll("details").forEach((panel) => (panel.open = true)));
  await shown(page, "#sessions li");
  await take("account-open");
  await click(page, "#delete-open");
  await take("delete", false);
  await press(page, "Escape");
  await click(page, "#totp-turn");
  await fill(page, "totp_begin", { passwd: PASSWORD });
  await take("totp-begin", false);
  await submit(page, "totp_begin");
  await shown(page, "#totp-code");
  await take("totp-scan", false);
  await press(page, "Escape");
  await submit(page, "update_show_name");
  await focus(page, "#old-passwd");
  await captcha(page, "account");
  await fill(page, "update_password", { old_passwd: "wrong", new_passwd: "another", verification_code: CAPTCHA });
  await submit(page, "update_password");
  await shown(page, "[data-api=update_password] .error");
  await click(page, "#copy");
  await take("account-errors");
  await click(page, "#fresh-key");
  await take("question", false);
  await click(page, "#ask .plain");
  await choose(page, "#file", PICTURE);
  await shown(page, "#crop");
  await take("crop", false);
  line.rules["/api/upload_avatar/"] = { status: 503, json: { code: 503, message: "the server is busy, try again later" } };
  await click(page, "#upload");
  await shown(page, "#crop .message.bad");
  await take("crop-refused", false);
  await click(page, "#away");
  await signOut(page);
  await take("signed-out");
  await signIn(page, LONG_NAME.slice(0, 64));
  await take("account-long");
  await leave();
  line.stop();

  const other = await person(browser, closed, { ...wishes, height });
  await other.open("#/register");
  await shoot(other.page, join(folder, `closed-${dark ? "dark" : "light"}-${width}-${language.slice(0, 2)}.png`), true);
  await other.leave();
}

/// Takes pictures of what is shown on the way to a program, and of links.
async function ways(wishes) {
  const { language, width, dark } = wishes;
  const wiki = guarded.program("wiki");
  const { page, leave } = await person(browser, guarded, { ...wishes, height: 740, others: [wiki], expected: [/./] });
  const take = (name) =>
    shoot(page, join(folder, `${name}-${dark ? "dark" : "light"}-${width}-${language.slice(0, 2)}.png`), true);
  const go = async (address, what) => {
    await visit(page, "about:blank");
    await visit(page, address);
    await shown(page, what);
  };
  await go(wiki, "#sign-in .picture img");
  await take("onward");
  guarded.options.cookies = false;
  await fill(page, "login", { username: "rei", passwd: PASSWORD, verification_code: CAPTCHA });
  await submit(page, "login");
  await shown(page, "#notice.bad");
  await until(page, () => document.getElementById("avatar").naturalWidth > 0);
  await take("onward-blocked");
  guarded.options.cookies = true;
  await go(wiki, "#notice.good");
  await take("onward-once-more");
  await go(`${guarded.url}/#return=https://elsewhere.test/`, "#notice.bad");
  await take("onward-refused");
  const invitation = guarded.link("invite", "--group", "media");
  await go(`${guarded.url}/#invite=${invitation.key}&return=${encodeURIComponent(wiki)}`, "#register .picture img");
  await take("invitation");
  await go(`${guarded.url}/#invite=expired`, "#register .closed");
  await take("invitation-expired");
  const reset = guarded.link("user", "reset-link", "rei");
  await go(`${guarded.url}/#reset=${reset.key}`, "#reset .picture img");
  await take("reset-link");
  await leave();
}

if (folder === "--readme") {
  await readme();
} else {
  guarded.command("group", "add", "media");
  await guarded.register("rei", { show_name: "綾波レイ Rei Ayanami" });
  mkdirSync(folder, { recursive: true });
  await server.register(LONG_NAME.slice(0, 64), {
    show_name: [..."Великолепная Ἀφροδίτη العربية שלום 綾波レイ 阿巴阿巴 Donaudampfschifffahrt"].slice(0, 64).join(""),
    email: `${"long".repeat(15)}@${"subdomain.".repeat(12)}example.org`,
  });
  for (const dark of [false, true]) {
    for (const width of [1280, 360]) {
      for (const language of ["en", "zh-CN"]) {
        await views({ language, width, dark });
        await ways({ language, width, dark });
      }
    }
  }
}
await browser.close();
await Promise.all([server.stop(), closed.stop(), guarded.stop()]);
