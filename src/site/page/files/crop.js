// Crops a picture to a square, with dragging, pinching, the wheel and the keyboard.

import { upload } from "./api.js";
import { damage } from "./damage.js";
import { encoded, LARGEST, TOO_SMALL } from "./encode.js";
import { countDown, hasEnded, hold, hush, isHeld, show } from "./forms.js";
import { currentToken } from "./session.js";
import { byId, isDialogOpen } from "./sheet.js";
import { paint, sideOf } from "./square.js";
import { size } from "./texts.js";

const [dialog, stage, zoom, send, cancel] = ["crop", "stage", "zoom", "upload", "away"].map(byId);
const place = dialog.querySelector(".message");
const bar = dialog.querySelector("progress");
const previews = [...dialog.querySelectorAll(".previews canvas")];

const CLOSEST = 8;
/// The margin around the square on the stage, as a fraction of the stage's side.
const MARGIN = 0.12;
/// The side in pixels of a vector picture without a size.
const SIZELESS = 512;

/// The current view, as described in square.js.
let view = null;
let stop = null;

function draw() {
  const room = sideOf(view) / 2;
  view.x = Math.min(Math.max(view.x, room), view.width - room);
  view.y = Math.min(Math.max(view.y, room), view.height - room);
  zoom.value = Math.round((Math.log(view.zoom) / Math.log(CLOSEST)) * 100);

  const pixels = Math.round(stage.clientWidth * devicePixelRatio);
  stage.width = stage.height = pixels;
  const margin = Math.round(pixels * MARGIN);
  paint(stage, view, margin);
  const context = stage.getContext("2d");
  const inner = pixels - 2 * margin;
  context.fillStyle = "rgb(0 0 0 / 55%)";
  context.beginPath();
  context.rect(0, 0, pixels, pixels);
  context.rect(margin, margin, inner, inner);
  context.fill("evenodd");
  context.strokeStyle = "#fff";
  context.lineWidth = 2 * devicePixelRatio;
  context.strokeRect(margin, margin, inner, inner);

  for (const canvas of previews) {
    canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
    paint(canvas, view, 0);
  }
}

/// Moves the view by fractions of the square's side.
function move(x, y) {
  view.x += x * sideOf(view);
  view.y += y * sideOf(view);
  draw();
}

function zoomTo(factor) {
  view.zoom = Math.min(Math.max(factor, 1), CLOSEST);
  draw();
}

const KEYS = {
  ArrowLeft: (step) => move(-step, 0),
  ArrowRight: (step) => move(step, 0),
  ArrowUp: (step) => move(0, -step),
  ArrowDown: (step) => move(0, step),
  "+": () => zoomTo(view.zoom * 1.1),
  "=": () => zoomTo(view.zoom * 1.1),
  "-": () => zoomTo(view.zoom / 1.1),
};

stage.addEventListener("keydown", (event) => {
  const act = KEYS[event.key];
  if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  act(event.shiftKey ? 0.1 : 0.02);
});

const pointers = new Map();

const spread = () => {
  const [one, other] = [...pointers.values()];
  return Math.hypot(one.x - other.x, one.y - other.y);
};

stage.addEventListener("pointerdown", (event) => {
  stage.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
});
stage.addEventListener("pointermove", (event) => {
  const last = pointers.get(event.pointerId);
  if (!last) return;
  const before = pointers.size === 2 ? spread() : 0;
  pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  const square = stage.clientWidth * (1 - 2 * MARGIN) * pointers.size;
  move((last.x - event.clientX) / square, (last.y - event.clientY) / square);
  if (before) zoomTo((view.zoom * spread()) / before);
});
for (const end of ["pointerup", "pointercancel"]) {
  stage.addEventListener(end, (event) => pointers.delete(event.pointerId));
}
stage.addEventListener(
  "wheel",
  (event) => {
    event.preventDefault();
    zoomTo(view.zoom * Math.exp(-Math.sign(event.deltaY) * 0.1));
  },
  { passive: false },
);
zoom.addEventListener("input", () => zoomTo(CLOSEST ** (zoom.value / 100)));
addEventListener("resize", () => dialog.open && draw());

function closeCrop() {
  stop?.();
  dialog.close();
}
cancel.addEventListener("click", closeCrop);
dialog.addEventListener("close", () => {
  stop?.();
  if (view) URL.revokeObjectURL(view.picture.src);
  view = null;
  pointers.clear();
});

/// Opens a file for cropping. `done` is called with the answer with code 200, `failed` with the reason
/// why the file cannot be cropped.
export async function crop(file, { done, failed }) {
  if (isDialogOpen()) return;
  const picture = new Image();
  const reason = await damage(file);
  // Some browsers show what others cannot, and all of them show a part of a file.
  let isFit = reason?.name !== "cutPicture";
  if (isFit) {
    picture.src = URL.createObjectURL(file);
    isFit = await picture.decode().then(() => true, () => false);
  }
  // In the meantime another dialog may have opened, or the session may have ended.
  const isLate = isDialogOpen() || !currentToken();
  if (isLate || !isFit) {
    URL.revokeObjectURL(picture.src);
    return isLate || failed(reason ?? { name: "noPicture" });
  }
  const [width, height] = [picture.naturalWidth || SIZELESS, picture.naturalHeight || SIZELESS];
  view = { picture, width, height, x: width / 2, y: height / 2, zoom: 1 };
  hush(place);
  hold(send);
  bar.hidden = true;
  dialog.showModal();
  draw();
  stage.focus();

  send.onclick = async () => {
    if (isHeld(send)) return;
    hold(send, "working");
    const mine = view;
    const made = await encoded(mine);
    if (view !== mine) return;
    if (!made) {
      hold(send);
      return show(place, { name: "noPictureFits", values: [size(TOO_SMALL), size(LARGEST)] });
    }
    show(place, { name: "uploading", values: [size(made.file.size), made.side], good: true });
    bar.value = 0;
    bar.hidden = false;
    const answer = await upload(
      currentToken(),
      made.file,
      (part) => (bar.value = part),
      (abort) => (stop = abort),
    );
    stop = null;
    bar.hidden = true;
    hold(send);
    if (view !== mine) return;
    if (hasEnded(answer)) return;
    if (answer.code === 200) {
      closeCrop();
      return done(answer);
    }
    show(place, { answer });
    if (answer.wait) {
      await countDown(send, answer.wait);
      show(place, { name: "waited", good: true });
    }
  };
}
