// The visible square of a picture.
//
// A view is { picture, width, height, x, y, zoom }: the picture and its size, the centre of the
// square in pixels of the picture, and the zoom factor, which is 1 for the largest square.

/// The side of the square in pixels of the picture.
export const sideOf = ({ width, height, zoom }) => Math.min(width, height) / zoom;

/// Paints the view on a canvas, with `margin` pixels around the square.
export function paint(canvas, view, margin) {
  const context = canvas.getContext("2d");
  const side = sideOf(view);
  const scale = (canvas.width - 2 * margin) / side;
  const at = (centre) => margin - (centre - side / 2) * scale;
  context.imageSmoothingQuality = "high";
  context.drawImage(view.picture, at(view.x), at(view.y), view.width * scale, view.height * scale);
}

/// Paints the square on a new canvas with `pixels` a side, over the colour `ground`, if it is not
/// null.
export function canvasOf(view, pixels, ground) {
  const canvas = new OffscreenCanvas(pixels, pixels);
  if (ground) {
    const context = canvas.getContext("2d");
    context.fillStyle = ground;
    context.fillRect(0, 0, pixels, pixels);
  }
  paint(canvas, view, 0);
  return canvas;
}
