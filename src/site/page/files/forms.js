// Forms: checks the fields, sends them, and shows the answer.
//
// A form's `data-api` names its interface, and its fields are named as the interface names them.

import { call } from "./api.js";
import { captcha } from "./captcha.js";
import { currentToken } from "./session.js";
import { settings } from "./settings.js";
import { make, makeButton, say, sentenceFor, translate } from "./texts.js";

/// The most characters of each field, by its name.
const LIMITS = JSON.parse(settings.limits);
/// Hashes of the most common passwords, see index.rs.
const COMMON = new Set(settings.commonHashes.match(/.{5}/g));
const HAN = /\p{Script=Han}/u;
const EDGES = /^[\s\p{Cf}]+|[\s\p{Cf}]+$/gu;
const QUOTED = /^["'`“”„‘’«»「」『』《》＂＇](.+)["'`“”„‘’«»「」『』《》＂＇]$/u;

/// The lines of a message: the page's sentence, the server's, and links. `name` is the page's
/// sentence; by default the answer selects it. A link is { href, name, values }.
function linesOf({ answer, name, values = [], links = [] }) {
  const own = name ? { name, values } : sentenceFor(answer);
  const lines = [make("p", own.name, ...(own.values ?? []))];
  if (answer?.message && typeof answer.message === "string") {
    const sentence = document.createElement("p");
    sentence.className = "server";
    sentence.lang = HAN.test(answer.message) ? "zh-CN" : "en";
    sentence.textContent = answer.message;
    lines.push(sentence);
  }
  for (const link of links) {
    const anchor = make("a", link.name, ...(link.values ?? []));
    anchor.href = link.href;
    const line = document.createElement("p");
    line.append(anchor);
    lines.push(line);
  }
  return lines;
}

/// Shows a message, as linesOf() makes it.
export function show(place, { good = false, ...what }) {
  hush(place);
  place.classList.add(good ? "good" : "bad");
  place.append(...linesOf(what));
  bring(place);
}

/// Removes the message.
export function hush(place) {
  place.classList.remove("bad", "good");
  place.replaceChildren();
}

/// Scrolls an element into the part of the window that a phone's keyboard leaves free.
function bring(element) {
  const free = visualViewport;
  function fit() {
    element.scrollIntoView({ block: "nearest" });
    const { top, bottom } = element.getBoundingClientRect();
    const hidden = bottom + 12 - free.offsetTop - free.height;
    if (hidden > 0) scrollBy(0, Math.min(hidden, top - free.offsetTop));
  }
  fit();
  // The keyboard comes after the focus.
  free.addEventListener("resize", fit, { once: true, signal: AbortSignal.timeout(1000) });
}

// A success has been read when the next change begins.
for (const [kind, where] of [["input", "main form"], ["submit", "main form"], ["click", "main button, main label.button"]]) {
  const begins = ({ target }) => target.closest(where) && document.querySelectorAll("main .good").forEach((one) => hush(one));
  document.addEventListener(kind, begins, true);
}

const buttonOf = (form) => form.querySelector(".buttons button:not([type])");

/// Whether a button is disabled. HTML's `disabled` would take the focus from it.
export const isHeld = (button) => button.getAttribute("aria-disabled") === "true";

/// Disables a button and shows the named text on it; without a name, enables it.
export function hold(button, name, ...values) {
  button.dataset.usual ??= button.dataset.t;
  button.setAttribute("aria-disabled", name ? "true" : "false");
  say(button, name ?? button.dataset.usual, ...values);
}

/// Disables a button for this many seconds and counts down on it.
export async function countDown(button, seconds) {
  const until = performance.now() + seconds * 1000;
  for (let left = seconds; left > 0; left = Math.ceil((until - performance.now()) / 1000)) {
    hold(button, "wait", left);
    await new Promise((next) => setTimeout(next, Math.min(1000, until - performance.now() - (left - 1) * 1000)));
  }
  hold(button);
}

/// Adds a button that shows or hides a password. Returns a function that hides it.
function reveal(input) {
  const turn = (shown) => {
    input.type = shown ? "text" : "password";
    say(toggle, shown ? "hide" : "show");
  };
  const toggle = makeButton("show", "reveal", () => turn(input.type === "password"));
  const label = input.labels[0];
  toggle.id = `${input.id}-reveal`;
  label.id = `${input.id}-label`;
  // "Show Current password Change email": the name of each one tells it from the others.
  toggle.setAttribute("aria-labelledby", `${toggle.id} ${label.id} ${input.form.getAttribute("aria-labelledby")}`);
  const box = document.createElement("div");
  box.className = "reveals";
  input.replaceWith(box);
  box.append(input, toggle);
  turn(false);
  return () => turn(false);
}

/// Removes what was copied along with a text: spaces, and quotation marks around a key. A password
/// stays as it is.
function tidy(input) {
  if (input.autocomplete.endsWith("password")) return;
  let text = input.value.replace(EDGES, "");
  if (input.name === "key") text = text.replace(QUOTED, "$1").replace(EDGES, "");
  if (input.name === "otp") text = text.normalize("NFKC");
  if (text !== input.value) input.value = text;
}

/// FNV-1a, as in index.rs.
function hash(text) {
  let state = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) state = Math.imul(state ^ byte, 0x01000193);
  return (state >>> 12).toString(16).padStart(5, "0");
}

/// What the page has to say about a value that it accepts: the name of a text, or null.
function noteOn({ autocomplete, value, form }) {
  if (autocomplete === "username") return /.@./.test(value) ? "looksLikeEmail" : null;
  if (autocomplete !== "new-password" || !value) return null;
  const name = (form.elements.username ?? form.elements.name)?.value;
  const lower = value.toLowerCase();
  return COMMON.has(hash(lower)) || lower === name?.toLowerCase() ? "easy" : null;
}

/// What is wrong with a field: the name of a text and its values, or null.
function fault(input) {
  const { value, dataset, autocomplete } = input;
  const limit = LIMITS[input.name];
  const length = [...value].length;
  if (!length) return dataset.default ? null : ["absent"];
  if (length > limit) return ["tooLong", limit, length];
  const least = Number(settings.least);
  if (autocomplete === "new-password" && length < least) return ["tooShort", least];
  if (autocomplete === "new-password" && settings.common === "refused") return noteOn(input) && ["easy"];
  if (input.type === "email" && !/^\S+@\S+$/.test(value)) return ["badEmail"];
  const isPlain = settings.usernames !== "plain" || /^[a-z0-9][a-z0-9._-]*$/.test(value);
  return input.id === "new-username" && !isPlain ? ["notPlain"] : null;
}

const partOf = (input, name) => document.getElementById(`${input.id}-${name}`);

/// Shows lines in a part of a field below it, or removes that part if there are none.
function attach(input, name, lines) {
  partOf(input, name)?.remove();
  if (lines.length) {
    const part = document.createElement("div");
    part.id = `${input.id}-${name}`;
    part.className = name;
    part.append(...lines);
    input.closest(".field").append(part);
  }
  const described = ["error", "note", "hint"].map((name) => partOf(input, name)?.id).filter(Boolean);
  if (described.length) input.setAttribute("aria-describedby", described.join(" "));
  else input.removeAttribute("aria-describedby");
}

/// Shows what is wrong with a field, or removes that.
function mark(input, lines = []) {
  attach(input, "error", lines);
  input.ariaInvalid = lines.length ? "true" : null;
}

/// Shows the note on a field's value.
function annotate(input) {
  const name = noteOn(input);
  if (name !== (input.dataset.note ?? null)) attach(input, "note", name ? [make("p", name)] : []);
  if (name) input.dataset.note = name;
  else delete input.dataset.note;
}

const fields = (form) => [...form.querySelectorAll(".field input[name]")];

/// Focuses a field, and brings it and what is said below it into view.
function focusOn(input) {
  input.focus();
  bring(input.closest(".field"));
}

let nth = 0;
let ended;

/// Says what to do when the server refuses the token: a function of the answer.
export const whenEnded = (act) => (ended = act);

/// Whether the answer refuses the token. If so, the session is ended.
export function hasEnded(answer) {
  const isRefused = answer.status === 200 && answer.code === 403;
  if (isRefused) ended(answer);
  return isRefused;
}

/// Connects a form. `members` returns what to send besides the fields and the token; `done` is called
/// with an answer with code 200, and if it returns true, the form says so. `hint` may name the text
/// for another answer.
export function wire(form, { members, done, hint }) {
  const api = form.dataset.api;
  const place = form.querySelector(".message");
  const button = buttonOf(form);
  const picture = captcha(form);
  const hasToken = form.dataset.token !== undefined;
  form.noValidate = true;
  const title = form.closest("form:has(h2), details, dialog, .view").querySelector("h2, h1");
  form.setAttribute("aria-labelledby", (title.id ||= `title-${++nth}`));
  const passwords = [...form.querySelectorAll("input[type=password]")];
  const hides = passwords.map(reveal);
  // The field for the second factor, if the server has asked for it.
  let second = null;

  function clear() {
    for (const input of passwords.filter((input) => input.name)) input.value = "";
    for (const hide of hides) hide();
    second?.remove();
    second = null;
  }

  function prepare(input) {
    const hint = input.closest(".field").querySelector(".hint");
    if (hint) hint.id = `${input.id}-hint`;
    // Names, keys and passwords are not prose.
    input.spellcheck = false;
    input.autocapitalize = "none";
    input.setAttribute("autocorrect", "off");
    if (!input.readOnly && !input.dataset.default) input.ariaRequired = "true";
    input.enterKeyHint = "next";
    attach(input, "note", []);
    input.addEventListener("input", () => {
      mark(input);
      fields(form).forEach(annotate);
    });
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      const all = fields(form);
      const next = all.slice(all.indexOf(input) + 1).find((other) => !other.value && !other.dataset.default);
      if (!next) return;
      event.preventDefault();
      focusOn(next);
    });
  }
  const finish = () => fields(form).forEach((input, at, all) => (input.enterKeyHint = at === all.length - 1 ? "go" : "next"));
  form.querySelectorAll(".field input").forEach(prepare);
  finish();

  /// Adds the field for the second factor.
  function askForCode() {
    const copy = document.getElementById("otp").content.cloneNode(true);
    second = copy.firstElementChild;
    const [input, label, other] = ["input", "label", "button"].map((what) => second.querySelector(what));
    input.id = label.htmlFor = `otp-${++nth}`;
    translate(second);
    place.before(second);
    // The keys for digits have no letters.
    other.addEventListener("click", () => {
      input.inputMode = "text";
      other.remove();
      input.focus();
    });
    prepare(input);
    finish();
  }

  /// Shows why the server refuses the request: at the field at fault, or above the button.
  function refuse(answer) {
    const name = hint?.(answer);
    const input = answer.status && form.elements[sentenceFor(answer).field];
    if (!input) return show(place, { answer, name });
    mark(input, linesOf({ answer, name }));
    partOf(input, "error").role = "alert";
    if (input.name === "otp") input.value = "";
    focusOn(input);
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (isHeld(button)) return;
    hush(place);
    // A picture that has expired is replaced, and its field is empty then.
    picture?.fetchDue();
    const all = fields(form);
    all.forEach(tidy);
    const faults = all.map((input) => [input, fault(input)]);
    faults.forEach(([input, what]) => mark(input, what ? [make("p", ...what)] : []));
    const wrong = faults.find(([, what]) => what);
    if (wrong) return focusOn(wrong[0]);

    hold(button, "working");
    const typed = Object.fromEntries(new FormData(form));
    for (const { name, value, dataset } of all) if (!value) typed[name] = typed[dataset.default];
    const answer = await call(api, { ...typed, ...picture?.members(), ...(hasToken && { token: currentToken() }), ...members?.() });
    if (answer.code === 200) {
      clear();
      picture?.forget();
      const isSaid = await done(answer);
      hold(button);
      return isSaid === true && show(place, { answer, good: true });
    }
    hold(button);
    if (hasToken && hasEnded(answer)) return;
    if (answer.status === 200 && answer.code === 605 && !form.elements.otp) {
      // The server keeps the captcha for the request with the code.
      askForCode();
      show(place, { answer, name: "otpWanted", good: true });
      return focusOn(form.elements.otp);
    }
    // A captcha can be answered once, right or wrong.
    if (answer.status) picture?.renew();
    refuse(answer);
    if (answer.wait) {
      await countDown(button, answer.wait);
      show(place, { name: "waited", good: true });
    }
  });

  return {
    form,
    /// For when the form is shown: fetches a captcha, unless that can wait for the person.
    open() {
      if (!form.querySelector("[data-captcha=later]")) picture?.fetchDue();
    },
    /// For when the form is hidden: removes passwords and messages.
    leave() {
      clear();
      if (!isHeld(button)) hush(place);
      for (const input of fields(form)) {
        mark(input);
        annotate(input);
      }
    },
  };
}
