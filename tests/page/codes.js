// Codes of a second factor (RFC 6238), as an authenticator app computes them.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";

/// Seconds for which a code is shown.
const STEP = 30;

const decode = (base32) => {
  const bits = [...base32].map((one) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(one).toString(2).padStart(5, "0")).join("");
  return Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
};

/// The code of now, or of a later step. The server takes each code once, and those of the next step.
export function codeOf(secret, later = 0) {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 1000 / STEP) + later));
  const digest = createHmac("sha1", decode(secret)).update(counter).digest();
  const at = digest.at(-1) & 15;
  return String((digest.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

/// A code that is wrong now, and was wrong and will be in a while.
export function wrongCode(secret) {
  const near = [-2, -1, 0, 1, 2, 3].map((step) => codeOf(secret, step));
  return ["000000", "111111", "222222", "333333", "444444", "555555", "666666"].find((code) => !near.includes(code));
}

/// Turns the second factor on without the page. Returns its secret and the recovery codes.
export async function enrol(server, token, passwd) {
  const begun = await server.post("totp_begin", { token, passwd });
  assert.equal(begun.code, 200);
  const { secret } = begun.message;
  const done = await server.post("totp_confirm", { token, passwd, otp: codeOf(secret) });
  assert.equal(done.code, 200);
  return { secret, codes: done.message };
}
