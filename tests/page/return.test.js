// The addresses to which the page leads back after a sign-in, and the part of its own address that names them.
// Both modules are pure functions of texts, so no browser is needed.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { root } from "./support.js";

/// Imports a module of the page. No package.json tells node that its files are modules, so it is given as text.
const load = (name) => {
  const text = readFileSync(join(root, "src/site/page/files", name));
  return import(`data:text/javascript;base64,${text.toString("base64")}`);
};
const { covers, returnAddress } = await load("return.js");
const { parse, write } = await load("address.js");

/// The pages from which the addresses are tried, and their cookie domain.
const PAGES = {
  https: ["https://auth.example.org/", "example.org"],
  port: ["https://auth.example.org:8443/", "example.org"],
  http: ["http://auth.example.org:8080/", "example.org"],
  bare: ["https://example.org/", "example.org"],
  alone: ["https://auth.example.org/", ""],
  box: ["http://192.168.1.5:8080/", ""],
  six: ["http://[fd00::5]:8080/", ""],
  lan: ["http://auth.box.lan/", "box.lan"],
  zone: ["https://auth.home/", "home"],
};

// Page, address, and where it leads; null leads nowhere, true to the address as it is.
const TABLE = [
  // Hosts that share the cookie.
  ["https", "https://wiki.example.org/", true],
  ["https", "https://wiki.example.org/a/b?c=d&e=%26#f", true],
  ["https", "https://wiki.example.org", "https://wiki.example.org/"],
  ["https", "https://example.org/", true],
  ["https", "https://auth.example.org/wiki/", true],
  ["https", "https://a.b.c.example.org/", true],
  ["https", "https://my_wiki.example.org/", true],
  ["https", "https://xn--fsqu00a.example.org/", true],
  ["https", "HTTPS://Wiki.Example.ORG/Page", "https://wiki.example.org/Page"],
  ["https", "https://wiki.example.org:443/", "https://wiki.example.org/"],
  ["https", "https://wiki.example.org//evil.test/", true],
  ["https", "https://wiki.example.org/?to=https://evil.test/", true],
  ["https", "https://wiki.example.org/a@evil.test/", true],
  ["https", "https://wiki.example.org/%5Cevil.test", true],
  ["https", "https://wiki.example.org/?pattern=\\d", true],
  ["https", "https://wiki.example.org/首页", "https://wiki.example.org/%E9%A6%96%E9%A1%B5"],
  ["bare", "https://example.org/private", true],
  ["bare", "https://wiki.example.org/", true],
  ["lan", "http://wiki.box.lan/", true],
  ["zone", "https://wiki.home/", true],
  // http and https.
  ["https", "http://wiki.example.org/a", "https://wiki.example.org/a"],
  ["https", "HTTP://wiki.example.org/a", "https://wiki.example.org/a"],
  ["https", "http://wiki.example.org:80/", null],
  ["https", "http://wiki.example.org:443/", null],
  ["https", "http://evil.test/", null],
  ["http", "http://wiki.example.org/", true],
  ["http", "https://wiki.example.org/", true],
  // Ports: the usual one, and the page's own.
  ["http", "http://wiki.example.org:8080/", true],
  ["http", "http://wiki.example.org:8081/", null],
  ["port", "https://wiki.example.org:8443/", true],
  ["port", "https://wiki.example.org/", true],
  ["port", "https://wiki.example.org:443/", "https://wiki.example.org/"],
  ["port", "http://wiki.example.org:8443/", null],
  ["https", "https://wiki.example.org:8443/", null],
  ["https", "https://wiki.example.org:0443/", null],
  ["https", "https://wiki.example.org:/", null],
  ["https", "https://wiki.example.org:99999/", null],
  ["https", "https://wiki.example.org:443:443/", null],
  ["https", "https://wiki.example.org:+443/", null],
  ["https", "https://wiki.example.org:４４３/", null],
  ["lan", "http://wiki.box.lan:22/", null],
  // A page without a cookie domain leads to its own host only.
  ["alone", "https://auth.example.org/wiki/", true],
  ["alone", "https://wiki.example.org/", null],
  ["alone", "https://example.org/", null],
  ["alone", "https://wiki.auth.example.org/", null],
  ["box", "http://192.168.1.5/", true],
  ["box", "http://192.168.1.5:8080/wiki", true],
  ["box", "http://192.168.1.6/", null],
  ["box", "http://0xc0.0xa8.1.5/", null],
  ["box", "http://3232235781/", null],
  ["box", "http://192.168.1.5.evil.test/", null],
  ["six", "http://[fd00::5]/", true],
  ["six", "http://[FD00::5]:8080/", "http://[fd00::5]:8080/"],
  ["six", "http://[fd00:0::5]/", null],
  ["six", "http://[fd00::6]/", null],
  ["six", "http://[::ffff:1.2.3.4]/", null],
  // Hosts that only look related.
  ["https", "https://evil.test/", null],
  ["https", "https://evilexample.org/", null],
  ["https", "https://example.org.evil.test/", null],
  ["https", "https://wiki.example.org.evil.test/", null],
  ["https", "https://wiki.example.com/", null],
  ["https", "https://org/", null],
  ["https", "https://example.org./", null],
  ["https", "https://wiki.example.org./", null],
  ["https", "https://.example.org/", null],
  ["https", "https://wiki..example.org/", null],
  ["https", "https://*.example.org/", null],
  ["https", "https://evil.test,wiki.example.org/", null],
  ["https", "https://wiki.example.org,evil.test/", null],
  ["https", "https://127.0.0.1/", null],
  // A user name, and everything else that ends the host early in one parser and late in another.
  ["https", "https://wiki.example.org@evil.test/", null],
  ["https", "https://user@wiki.example.org/", null],
  ["https", "https://user:secret@wiki.example.org/", null],
  ["https", "https://@wiki.example.org/", null],
  ["https", "https://evil.test#@wiki.example.org/", null],
  ["https", "https://evil.test?@wiki.example.org/", null],
  ["https", "https://evil.test;wiki.example.org/", null],
  ["https", "https://wiki.example.org?a", null],
  ["https", "https://wiki.example.org#a", null],
  ["https", "https://wiki.example.org;@evil.test/", null],
  // Slashes and backslashes.
  ["https", "//evil.test/", null],
  ["https", "//wiki.example.org/", null],
  ["https", "/evil", null],
  ["https", "///evil.test/", null],
  ["https", "https:wiki.example.org/", null],
  ["https", "https:/wiki.example.org/", null],
  ["https", "https:///wiki.example.org/", null],
  ["https", "https:\\\\wiki.example.org/", null],
  ["https", "https://evil.test\\.example.org/", null],
  ["https", "https://evil.test\\@wiki.example.org/", null],
  ["https", "https://wiki.example.org\\@evil.test/", null],
  ["https", "https://wiki.example.org/\\evil.test", null],
  ["https", "/\\evil.test", null],
  ["https", "\\\\evil.test", null],
  // Encoded hosts, look-alikes, characters that vanish.
  ["https", "https%3A%2F%2Fwiki.example.org/", null],
  ["https", "https://wiki%2Eexample.org/", null],
  ["https", "https://evil.test%2F.example.org/", null],
  ["https", "https://evil.test%23.example.org/", null],
  ["https", "https://%65vil.example.org/", null],
  ["https", "https://evil。test/", null],
  ["https", "https://wiki。example.org/", null],
  ["https", "https://evil.test／.example.org/", null],
  ["https", "https://wiki.ｅxample.org/", null],
  ["https", "https://wiKi.example.org/".replace("K", "\u212a"), null],
  ["https", "https://wiki.example.org/\u202egpj", null],
  ["https", "https://wi\u00adki.example.org/", null],
  ["https", "https://wi\u200bki.example.org/", null],
  ["https", "https://xn--a.example.org/", null],
  ["https", " https://wiki.example.org/", null],
  ["https", "https://wiki.example.org/ ", null],
  ["https", "https://wiki.example.org/a b", null],
  ["https", "https://wiki.example.org/\r\nSet-Cookie: a=b", null],
  ["https", "ht\ntps://wiki.example.org/", null],
  ["https", "https://evil.test\n.example.org/", null],
  ["https", "https://wiki.example.org/\0", null],
  ["https", "https://wiki.example.org/\t", null],
  ["https", "https://wiki.example.org/\ud800", null],
  // Other schemes.
  ["https", "javascript:alert(1)", null],
  ["https", "javascript://wiki.example.org/%0aalert(1)", null],
  ["https", "data:text/html,<script>alert(1)</script>", null],
  ["https", "blob:https://wiki.example.org/1", null],
  ["https", "view-source:https://wiki.example.org/", null],
  ["https", "ftp://wiki.example.org/", null],
  ["https", "ws://wiki.example.org/", null],
  ["https", "wiki.example.org", null],
  ["https", "https://", null],
  ["https", "https:///", null],
  ["https", "null", null],
  ["https", "", null],
];

test(`the page leads back only to hosts that share its cookie: ${TABLE.length} addresses`, () => {
  for (const [name, text, expected] of TABLE) {
    const [page, domain] = PAGES[name];
    const found = returnAddress(text, new URL(page), domain);
    assert.equal(found?.href ?? null, expected === true ? text : expected, `${name}: ${JSON.stringify(text)}`);
    // What is shown of the address is its host.
    if (found) assert.equal(found.host, new URL(found.href).host);
  }
  assert.equal(returnAddress("http://[FD00::5]:8080/", new URL(PAGES.six[0]), "").host, "[fd00::5]:8080");
});

test("a cookie's domain covers itself and what is below it", () => {
  const rows = [["example.org", "example.org", true], ["example.org", "a.b.example.org", true], ["example.org", "anexample.org", false], ["", "example.org", false]];
  for (const [domain, host, expected] of rows) assert.equal(covers(domain, host), expected, `${domain} ${host}`);
});

test("the part of the address after # is read and written", () => {
  const wiki = "https://wiki.example.org/a%20b?c=d&e=%26";
  const rows = [
    ["", {}],
    ["#", {}],
    ["#/register", { view: "register" }],
    ["#invite=abc", { invite: "abc" }],
    ["#reset=abc", { reset: "abc" }],
    [`#return=${encodeURIComponent(wiki)}`, { return: wiki }],
    // As nginx writes it: not encoded, so all the rest belongs to the address.
    [`#return=${wiki}`, { return: wiki }],
    [`#return=HTTP://h/?a&invite=b#c`, { return: "HTTP://h/?a&invite=b#c" }],
    [`#invite=abc&return=${wiki}`, { invite: "abc", return: wiki }],
    [`#return=${encodeURIComponent(wiki)}&invite=abc`, { invite: "abc", return: wiki }],
    [`#/register&invite=a&return=${encodeURIComponent(wiki)}`, { view: "register", invite: "a", return: wiki }],
    // It is decoded once.
    ["#return=https%253A%252F%252Fh%252F", { return: "https%3A%2F%2Fh%2F" }],
    ["#return=%", { return: "%" }],
    ["#invite=a&invite=b", { invite: "a" }],
    ["#&&=&toString=a&__proto__=b&view=c&x", {}],
    ["#invite", {}],
  ];
  for (const [hash, expected] of rows) {
    const found = parse(hash);
    assert.deepEqual(found, { view: "", invite: "", reset: "", return: "", ...expected }, hash);
    assert.deepEqual(parse(write(found.view, found)), found, hash);
  }
  assert.equal(write("sign-in", { return: wiki }), `#/sign-in&return=${encodeURIComponent(wiki)}`);
  assert.equal(write("sign-in", {}), "#/sign-in");
});
