// What the page says about damaged files, without a browser.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { damageOf } from "../../src/site/page/files/damage.js";

const pictures = new URL("../pictures/", import.meta.url);
const bytesOf = (...parts) => Uint8Array.from(parts.flatMap((part) => (typeof part === "string" ? [...Buffer.from(part, "latin1")] : part)));

for (const name of readdirSync(pictures).filter((name) => /\.(jpg|png|webp)$/.test(name))) {
  test(`a part of ${name} is told from all of it`, () => {
    const bytes = new Uint8Array(readFileSync(new URL(name, pictures)));
    assert.equal(damageOf(bytes), null);
    // What stands after the end does no harm: phones put a film there.
    if (!name.endsWith(".webp")) assert.equal(damageOf(bytesOf([...bytes], "more")), null);
    for (const part of [0.3, 0.6, 0.9, 0.999]) {
      assert.deepEqual(damageOf(bytes.slice(0, bytes.length * part)), { name: "cutPicture" }, `${part}`);
    }
    assert.deepEqual(damageOf(bytes.slice(0, -1)), { name: "cutPicture" });
  });
}

test("a thumbnail's end is not the end of its JPEG", () => {
  const thumbnail = [0xff, 0xe1, 0, 6, 0xff, 0xd8, 0xff, 0xd9];
  const start = [0xff, 0xd8, ...thumbnail, 0xff, 0xda, 0, 2, 1, 2, 0xff, 0, 0xff, 0xd0, 3];
  assert.deepEqual(damageOf(bytesOf(start)), { name: "cutPicture" });
  assert.equal(damageOf(bytesOf(start, [0xff, 0xd9])), null);
});

test("HEIC and TIFF are named, and other files are not", () => {
  const named = (values) => ({ name: "foreignPicture", values: [values] });
  for (const brand of ["heic", "heix", "mif1", "msf1"]) assert.deepEqual(damageOf(bytesOf([0, 0, 0, 24], `ftyp${brand}`)), named("HEIC"));
  for (const start of ["II*\0", "MM\0*"]) assert.deepEqual(damageOf(bytesOf(start, [8, 0, 0, 0])), named("TIFF"));
  for (const other of ["", "x", "GIF89a", "<svg/>", "BM", "\0\0\0\x18ftypavif"]) assert.equal(damageOf(bytesOf(other)), null, other);
});
