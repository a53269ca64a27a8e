// Pictures of every view, to be looked at: `node pictures.js FOLDER`.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { CAPTCHA, fill, launch, person, serve, signIn, submit } from "./support.js";

const folder = process.argv[2];
mkdirSync(folder, { recursive: true });
const [server, closed, browser] = await Promise.all([
  serve(),
  serve({ registration_function_status: false, forgot_password_function_status: false }),
  launch(),
]);
const LONG = "Великолепная Ἀφροδίτη العربية שלום 綾波レイ 阿巴阿巴 Donaudampfschifffahrtselektrizität";
await server.register("rei", { show_name: "綾波 Rei Ayanami" });
await server.register("a-user-name-that-goes-on-and-on-without-a-single-space-in-it-1", {
  show_name: [...LONG].slice(0, 64).join(""),
  email: `${"long".repeat(15)}@${"subdomain.".repeat(12)}example.org`,
});

for (const dark of [false, true]) {
  for (const width of [1280, 320]) {
    for (const language of ["en", "zh-CN"]) {
      const suffix = `${dark ? "dark" : "light"}-${width}-${language.slice(0, 2)}`;
      const { page, open, leave } = await person(browser, server, { language, width, dark, height: width === 320 ? 640 : 860, expected: [/./] });
      const shot = async (name, fullPage = true) => {
        await page.locator(".view:not([hidden]) .waiting").waitFor({ state: "detached" });
        await page.evaluate(() => Promise.all([...document.images].map((image) => image.src && image.decode().catch(() => {}))));
        await page.screenshot({ path: join(folder, `${name}-${suffix}.png`), fullPage });
      };
      await open();
      await page.locator("#sign-in .picture img").waitFor();
      await shot("sign-in");
      await submit(page, "login");
      await fill(page, "login", { username: "rei", passwd: "wrong", verification_code: CAPTCHA });
      await submit(page, "login");
      await page.locator("[data-api=login] .message.bad").waitFor();
      await shot("sign-in-error");
      await open("#/register");
      await page.locator("#register .picture img").waitFor();
      await submit(page, "registered");
      await shot("register-absent");
      await open("#/reset");
      await page.locator("#reset .picture img").waitFor();
      await shot("reset");
      await open();
      await signIn(page, "rei");
      await page.locator("#account .picture img").waitFor();
      await shot("account");
      await page.locator("#file").setInputFiles(join(import.meta.dirname, "../pictures/progressive-gps.jpg"));
      await page.locator("#crop").waitFor();
      await shot("crop", false);
      await page.locator("#away").click();
      await page.locator("#fresh-key").click();
      await page.locator("#ask").waitFor();
      await shot("ask", false);
      await page.locator("#ask .plain").click();
      await page.locator("#sign-out").click();
      await page.locator("#notice.good").waitFor();
      await shot("signed-out");
      await signIn(page, "a-user-name-that-goes-on-and-on-without-a-single-space-in-it-1");
      await page.locator("#account .picture img").waitFor();
      await shot("account-long");
      await leave();
    }
  }
}
await browser.close();
await Promise.all([server.stop(), closed.stop()]);
