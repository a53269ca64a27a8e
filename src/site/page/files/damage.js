// What is wrong with a picture's file, as far as its bytes tell.

const ascii = (bytes, from, to) => String.fromCharCode(...bytes.subarray(from, to));

/// Whether a JPEG ends before its end marker. Browsers show such a file with a grey rest.
function isCutJpeg(bytes) {
  let at = 2;
  // After the header of a scan, the picture's data goes on to the next byte ff that no 0 follows.
  while ((at = bytes.indexOf(0xff, at)) >= 0) {
    const marker = bytes[at + 1];
    if (marker === 0xd9) return false;
    if (marker === 0xff) at += 1;
    else if (!marker || (marker >= 0xd0 && marker < 0xd8)) at += 2;
    else at += 2 + ((bytes[at + 2] << 8) | bytes[at + 3]);
  }
  return true;
}

/// Whether a PNG ends before its chunk IEND.
function isCutPng(bytes) {
  const view = new DataView(bytes.buffer);
  for (let at = 8; at + 12 <= bytes.length; at += 12 + view.getUint32(at)) {
    if (ascii(bytes, at + 4, at + 8) === "IEND") return false;
  }
  return true;
}

/// Whether a WebP has less than the bytes that its header names.
const isCutWebp = (bytes) => new DataView(bytes.buffer).getUint32(4, true) + 8 > bytes.length;

/// The text that says what is wrong with these bytes, { name, values }, or null.
export function damageOf(bytes) {
  const start = ascii(bytes, 0, 4);
  if (ascii(bytes, 4, 8) === "ftyp" && /^(he|mif|msf)/.test(ascii(bytes, 8, 12))) return { name: "foreignPicture", values: ["HEIC"] };
  if (start === "II*\0" || start === "MM\0*") return { name: "foreignPicture", values: ["TIFF"] };
  const isCut = { "\xff\xd8": isCutJpeg, "\x89P": isCutPng, RI: isCutWebp }[start.slice(0, 2)];
  return isCut?.(bytes) ? { name: "cutPicture" } : null;
}

/// What is wrong with a file, or null.
export async function damage(file) {
  try {
    return damageOf(new Uint8Array(await file.arrayBuffer()));
  } catch {
    // A file that has gone, say.
    return { name: "noPicture" };
  }
}
