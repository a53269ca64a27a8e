// Takes the README's picture of the page and, if a folder is named, a picture of every view.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { CAPTCHA, PASSWORD, fill, gate, launch, person, root, serve, signIn, submit } from "./support.js";

const README = join(root, "tests/page/page.png");
const PICTURE = join(root, "tests/pictures/progressive-gps.jpg");
const LONG_NAME = "a-user-name-that-goes-on-without-a-single-space-for-64-characters";
const folder = process.argv[2];

const [server, closed, guarded, browser] = await Promise.all([
  serve(),
  serve({ registration_function_status: false, forgot_password_function_status: false }),
  gate(),
  launch(),
]);
await server.register("rei", { show_name: "綾波レイ Rei Ayanami" });

/// Takes a picture once captchas and images are loaded.
async function shoot(page, path, fullPage) {
  await page.waitForFunction(() => !document.querySelector(".view:not([hidden]) .waiting"));
  await page.evaluate(() => Promise.all([...document.images].filter((image) => image.src).map((image) => image.decode())));
  await page.evaluate(() => (document.getElementById("host").textContent = "127.0.0.1:9999"));
  await page.screenshot({ path, fullPage });
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
  const height = width === 320 ? 640 : 860;
  const { page, open, leave } = await person(browser, server, { ...wishes, height });
  const take = (name, fullPage = true) =>
    shoot(page, join(folder, `${name}-${dark ? "dark" : "light"}-${width}-${language.slice(0, 2)}.png`), fullPage);
  await open();
  await take("sign-in");
  await fill(page, "login", { username: "rei", passwd: "wrong", verification_code: CAPTCHA });
  await submit(page, "login");
  await page.locator("[data-api=login] .message.bad").waitFor();
  await take("sign-in-refused");
  await page.click("[href='#/register']");
  await take("register");
  await submit(page, "registered");
  await take("register-absent");
  await page.click("#register [href='#/sign-in']");
  await page.click("[href='#/reset']");
  await take("reset");
  await page.click("#reset [href='#/sign-in']");
  await signIn(page, "rei");
  await take("account");
  await submit(page, "update_show_name");
  await fill(page, "update_password", { old_passwd: "wrong", new_passwd: "another", verification_code: CAPTCHA });
  await submit(page, "update_password");
  await page.locator("[data-api=update_password] .message.bad").waitFor();
  await page.click("#copy");
  await take("account-errors");
  await page.click("#fresh-key");
  await take("question", false);
  await page.click("#ask .plain");
  await page.setInputFiles("#file", PICTURE);
  await page.locator("#crop").waitFor();
  await take("crop", false);
  await page.route("**/api/upload_avatar/", (route) => route.fulfill({ status: 503, json: { code: 503, message: "the server is busy, try again later" } }));
  await page.click("#upload");
  await page.locator("#crop .message.bad").waitFor();
  await take("crop-refused", false);
  await page.click("#away");
  await page.click("#sign-out");
  await page.locator("#notice.good").waitFor();
  await take("signed-out");
  await signIn(page, LONG_NAME.slice(0, 64));
  await take("account-long");
  await leave().catch(() => {});

  const other = await person(browser, closed, { ...wishes, height });
  await other.open("#/register");
  await shoot(other.page, join(folder, `closed-${dark ? "dark" : "light"}-${width}-${language.slice(0, 2)}.png`), true);
  await other.leave();
}

/// Takes pictures of what is shown on the way to a program, and of links.
async function ways(wishes) {
  const { language, width, dark } = wishes;
  const expected = [/status of 401/, /Cross-Origin-Opener-Policy/];
  const wiki = guarded.program("wiki");
  const { page, leave } = await person(browser, guarded, { ...wishes, height: 740, others: [wiki], expected });
  const take = (name) =>
    shoot(page, join(folder, `${name}-${dark ? "dark" : "light"}-${width}-${language.slice(0, 2)}.png`), true);
  const visit = async (address, what) => {
    await page.goto("about:blank");
    await page.goto(address);
    await page.locator(what).waitFor();
  };
  await visit(wiki, "#sign-in .picture img");
  await take("onward");
  guarded.options.cookies = false;
  await fill(page, "login", { username: "rei", passwd: PASSWORD, verification_code: CAPTCHA });
  await submit(page, "login");
  await page.locator("#notice.bad").waitFor();
  await page.waitForFunction(() => document.getElementById("avatar").naturalWidth > 0);
  await take("onward-blocked");
  guarded.options.cookies = true;
  await visit(wiki, "#notice.good");
  await take("onward-once-more");
  await visit(`${guarded.url}/#return=https://elsewhere.test/`, "#notice.bad");
  await take("onward-refused");
  const invitation = guarded.link("invite", "--group", "media");
  await visit(`${guarded.url}/#invite=${invitation.key}&return=${encodeURIComponent(wiki)}`, "#register .picture img");
  await take("invitation");
  await visit(`${guarded.url}/#invite=expired`, "#register .closed");
  await take("invitation-expired");
  const reset = guarded.link("user", "reset-link", "rei");
  await visit(`${guarded.url}/#reset=${reset.key}`, "#reset .picture img");
  await take("reset-link");
  await leave();
}

await readme();
if (folder) {
  guarded.command("group", "add", "media");
  await guarded.register("rei", { show_name: "綾波レイ Rei Ayanami" });
  mkdirSync(folder, { recursive: true });
  await server.register(LONG_NAME.slice(0, 64), {
    show_name: [..."Великолепная Ἀφροδίτη العربية שלום 綾波レイ 阿巴阿巴 Donaudampfschifffahrt"].slice(0, 64).join(""),
    email: `${"long".repeat(15)}@${"subdomain.".repeat(12)}example.org`,
  });
  for (const dark of [false, true]) {
    for (const width of [1280, 320]) {
      for (const language of ["en", "zh-CN"]) {
        await views({ language, width, dark });
        await ways({ language, width, dark });
      }
    }
  }
}
await browser.close();
await Promise.all([server.stop(), closed.stop(), guarded.stop()]);
