// The file that a cropped picture becomes: between the sizes that the server takes.

import { canvasOf } from "./square.js";

const state = document.documentElement.dataset;
/// The largest file in bytes that the server finds too small, and the largest that it takes.
export const TOO_SMALL = Number(state.tooSmall);
export const LARGEST = Number(state.largest);

/// Sides in pixels: the usual one, and those between which a file of the right size is looked for. A JPEG of the most
/// is never too small, as each of its blocks has two bits or more.
const [LEAST, USUAL, MOST] = [16, 512, 2048];
/// A file that is too small or too large is made anew for so many bytes.
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
    // Bytes go with the area.
    const bytes = file.size > LARGEST ? MIDDLE : Math.min(MIDDLE, TOO_SMALL * 1.5);
    side = Math.min(MOST, Math.max(LEAST, Math.round(side * Math.sqrt(bytes / file.size))));
  }
  return null;
}

/// The file for what a view shows, { file, side }, or null if none fits between the sizes. What is transparent stays so
/// as a PNG, if one fits; a JPEG shows white there, as most pages would.
export const encoded = async (view) =>
  (isTransparent(view) && (await fit(view, "image/png", null))) || fit(view, "image/jpeg", "#fff");
