// The dialog for what needs a password. It shows one of its parts at a time.

import { show } from "./forms.js";
import { say } from "./texts.js";

export const byId = (id) => document.getElementById(id);

const sheet = byId("sheet");
const sheetTitle = byId("sheet-title");
const sheetParts = [...sheet.querySelectorAll("[data-step]")];

export const isDialogOpen = () => document.querySelector("dialog[open]") !== null;
export const closeSheet = () => sheet.close();

/// Shows a part, and opens the dialog if no other one is open.
export function showPart(part) {
  for (const other of sheetParts) other.hidden = other !== part;
  say(sheetTitle, part.dataset.step);
  if (!isDialogOpen()) sheet.showModal();
  const field = part.querySelector(".field input");
  // A keyboard on the screen would cover what is above the field.
  (field && !matchMedia("(pointer: coarse)").matches ? field : sheetTitle).focus({ preventScroll: true });
}

/// Adds to forms the password, unless a code is enough, and below it a message and buttons.
for (const form of document.querySelectorAll("[data-go]")) {
  form.append(byId("confirm").content.cloneNode(true));
  const [input, label, go, cancel] = ["[type=password]", ".passwd", ".go", ".cancel"].map((what) => form.querySelector(what));
  input.id = label.htmlFor = `${form.dataset.api}-passwd`;
  go.dataset.t = form.dataset.go;
  if (form.dataset.code) label.parentElement.remove();
  if (form.dataset.danger) go.className = "danger";
  if (form.closest("dialog")) cancel.addEventListener("click", closeSheet);
  else cancel.remove();
}

/// Copies a text when a button is pressed, and shows whether the browser allowed it.
export function copyOn(button, text) {
  button.addEventListener("click", async () => {
    const place = button.closest("form, [data-step]").querySelector(".message");
    try {
      await navigator.clipboard.writeText(text());
      show(place, { name: "copied", good: true });
    } catch {
      // The clipboard API is missing on a page without TLS, except from localhost.
      const field = document.createElement("textarea");
      field.value = text();
      button.after(field);
      field.select();
      const good = document.execCommand("copy");
      field.remove();
      button.focus();
      show(place, { name: good ? "copied" : "notCopied", good });
    }
  });
}
