// The panel with the user key. The key is never in a field, so that password managers ignore it.

import { byId, copyOn } from "./sheet.js";
import { say } from "./texts.js";

const keyText = byId("key");
const keyToggle = byId("show-key");
let user = null;

function turnKey(isShown) {
  keyText.textContent = user && (isShown ? user.key : "•".repeat(12));
  keyToggle.value = isShown ? "shown" : "";
  say(keyToggle, isShown ? "hide" : "show");
}

keyToggle.addEventListener("click", () => turnKey(!keyToggle.value));
copyOn(byId("copy"), () => user?.key ?? "");
copyOn(byId("copy-both"), () => (user ? `${user.name}:${user.key}` : ""));

/// Shows an account's key as dots; null removes it.
export function fillKey(account) {
  user = account;
  turnKey(false);
}
