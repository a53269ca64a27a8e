// Encodes a cropped picture as a file of a size that the server accepts.

import { settings } from "./settings.js";
import { canvasOf } from "./square.js";

/// The largest file in bytes that is too small for the server, and the largest that it accepts.
export const TOO_SMALL = Number(settings.tooSmall);
export const LARGEST = Number(settings.largest);

/// Sides in pixels: the smallest, the usual and the largest one. A JPEG with the largest side is
/// never too small, since each of its blocks has at least two bits.
const [LEAST, USUAL, MOST] = [16, 512, 2048];
/// The size in bytes to aim for if the first file is too small or too large.
const MIDDLE = Math.sqrt(TOO_SMALL * LARGEST);
const TRIES = 6;

function isTransparent(view) {
  const { data } = canvasOf(view, 128, null).getContext("2d").getImageData(0, 0, 128, 128);
  return data.some((value, at) => at % 4 === 3 && value < 250);
}

async function fit(view, type, ground) {
  let side = USUAL;
  for (let nth = 0; nth < TRIES; nth++) {
    const file = await canvasOf(view, side, ground).convertToBlob({ type, quality: 0.92 });
    if (file.size > TOO_SMALL && file.size <= LARGEST) return { file, side };
    // The size of a file grows with the area of the picture.
    const bytes = file.size > LARGEST ? MIDDLE : Math.min(MIDDLE, TOO_SMALL * 1.5);
    side = Math.min(MOST, Math.max(LEAST, Math.round(side * Math.sqrt(bytes / file.size))));
  }
  return null;
}

/// Encodes a view as { file, side }, or null if no file has an accepted size. A transparent picture
/// becomes a PNG if possible, and otherwise a JPEG on white, like most pages.
export const encoded = async (view) =>
  (isTransparent(view) && (await fit(view, "image/png", null))) || fit(view, "image/jpeg", "#fff");
