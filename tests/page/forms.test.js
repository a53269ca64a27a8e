// The way through a form: refusals, the second factor, what the page corrects and what it remembers.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  AT, CAPTCHA, KEY, PASSWORD, REPORTS, SAYS, address, attribute, captcha, choose, click, clock, count, disturbed, fill, focus, hold, isVisible, launch,
  person, press, serve, shown, signIn, submit, text, type, until, value, waitFocus, waitText,
} from "./support.js";

let server, line, browser;
before(async () => {
  [server, browser] = await Promise.all([serve({ captcha_ttl_seconds: 100 }), launch()]);
  line = await disturbed(server);
});
after(async () => {
  await browser?.close();
  line?.stop();
  await server?.stop();
});

const SENTENCE = "服务器说的话";
const rule = (api, code) => (line.rules[`/api/${api}/`] = { json: { message: SENTENCE, code } });
/// The bodies of the page's requests to an interface from now on, read in the page: Firefox does not report them.
async function sent(page, api) {
  await page.evaluate((api) => {
    window.sent = [];
    const { fetch } = window;
    window.fetch = (address, options) => {
      if (address === `api/${api}/`) window.sent.push(JSON.parse(options.body));
      return fetch(address, options);
    };
  }, api);
  return () => page.evaluate(() => window.sent);
}

const FORMS = {
  login: { view: "sign-in", fields: { username: "rei", passwd: "x" } },
  registered: { view: "register", fields: { username: "rei", show_name: "Rei", email: "rei@example.org", passwd: "x", key: "k" } },
  forget_password: { view: "reset", fields: { name: "rei", email: "rei@example.org", key: "k", new_passwd: "x" } },
};

/// For each code, the field at fault.
const FAULTS = {
  login: { 503: "verification_code", 504: "verification_code", 604: "passwd" },
  registered: { 403: "key", 504: "verification_code", 505: "verification_code", 604: "username" },
  forget_password: { 404: "key", 501: "email", 503: "verification_code", 504: "verification_code" },
};
/// Codes for which no field is at fault, and one that the page does not know.
const OTHERS = { login: [999], registered: [400, 404, 503, 603, 666], forget_password: [403] };

for (const [language, own] of [["en", /^[\x20-\x7e’]+\.$|^[A-Z][\w ]+closed$|999/], ["zh-CN", /[。闭）]$/]]) {
  test(`a refusal marks, describes and focuses the field at fault, and only the captcha is emptied, in ${language}`, async () => {
    const { page, open, leave } = await person(browser, line, { language });
    for (const [api, { view, fields }] of Object.entries(FORMS)) {
      await open(`#/${view}`);
      const codes = [...Object.entries(FAULTS[api]), ...OTHERS[api].map((code) => [code, null])];
      for (const [code, name] of codes) {
        await captcha(page, view);
        await until(page, (view) => !document.querySelector(`#${view} .waiting`), view);
        await fill(page, api, { ...fields, verification_code: "abc" });
        rule(api, Number(code));
        await submit(page, api);
        const what = `${api} ${code}`;
        await until(page, (api) => document.querySelector(`[data-api=${api}] [name=verification_code]`).value === "", api);
        const place = name ? `[data-api=${api}] .error` : `[data-api=${api}] .message`;
        await waitText(page, place, SENTENCE);
        assert.match(await text(page, `${place} p`), own, what);
        assert.equal(await text(page, `${place} .server`), SENTENCE, what);
        for (const [field, typed] of Object.entries(fields)) assert.equal(await value(page, AT.field(api, field)), typed, `${what} ${field}`);
        assert.equal(await count(page, `[data-api=${api}] [aria-invalid=true]`), name ? 1 : 0, what);
        if (!name) continue;
        assert.equal(await page.evaluate(() => document.activeElement.name), name, what);
        const described = await attribute(page, AT.field(api, name), "aria-describedby");
        assert.equal(await page.evaluate((id) => document.getElementById(id).className, described.split(" ")[0]), "error", what);
      }
      delete line.rules[`/api/${api}/`];
    }
    await leave();
  });
}

test("the second factor is asked for once the rest is right, and the captcha stays", async () => {
  await server.register("rei");
  const { page, open, leave } = await person(browser, line);
  await open();
  await captcha(page, "sign-in");
  const picture = await attribute(page, AT.captcha("sign-in"), "src");
  const bodies = await sent(page, "login");
  await fill(page, "login", { username: "rei", passwd: PASSWORD, verification_code: CAPTCHA });
  rule("login", 605);
  await submit(page, "login");
  await shown(page, AT.field("login", "otp"));
  assert.equal(await page.evaluate(() => document.activeElement.name), "otp");
  assert.equal(await attribute(page, AT.field("login", "otp"), "autocomplete"), "one-time-code");
  assert.equal(await attribute(page, AT.field("login", "otp"), "inputmode"), "numeric");
  assert.equal(await value(page, AT.field("login", "verification_code")), CAPTCHA);
  assert.equal(await value(page, "#login-passwd"), PASSWORD);
  assert.equal(await attribute(page, AT.captcha("sign-in"), "src"), picture);
  // Nothing is sent without the code.
  await submit(page, "login");
  const first = await bodies();
  assert.equal(first.length, 1);
  assert.equal("otp" in first[0], false);

  await fill(page, "login", { otp: "000000" });
  await submit(page, "login");
  await waitText(page, AT.message("login"), "This code is not right");
  assert.equal(await value(page, AT.field("login", "otp")), "");
  assert.equal(await value(page, AT.field("login", "verification_code")), "");
  await until(page, (picture) => document.querySelector("#sign-in .picture img").src !== picture, picture);

  // A recovery code has letters.
  await click(page, "[data-api=login] .link");
  assert.equal(await attribute(page, AT.field("login", "otp"), "inputmode"), "text");
  delete line.rules["/api/login/"];
  await fill(page, "login", { otp: "abcd-efgh-jkmn", verification_code: CAPTCHA });
  await submit(page, "login");
  await waitText(page, AT.name, "rei");
  assert.equal((await bodies()).at(-1).otp, "abcd-efgh-jkmn");

  // The same for a change of the password, which ends the session.
  await focus(page, "#old-passwd");
  await captcha(page, "account");
  rule("update_password", 605);
  await fill(page, "update_password", { old_passwd: PASSWORD, new_passwd: PASSWORD, verification_code: CAPTCHA });
  await submit(page, "update_password");
  await fill(page, "update_password", { otp: "123456" });
  delete line.rules["/api/update_password/"];
  await submit(page, "update_password");
  await waitText(page, AT.notice, SAYS.newPassword);
  assert.equal(await count(page, "main [name=otp]"), 0, "a field of another person's form");
  await leave();
});

test("a registration that is answered with a token is signed in", async () => {
  await server.register("asuka");
  const { page, open, leave } = await person(browser, line);
  await open("#/register");
  await captcha(page, "register");
  const bodies = await sent(page, "registered");
  line.rules["/api/registered/"] = { json: { message: await server.login("asuka"), code: 200 } };
  await fill(page, "registered", { username: " asuka\u3000", email: " a@example.org", passwd: " p ", key: ` “${KEY}” `, verification_code: "ｋ７m3xp" });
  await submit(page, "registered");
  await waitText(page, AT.name, "asuka");
  delete line.rules["/api/registered/"];
  assert.match(await text(page, AT.notice), /^Your account is created, and you are signed in\.$/);
  // What was copied along is removed, but not from the password.
  const [{ verification_code_key, ...body }] = await bodies();
  assert.equal(verification_code_key.length, 250);
  assert.deepEqual(body, {
    username: "asuka", show_name: "asuka", email: "a@example.org", passwd: " p ", key: KEY, verification_code: "k7m3xp",
    login: true, cookie: true, remember: false,
  });
  await leave();
});

test("a request is given up after 25 seconds", async () => {
  const { page, open, leave } = await person(browser, line);
  const time = await clock(page);
  await open();
  await captcha(page, "sign-in");
  await fill(page, "login", { username: "rei", passwd: "x", verification_code: CAPTCHA });
  const held = (line.rules["/api/login/"] = hold());
  await time.stop();
  await submit(page, "login");
  await held.arrived;
  await time.pass(24_000);
  assert.equal(await isVisible(page, "[data-api=login] .message.bad"), false);
  await time.pass(1_000);
  await waitText(page, AT.message("login"), SAYS.offline);
  delete line.rules["/api/login/"];
  assert.equal(await value(page, AT.field("login", "verification_code")), CAPTCHA);
  await leave();
});

test("a captcha is replaced before the server forgets it", async () => {
  const { page, open, leave } = await person(browser, line);
  const time = await clock(page);
  await open();
  await captcha(page, "sign-in");
  await until(page, () => !document.querySelector("#sign-in .waiting"));
  const picture = await attribute(page, AT.captcha("sign-in"), "src");
  await fill(page, "login", { verification_code: "abc" });
  await time.stop();
  await time.pass(85_000);
  assert.equal(await attribute(page, AT.captcha("sign-in"), "src"), picture);
  await time.pass(10_000);
  await waitText(page, "#sign-in .hint", "The last one expired.");
  assert.notEqual(await attribute(page, AT.captcha("sign-in"), "src"), picture);
  assert.equal(await value(page, AT.field("login", "verification_code")), "");
  await leave();
});

test("an answer of a proxy is named, and keeps the form", async () => {
  const { page, open, leave } = await person(browser, line, { expected: [REPORTS.status("(502|413|200)")] });
  await open();
  await captcha(page, "sign-in");
  await fill(page, "login", { username: "rei", passwd: "x", verification_code: CAPTCHA });
  for (const [status, sentence] of [[502, "answered HTTP 502"], [413, "Too large"], [200, "answered HTTP 200"]]) {
    line.rules["/api/login/"] = { status, json: "<html>" };
    await submit(page, "login");
    await waitText(page, AT.message("login"), sentence);
    assert.equal(await value(page, AT.field("login", "verification_code")), CAPTCHA);
  }
  delete line.rules["/api/login/"];
  await leave();
});

test("a message stands where a phone's keyboard does not cover it", async () => {
  const { page, open, leave } = await person(browser, line, { width: 360, height: 640 });
  await open("#/register");
  await captcha(page, "register");
  // As if a keyboard covered the rest.
  await page.evaluate(() => Object.defineProperty(visualViewport, "height", { get: () => 450 }));
  for (const [code, place] of [[604, "#new-username-error"], [403, "#new-key-error"], [603, "[data-api=registered] .message"]]) {
    await until(page, () => !document.querySelector("#register .waiting"));
    await fill(page, "registered", { ...FORMS.registered.fields, verification_code: "abc" });
    rule("registered", code);
    await submit(page, "registered");
    await waitText(page, place, SENTENCE);
    const { top, bottom } = await page.evaluate((place) => document.querySelector(place).getBoundingClientRect().toJSON(), place);
    assert.ok(top >= 0 && bottom <= 450, `${code}: ${top} to ${bottom}`);
  }
  delete line.rules["/api/registered/"];
  await leave();
});

test("an email as a user name, and a common password, get a note and are not refused", async () => {
  const { page, open, leave } = await person(browser, line);
  await open("#/register");
  await waitFocus(page, "new-username");
  await type(page, "rei@example.org");
  await waitText(page, "#new-username-note", "This looks like an email.");
  assert.match(await attribute(page, "#new-username", "aria-describedby"), /new-username-note/);
  await focus(page, "#new-passwd");
  await type(page, "Password");
  await waitText(page, "#new-passwd-note", "Easy to guess");
  await type(page, " that is long");
  assert.equal(await count(page, "#new-passwd-note"), 0);
  assert.equal(await value(page, "#new-username"), "rei@example.org");
  await leave();
});

test("the return key goes to the next empty field, and sends the form after the last", async () => {
  const { page, open, leave } = await person(browser, line);
  await open();
  await waitFocus(page, "login-username");
  await captcha(page, "sign-in");
  const hints = await page.evaluate(() => [...document.querySelectorAll("#sign-in .field input")].map((input) => input.enterKeyHint));
  assert.deepEqual(hints, ["next", "next", "go"]);
  await type(page, "rei");
  await press(page, "Enter");
  await waitFocus(page, "login-passwd");
  assert.equal(await count(page, "#sign-in .error"), 0);
  for (const [name, wanted] of [["autocorrect", "off"], ["aria-required", "true"]]) assert.equal(await attribute(page, "#login-passwd", name), wanted);
  await type(page, "x");
  await press(page, "Enter");
  await type(page, "abc");
  rule("login", 604);
  await press(page, "Enter");
  await waitText(page, AT.message("login"), SENTENCE);
  delete line.rules["/api/login/"];
  await leave();
});

test("each button that shows a password has a name of its own", async () => {
  const { page, open, leave } = await person(browser, line);
  await open();
  const names = await page.evaluate(() =>
    [...document.querySelectorAll(".reveal")].map((button) => {
      const ids = button.getAttribute("aria-labelledby").split(" ");
      const { id, dataset } = button.closest(".view, [data-step]");
      return `${dataset.step ?? id}: ${ids.map((id) => document.getElementById(id).textContent).join(" ")}`;
    }),
  );
  assert.ok(names.includes("sign-in: Show Password Sign in") && names.includes("account: Show Current password Email"), names.join());
  assert.equal(new Set(names).size, names.length);
  await leave();
});

test("the captcha is shown at twice its size, whole on a phone, and dark at night", async () => {
  for (const [width, dark] of [[1280, false], [360, true]]) {
    const { page, open, leave } = await person(browser, line, { width, dark });
    await open();
    await captcha(page, "sign-in");
    const seen = await page.evaluate(() => {
      const image = document.querySelector("#sign-in .picture img");
      const { width, height, right } = image.getBoundingClientRect();
      return { size: [width, height], fits: right <= innerWidth, filter: getComputedStyle(image.parentElement).filter };
    });
    assert.deepEqual([seen.size, seen.fits], [[320, 120], true]);
    assert.equal(seen.filter !== "none", dark);
    await leave();
  }
});

test("the address of the password form opens it, by way of the sign-in", async () => {
  await server.register("misato");
  const { page, open, leave } = await person(browser, line);
  await open("#/account/password");
  await captcha(page, "sign-in");
  assert.match(await address(page), /#\/account\/password$/, "a reload keeps it");
  await signIn(page, "misato");
  await waitFocus(page, "old-passwd");
  assert.equal(await isVisible(page, "#old-passwd"), true);
  await leave();
});

test("what was typed is there again after an expired session, except passwords", async () => {
  await server.register("maya");
  const { page, open, leave } = await person(browser, line);
  await open();
  await signIn(page, "maya");
  assert.equal(await value(page, "#show-name"), "maya", "the field has the current name");
  await fill(page, "update_show_name", { new_show_name: "Maya Ibuki" });
  await fill(page, "update_password", { old_passwd: PASSWORD });
  await server.login("maya");
  await submit(page, "update_show_name");
  await waitText(page, AT.notice, SAYS.ended);
  assert.equal(await value(page, "#login-username"), "maya");
  await signIn(page, "maya");
  assert.equal(await value(page, "#show-name"), "Maya Ibuki");
  assert.equal(await value(page, "#old-passwd"), "");

  // A success disappears when the next change begins.
  await submit(page, "update_show_name");
  await waitText(page, "#account-title", "Maya Ibuki");
  await waitText(page, AT.message("update_show_name"), "Your display name is changed.");
  await focus(page, "#old-passwd");
  await type(page, "x");
  assert.equal(await count(page, ".message.good"), 0);
  await leave();
});

test("a picture that cannot be cropped is told apart, and never covers another dialog", async () => {
  await server.register("ritsuko");
  const { page, open, leave } = await person(browser, line);
  await open();
  await signIn(page, "ritsuko");
  const jpeg = await page.evaluate(async () => {
    const canvas = new OffscreenCanvas(300, 300);
    canvas.getContext("2d").fillRect(0, 0, 200, 200);
    const blob = await canvas.convertToBlob({ type: "image/jpeg" });
    return btoa(String.fromCharCode(...new Uint8Array(await blob.arrayBuffer())));
  });
  const cut = Buffer.from(Buffer.from(jpeg, "base64").subarray(0, -40)).toString("base64");
  for (const [name, base64, sentence] of [
    ["a.heic", btoa("\0\0\0\x18ftypheic\0\0\0\0mif1heic"), "open HEIC pictures"],
    ["a.tif", btoa("II*\0\x08\0\0\0"), "open TIFF pictures"],
    ["a.jpg", cut, "This file is incomplete"],
  ]) {
    await choose(page, "#file", { name, type: "image/jpeg", base64 });
    await waitText(page, "#picture .message", sentence);
  }
  await click(page, "#fresh-key");
  await choose(page, "#file", { name: "a.jpg", type: "image/jpeg", base64: jpeg });
  await press(page, "Escape");
  await until(page, () => !document.querySelector("dialog[open]"));
  await choose(page, "#file", { name: "a.jpg", type: "image/jpeg", base64: jpeg });
  await shown(page, "#crop");
  assert.equal(await count(page, "dialog[open]"), 1);
  await leave();
});
