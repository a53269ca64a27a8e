// The file that a cropped picture becomes: between the sizes that the server takes.

import { canvasOf } from "./square.js";

const state = document.documentElement.dataset;
/// The largest file in bytes that the server finds too small, and the largest that it takes.
export const TOO_SMALL = Number(state.tooSmall);
export const LARGEST = Number(state.largest);

// Side in pixels, type, quality. The first is what a picture becomes if nothing speaks against it; a file that is too
// small grows through one list, one that is too large shrinks through the other. A JPEG of 2048 pixels is never too
// small: each of its blocks has at least two bits.
const OPAQUE = { usual: [512, "image/jpeg", 0.92], grow: [], shrink: [] };
OPAQUE.grow = [[512, "image/jpeg", 1], [512, "image/png"], [1024, "image/jpeg", 1], [2048, "image/jpeg", 1]];
OPAQUE.shrink = [512, 384, 256, 192, 128, 96].flatMap((side) =>
  [0.8, 0.65, 0.5, 0.35, 0.2].map((quality) => [side, "image/jpeg", quality]),
);
// What is transparent stays so as a PNG, if one fits.
const TRANSPARENT = {
  usual: [512, "image/png"],
  grow: [[1024, "image/png"], [2048, "image/png"], ...OPAQUE.grow],
  shrink: [[384, "image/png"], [256, "image/png"], [192, "image/png"], [128, "image/png"], ...OPAQUE.shrink],
};

function isTransparent(view) {
  const { data } = canvasOf(view, 128, null).getContext("2d").getImageData(0, 0, 128, 128);
  return data.some((value, at) => at % 4 === 3 && value < 250);
}

function encode(view, [side, type, quality]) {
  // JPEG knows no transparency; white is what most pages show behind a picture.
  const canvas = canvasOf(view, side, type === "image/jpeg" ? "#fff" : null);
  return new Promise((resolve) => canvas.toBlob(resolve, type, quality));
}

/// The file for what a crop shows, { file, side }, or null if none is between the sizes.
export async function encoded(view) {
  const { usual, grow, shrink } = isTransparent(view) ? TRANSPARENT : OPAQUE;
  let steps = [usual];
  for (let nth = 0; nth < steps.length; nth++) {
    const file = await encode(view, steps[nth]);
    // A browser that has no memory for it.
    if (!file) continue;
    if (file.size > TOO_SMALL && file.size <= LARGEST) return { file, side: steps[nth][0] };
    if (nth === 0) steps = [usual, ...(file.size > LARGEST ? shrink : grow)];
  }
  return null;
}
