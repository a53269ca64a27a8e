// The second factor: its panel, and the steps that turn it on and off.

import { call } from "./api.js";
import { hush, show, wire } from "./forms.js";
import { currentToken } from "./session.js";
import { byId, closeSheet, copyOn, showPart } from "./sheet.js";
import { make, say } from "./texts.js";

const [begin, scan, off] = ["begin", "confirm", "end"].map((what) => document.querySelector(`[data-api=totp_${what}]`));
const codesPart = byId("kept");
const codesList = byId("codes");
const turn = byId("totp-turn");
const qr = byId("totp-qr");
const totpPlace = byId("totp-message");

let isOn = null;
let secret = "";
/// The password, from the first step until the second factor is on: both interfaces ask for it.
let typed = "";

/// Asks the server for the state, shows it and returns it.
export async function loadTotp() {
  const { code, message } = await call("totp_info", { token: currentToken() });
  const state = code === 200 ? message : {};
  const left = byId("totp-left");
  isOn = state.on ?? null;
  byId("totp-state").hidden = isOn === null;
  say(byId("totp-state"), isOn ? "on" : "off");
  left.hidden = !isOn;
  say(left, "codesLeft", state.recovery_codes);
  say(turn, isOn === null ? "retry" : isOn ? "totpTurnOff" : "totpTurnOn");
  return state;
}

function showSecret({ message }) {
  secret = message.secret;
  // The name may be too long for a picture.
  qr.hidden = !message.qr;
  qr.src = URL.createObjectURL(new Blob([message.qr], { type: "image/svg+xml" }));
  byId("totp-secret").textContent = secret.match(/.{1,4}/g).join(" ");
  byId("totp-app").href = message.uri;
  showPart(scan);
}

function forget() {
  if (!codesPart.hidden) show(totpPlace, { name: "totp_confirm 200", good: true });
  typed = secret = byId("totp-secret").textContent = "";
  scan.elements.otp.value = off.elements.otp.value = "";
  byId("totp-app").removeAttribute("href");
  URL.revokeObjectURL(qr.src);
  qr.removeAttribute("src");
  codesPart.hidden = true;
  codesList.replaceChildren();
}

/// Connects the panel and the steps. `user` returns the account.
export function wireTotp(user) {
  const parts = [
    wire(begin, {
      members: () => void (typed = begin.elements.passwd.value),
      done: showSecret,
    }),
    wire(scan, {
      members: () => ({ passwd: typed }),
      done({ message }) {
        codesList.replaceChildren(...message.map((code) => make("li", "itself", code)));
        const title = document.querySelector(".brand b").textContent;
        const date = new Date().toLocaleDateString(document.documentElement.lang);
        byId("codes-of").textContent = [title, location.host, user()?.name, date].join(" · ");
        showPart(codesPart);
        loadTotp();
      },
    }),
    wire(off, {
      async done(answer) {
        closeSheet();
        await loadTotp();
        show(totpPlace, { answer, good: true });
      },
    }),
  ];

  turn.addEventListener("click", () => {
    hush(totpPlace);
    if (isOn === null) loadTotp();
    else showPart(isOn ? off : begin);
  });
  copyOn(byId("totp-copy"), () => secret);
  copyOn(byId("codes-copy"), () => [...codesList.children].map((line) => line.textContent).join("\n"));
  byId("codes-print").addEventListener("click", () => print());

  const dialog = codesPart.parentElement;
  byId("codes-kept").addEventListener("click", () => dialog.close("kept"));
  dialog.addEventListener("close", () => {
    // The codes are shown once: Escape does not lose them.
    if (!codesPart.hidden && !dialog.returnValue && currentToken()) return showPart(codesPart);
    dialog.returnValue = "";
    parts.forEach((part) => part.leave());
    forget();
  });
  return {
    open() {
      hush(totpPlace);
      return loadTotp();
    },
    leave() {},
  };
}
