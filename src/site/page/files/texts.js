// The texts of the page in one language at a time, and the sentence for each answer of the server.
// The server's sentences are shown as they are.

import { settings } from "./settings.js";
import { recall, remember } from "./storage.js";

// The names of texts for answers, by interface and code or by code alone, if they are others.
const SAME = {
  "registered 503": "registrationClosed",
  "forget_password 200": "update_password 200",
  "forget_password 403": "resetClosed",
  "logout 200": "signedOut",
  "link_info 404": "linkDead",
  400: "failed",
  403: "expired",
  404: "failed",
  503: "wrongCaptcha",
  504: "wrongCaptcha",
  505: "wrongCaptcha",
  603: "failed",
  604: "wrongPassword",
  605: "wrongCode",
  "HTTP 500": "failed",
};
// The fields at fault.
const FIELDS = {
  "registered 403": "key",
  "registered 603 or common": "passwd",
  "registered 604": "username",
  "update_password 404": "old_passwd",
  "update_password 404 or common": "old_passwd",
  "forget_password 404": "key",
  "forget_password 501": "email",
  "forget_password 501 or common": "email",
  "update_email 607": "new_email",
  "login 604": "passwd",
  wrongCaptcha: "verification_code",
  wrongPassword: "passwd",
  wrongCode: "otp",
};

const LANGUAGES = ["zh-CN", "en"];
const REMEMBERED = "accountd.language";

/// The texts in the current language by their names. The page comes with those of one language.
let texts = JSON.parse(document.getElementById("texts").textContent);
let language = LANGUAGES.indexOf(document.documentElement.lang);
/// The texts in the other language, once they are fetched.
let others = null;

function chosen() {
  const wishes = [recall("localStorage", REMEMBERED), ...navigator.languages];
  const first = wishes.map((wish) => wish?.slice(0, 2).toLowerCase()).find((wish) => wish === "zh" || wish === "en");
  return first === "zh" ? 0 : 1;
}

const fetchOthers = () =>
  fetch(settings.other).then((answer) => (answer.ok ? answer.json() : null)).catch(() => null);

/// Changes the language; false if its texts cannot be fetched.
async function change(other) {
  const fetched = other === language ? texts : others ?? (await fetchOthers());
  if (fetched && other !== language) {
    [texts, others] = [fetched, texts];
    language = other;
  }
  return fetched !== null;
}

/// A text of the page in the current language.
export function t(name, ...values) {
  return texts[name].replace(/\{(\d)(:time)?\}/g, (_, nth, isTime) => (isTime ? time(values[nth]) : values[nth]));
}

/// The page's sentence for an answer: the name of a text, its values, and the name of the field at fault.
export function sentenceFor({ api, offline, proxy, status, code }) {
  if (offline) return { name: "offline" };
  const http = proxy ?? status;
  // If common passwords are refused, the same code may also mean that.
  const common = settings.common === "refused" && `${api} ${code} or common`;
  const names = http === 200 ? [common, `${api} ${code}`, code] : [`HTTP ${http}`];
  const found = names.find((name) => name in texts || name in SAME);
  const name = SAME[found] ?? found;
  // A proxy's page says something else about these than the server would.
  if (proxy && ![413, 429].includes(proxy)) return { name: "proxy", values: [proxy] };
  return name ? { name, field: FIELDS[name] } : { name: "unknown", values: [code] };
}

/// Shows a text in an element. It is translated if the language changes.
export function say(element, name, ...values) {
  element.dataset.t = name;
  element.dataset.values = JSON.stringify(values);
  element.textContent = t(name, ...values);
}

/// A new element that shows a text.
export function make(tag, name, ...values) {
  const element = document.createElement(tag);
  say(element, name, ...values);
  return element;
}

/// A new button that shows a text.
export function makeButton(name, className, act) {
  const button = make("button", name);
  button.type = "button";
  button.className = className;
  button.addEventListener("click", act);
  return button;
}

/// Fills in all texts below an element.
export function translate(root) {
  for (const element of root.querySelectorAll("[data-t]")) {
    element.textContent = t(element.dataset.t, ...JSON.parse(element.dataset.values ?? "[]"));
  }
  for (const element of root.querySelectorAll("[data-label]")) {
    element.ariaLabel = t(element.dataset.label);
  }
}

/// Unix seconds as a readable text.
const time = (seconds) =>
  new Date(seconds * 1000).toLocaleString(LANGUAGES[language], { dateStyle: "long", timeStyle: "short" });

/// A size in bytes as a readable text.
export const size = (bytes) => `${(bytes / 1024).toFixed(1)} KB`;

/// Connects the button that switches the language. `after` is called when the page is translated,
/// `failed` when it cannot be.
export async function languages(button, after, failed) {
  const show = () => {
    document.documentElement.lang = LANGUAGES[language];
    button.lang = LANGUAGES[1 - language];
    button.textContent = ["English", "中文"][language];
    translate(document);
    after();
  };
  button.addEventListener("click", async () => {
    if (!(await change(1 - language))) return failed();
    remember("localStorage", REMEMBERED, LANGUAGES[language]);
    show();
  });
  await change(chosen());
  show();
}
