// Forms: checks the fields, sends them, and shows the answer.
//
// A form's `data-api` names its interface, and its fields are named as the interface names them.

import { call } from "./api.js";
import { captcha } from "./captcha.js";
import { settings } from "./settings.js";
import { hasHint, make, say } from "./texts.js";

/// The most characters of each field, by its name.
const LIMITS = JSON.parse(settings.limits);
const HAN = /\p{Script=Han}/u;

/// Shows the server's message and below it a hint of the page, if there is one. `name` is the
/// hint's name; by default the answer selects it. `link` is { href, name, values } of a link below.
export function show(place, { answer, name, values = [], good = false, link }) {
  const lines = [];
  if (answer?.message && typeof answer.message === "string") {
    const sentence = document.createElement("p");
    sentence.lang = HAN.test(answer.message) ? "zh-CN" : "en";
    sentence.textContent = answer.message;
    lines.push(sentence);
  }
  const hint = name ?? hintOf(answer);
  if (hint) lines.push(make("p", hint, ...values));
  if (link) {
    const anchor = make("a", link.name, ...(link.values ?? []));
    anchor.href = link.href;
    const line = document.createElement("p");
    line.append(anchor);
    lines.push(line);
  }
  hush(place);
  if (lines.length) place.classList.add(good ? "good" : "bad");
  place.append(...lines);
  place.scrollIntoView({ block: "nearest" });
}

function hintOf(answer) {
  if (answer.offline) return "offline";
  const name = answer.status === 200 ? `${answer.api} ${answer.code}` : `HTTP ${answer.status}`;
  // If common passwords are refused, the same code may also mean that.
  return [settings.common === "refused" && `${name} or common`, name].find(hasHint);
}

/// Removes the message.
export function hush(place) {
  place.classList.remove("bad", "good");
  place.replaceChildren();
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
  const toggle = document.createElement("button");
  toggle.type = "button";
  toggle.className = "reveal";
  toggle.setAttribute("aria-describedby", (input.labels[0].id = `${input.id}-label`));
  const turn = (shown) => {
    input.type = shown ? "text" : "password";
    say(toggle, shown ? "hide" : "show");
  };
  toggle.addEventListener("click", () => turn(input.type === "password"));
  const box = document.createElement("div");
  box.className = "reveals";
  input.replaceWith(box);
  box.append(input, toggle);
  turn(false);
  return () => turn(false);
}

/// What is wrong with a field: the name of a text and its values, or null.
function fault(input) {
  const limit = LIMITS[input.name];
  const length = [...input.value].length;
  if (!length) return ["absent"];
  if (length > limit) return ["tooLong", limit, length];
  const least = Number(settings.least);
  if (input.autocomplete === "new-password" && length < least) return ["tooShort", least];
  if (input.type === "email" && !/^\S+@\S+$/.test(input.value)) return ["badEmail"];
  return null;
}

const partOf = (input, name) => document.getElementById(`${input.id}-${name}`);

/// Shows what is wrong with a field below it, or removes that if `what` is null.
function mark(input, what) {
  partOf(input, "error")?.remove();
  if (what) {
    const line = make("p", ...what);
    line.id = `${input.id}-error`;
    line.className = "error";
    input.closest(".field").append(line);
  }
  input.ariaInvalid = what ? "true" : null;
  const described = ["error", "hint"].map((name) => partOf(input, name)?.id).filter(Boolean);
  if (described.length) input.setAttribute("aria-describedby", described.join(" "));
  else input.removeAttribute("aria-describedby");
}

const fields = (form) => [...form.querySelectorAll(".field input[name]")];

/// Connects a form. `members` returns what to send besides the fields; `done` is called with an
/// answer with code 200, `ended` with one that refuses the token. `hint` may name the text for
/// another answer.
export function wire(form, { members = () => ({}), done, ended, hint }) {
  const api = form.dataset.api;
  const place = form.querySelector(".message");
  const picture = captcha(form);
  form.noValidate = true;
  const passwords = [...form.querySelectorAll("input[type=password]")];
  const hides = passwords.map(reveal);

  function clear() {
    for (const input of passwords.filter((input) => input.name)) input.value = "";
    for (const hide of hides) hide();
  }

  for (const input of form.querySelectorAll(".field input")) {
    const hint = input.closest(".field").querySelector(".hint");
    if (hint) hint.id = `${input.id}-hint`;
    // Names, keys and passwords are not prose.
    input.spellcheck = false;
    input.autocapitalize = "none";
    mark(input, null);
    input.addEventListener("input", () => mark(input, null));
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (isHeld(buttonOf(form))) return;
    hush(place);
    const faults = fields(form).map((input) => [input, fault(input)]);
    faults.forEach(([input, what]) => mark(input, what));
    const wrong = faults.find(([, what]) => what);
    if (wrong) return wrong[0].focus();

    hold(buttonOf(form), "working");
    const answer = await call(api, { ...Object.fromEntries(new FormData(form)), ...picture?.members(), ...members() });
    if (answer.code === 200) {
      clear();
      picture?.forget();
      await done(answer);
      return hold(buttonOf(form));
    }
    hold(buttonOf(form));
    if (form.dataset.token !== undefined && answer.status === 200 && answer.code === 403) return ended(answer);
    // A captcha can be answered once, right or wrong.
    if (!answer.offline) picture?.renew();
    if (!answer.offline && !answer.wait) {
      clear();
      (fields(form).find((input) => !input.value) ?? fields(form)[0]).focus();
    }
    show(place, { answer, name: hint?.(answer) });
    if (answer.wait) {
      await countDown(buttonOf(form), answer.wait);
      show(place, { name: "waited", good: true });
    }
  });

  return {
    form,
    /// For when the form is shown: fetches a captcha.
    open() {
      picture?.fetchOnce();
    },
    /// For when the form is hidden: removes passwords and messages.
    leave() {
      clear();
      if (!isHeld(buttonOf(form))) hush(place);
      fields(form).forEach((input) => mark(input, null));
    },
  };
}

