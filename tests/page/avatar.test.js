// Avatars: choosing, dropping or pasting a picture, cropping it to a square, and a file that the server accepts.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  AT, REPORTS, SAYS, attribute, choose, click, count, disturbed, focusedId, gone, hold, isVisible, launch, person, pinch, press, serve, shown, signIn,
  until, waitText,
} from "./support.js";

let server, browser;
before(async () => ([server, browser] = await Promise.all([serve(), launch()])));
after(async () => {
  await browser?.close();
  await server?.stop();
});

/// A picture drawn by the browser, in Base64; `colours` are its stripes from left to right, or "noise".
const drawn = (page, { width, height, colours, type = "image/png" }) =>
  page.evaluate(
    async ({ width, height, colours, type }) => {
      const canvas = new OffscreenCanvas(width, height);
      const context = canvas.getContext("2d");
      if (colours === "noise") {
        const pixels = context.createImageData(width, height);
        let seed = 1;
        pixels.data.forEach((_, at) => {
          seed = (seed * 48271) % 2147483647;
          pixels.data[at] = at % 4 === 3 ? 255 : seed & 255;
        });
        context.putImageData(pixels, 0, 0);
      } else {
        const step = width / colours.length;
        colours.forEach((colour, nth) => {
          context.fillStyle = colour;
          context.fillRect(nth * step, 0, step, height);
        });
      }
      const reader = new FileReader();
      const read = new Promise((resolve) => (reader.onload = resolve));
      reader.readAsDataURL(await canvas.convertToBlob({ type }));
      await read;
      return reader.result.split(",")[1];
    },
    { width, height, colours, type },
  );

const pick = (page, base64, name = "a.png", type = "image/png") => choose(page, "#file", { name, type, base64 });

/// Type and size of the account's avatar, and its pixels at these positions (fractions of its side).
const seen = async (page, server, places) => {
  const file = await page.evaluate(async (places) => {
    const address = document.getElementById("avatar").src;
    const response = await fetch(address, { cache: "reload" });
    const blob = await response.blob();
    const bitmap = await createImageBitmap(blob);
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    const at = ([x, y]) => [...context.getImageData(x * bitmap.width, y * bitmap.height, 1, 1).data];
    return { type: blob.type, size: blob.size, width: bitmap.width, height: bitmap.height, pixels: places.map(at), address };
  }, places);
  assert.equal(file.width, file.height);
  return file;
};

/// Where the stage is.
const place = (page) => page.evaluate(() => document.getElementById("stage").getBoundingClientRect().toJSON());

const near = (pixel, expected) => pixel.every((value, nth) => Math.abs(value - expected[nth]) < 24);

/// Uploads the cropped picture and waits until the account has another avatar.
const use = async (page) => {
  const before = await attribute(page, "#avatar", "src");
  await click(page, "#upload");
  await until(page, (before) => document.getElementById("avatar").getAttribute("src") !== before, before);
  await shown(page, "#picture .message.good");
  assert.equal(await isVisible(page, "#crop"), false);
};

test("the crop starts in the middle and moves by pointer, wheel and keyboard", async () => {
  await server.register("rei");
  const { page, open, leave } = await person(browser, server);
  await open();
  await signIn(page, "rei");
  const wide = await drawn(page, { width: 900, height: 300, colours: ["#f00", "#0f0", "#00f"] });
  await pick(page, wide);
  await shown(page, "#crop");
  assert.equal(await focusedId(page), "stage");
  await use(page);
  let file = await seen(page, server, [[0.1, 0.5], [0.9, 0.5]]);
  assert.ok(file.pixels.every((pixel) => near(pixel, [0, 255, 0, 255])), JSON.stringify(file));
  assert.ok(file.size > 10_240, "three stripes are a small file, which grows");

  // Keyboard: to the left edge, and zoomed in.
  await pick(page, wide);
  await shown(page, "#crop");
  for (let nth = 0; nth < 15; nth++) await press(page, "Shift+ArrowLeft");
  await press(page, "+");
  await press(page, "Tab");
  assert.equal(await focusedId(page), "zoom");
  await press(page, "ArrowRight");
  await press(page, "Tab");
  await use(page);
  file = await seen(page, server, [[0.1, 0.5], [0.9, 0.5]]);
  assert.ok(file.pixels.every((pixel) => near(pixel, [255, 0, 0, 255])), JSON.stringify(file));

  // Pointer: the picture moves left, so its right end comes into view.
  await pick(page, wide);
  await shown(page, "#crop");
  const box = await place(page);
  for (let nth = 0; nth < 3; nth++) {
    await page.mouse.move(box.x + box.width * 0.9, box.y + box.height / 2);
    await page.mouse.down();
    await page.mouse.move(box.x + 5, box.y + box.height / 2, { steps: 4 });
    await page.mouse.up();
  }
  await page.mouse.wheel({ deltaY: -100 });
  await until(page, () => Number(document.getElementById("zoom").value) > 0);
  await use(page);
  file = await seen(page, server, [[0.1, 0.5], [0.9, 0.5]]);
  assert.ok(file.pixels.every((pixel) => near(pixel, [0, 0, 255, 255])), JSON.stringify(file));

  // Cancelling changes nothing.
  await pick(page, wide);
  await shown(page, "#crop");
  await press(page, "Escape");
  await gone(page, "#crop");
  assert.ok((await attribute(page, "#avatar", "src")).endsWith(file.address.split("/").at(-1)));
  await leave();
});

test("two fingers zoom", async () => {
  await server.register("kaworu");
  const { page, open, leave } = await person(browser, server, { width: 320, height: 640, touch: true });
  await open();
  await signIn(page, "kaworu");
  await pick(page, await drawn(page, { width: 400, height: 300, colours: ["#f00", "#00f"] }));
  await shown(page, "#crop");
  const box = await place(page);
  await pinch(browser, page, { x: box.x + box.width / 2, y: box.y + box.height / 2 }, [20, 30, 40, 60]);
  await until(page, () => Number(document.getElementById("zoom").value) > 40);
  await use(page);
  await leave();
});

test("a picture can be dropped or pasted", async () => {
  await server.register("asuka");
  const { page, open, leave } = await person(browser, server);
  await open();
  await signIn(page, "asuka");
  for (const [kind, colour, rgba] of [["drop", "#f00", [255, 0, 0, 255]], ["paste", "#00f", [0, 0, 255, 255]]]) {
    const bytes = await drawn(page, { width: 300, height: 200, colours: [colour] });
    await page.evaluate(
      ({ kind, bytes }) => {
        const data = new DataTransfer();
        data.items.add(new File([Uint8Array.from(atob(bytes), (one) => one.charCodeAt())], "a.png", { type: "image/png" }));
        const options = { bubbles: true, cancelable: true };
        const target = document.getElementById("picture");
        if (kind === "drop") {
          target.dispatchEvent(new DragEvent("dragover", { ...options, dataTransfer: data }));
          if (!target.classList.contains("over")) throw new Error("the place does not show that it takes it");
          target.dispatchEvent(new DragEvent("drop", { ...options, dataTransfer: data }));
        } else {
          const event = new ClipboardEvent("paste", options);
          // Firefox gives such an event no files.
          Object.defineProperty(event, "clipboardData", { value: data });
          target.dispatchEvent(event);
        }
      },
      { kind, bytes },
    );
    await shown(page, "#crop");
    await use(page);
    const file = await seen(page, server, [[0.5, 0.5]]);
    assert.ok(near(file.pixels[0], rgba), `${kind}: ${JSON.stringify(file)}`);
  }
  assert.equal(await count(page, "#picture.over"), 0);
  await leave();
});

test("the file that is sent is within the limits of the server", async () => {
  await server.register("shinji");
  const narrow = await serve({ max_avatar_bytes: 16_000 });
  await narrow.register("shinji");
  for (const [where, least, most] of [[server, 10_241, 10_485_760], [narrow, 10_241, 16_000]]) {
    const { page, open, leave } = await person(browser, where);
    await open();
    await signIn(page, "shinji");
    for (const [what, type] of [
      [{ width: 1, height: 1, colours: ["#fff"] }, /jpeg|png/],
      [{ width: 64, height: 64, colours: ["#fff", "#000"] }, /jpeg|png/],
      [{ width: 900, height: 700, colours: "noise" }, /jpeg/],
      [{ width: 200, height: 200, colours: ["#f000", "#00f"] }, where === server ? /png/ : /jpeg|png/],
    ]) {
      await pick(page, await drawn(page, what));
      await shown(page, "#crop");
      await use(page);
      const file = await seen(page, where, [[0.1, 0.5]]);
      assert.ok(file.size >= least && file.size <= most, `${JSON.stringify(what)}: ${JSON.stringify(file)}`);
      assert.match(file.type, type);
      if (what.width === 200 && where === server) assert.equal(file.pixels[0][3], 0, "transparent pixels stay transparent");
    }
    await leave();
  }
  await narrow.stop();
});

test("an unreadable or too large picture gets a message", async () => {
  await server.register("misato");
  const tight = await serve({ max_avatar_bytes: 10_241 });
  await tight.register("misato");
  const { page, open, leave } = await person(browser, tight);
  await open();
  await signIn(page, "misato");
  await pick(page, btoa("no picture"), "a.txt", "text/plain");
  await waitText(page, "#picture .message", "Your browser can’t read this file");
  await pick(page, await drawn(page, { width: 800, height: 800, colours: "noise" }));
  await click(page, "#upload");
  await waitText(page, "#crop .message", "This picture can’t be made a file of more than 10.0 KB and at most 10.0 KB.");
  await leave();
  await tight.stop();
});

test("an upload shows its progress, can be cancelled, and shows the message of the server", async () => {
  await server.register("ritsuko");
  const line = await disturbed(server);
  const { page, open, offline, leave } = await person(browser, line, { expected: [REPORTS.offline] });
  await open();
  await signIn(page, "ritsuko");
  const bytes = await drawn(page, { width: 700, height: 700, colours: "noise" });
  await page.evaluate(() => {
    window.values = [];
    const bar = document.querySelector("#crop progress");
    new MutationObserver(() => bar.hidden || values.push(bar.value)).observe(bar, { attributes: true });
  });

  // While the server does not answer, the progress bar is visible and the upload can be cancelled.
  const path = "/api/upload_avatar/";
  const held = (line.rules[path] = hold());
  await pick(page, bytes);
  await click(page, "#upload");
  const { closed } = await held.arrived;
  await shown(page, "#crop progress");
  await waitText(page, "#crop .message", /Sending [\d.]+ KB \(512 × 512 pixels\)/);
  await click(page, "#away");
  await closed;
  await gone(page, "#crop");
  delete line.rules[path];

  await offline(true);
  await pick(page, bytes);
  await click(page, "#upload");
  await waitText(page, "#crop .message.bad", SAYS.offline);
  await offline(false);
  await use(page);
  assert.equal(await page.evaluate(() => window.values.at(-1)), 1, "the progress bar is full");

  // The message of a refusal.
  line.rules[path] = { json: { message: "它实在是太小了，莎酱真的一点感觉都没有o(TヘTo)", code: 603 } };
  await pick(page, bytes);
  await click(page, "#upload");
  await waitText(page, "#crop .message.bad", "它实在是太小了");
  delete line.rules[path];

  // The token ends while the picture is being cropped.
  await server.login("ritsuko");
  await click(page, "#upload");
  await waitText(page, AT.notice, SAYS.ended);
  await leave();
  line.stop();
});
