// A captcha in a form: a picture, a button for another one, and a field for the answer.

import { fetchCaptcha } from "./api.js";
import { settings } from "./settings.js";
import { say, translate } from "./texts.js";

/// Milliseconds for which a picture is shown: some seconds less than the server knows it.
const LIFE = (Math.min(Number(settings.captchaTtl), 86_400) * 1000 * 9) / 10;

let count = 0;

/// Adds a captcha to a form that needs one. Returns its field and functions, or null.
export function captcha(form) {
  const place = form.querySelector("[data-captcha]");
  if (!place) return null;
  place.append(document.getElementById("captcha").content.cloneNode(true));
  const [label, box, image, input, button, hint] = ["label", ".picture", "img", "input", "button", ".hint"].map((what) =>
    place.querySelector(what),
  );
  input.id = label.htmlFor = `captcha-${++count}`;
  translate(place);

  let key = null;
  // Whether the person has come to this form, and when the next picture is due.
  let wanted = false;
  let due = 0;
  let latest = 0;
  let timer;

  function drop() {
    input.value = "";
    key = null;
    clearTimeout(timer);
  }
  async function renew(why = "captchaHint") {
    const mine = ++latest;
    drop();
    wanted = true;
    place.hidden = false;
    due = Infinity;
    box.classList.add("waiting");
    const answer = await fetchCaptcha();
    // A later click has started another request.
    if (mine !== latest) return;
    box.classList.remove("waiting");
    image.hidden = !answer.key;
    const rest = answer.key ? LIFE : (answer.wait ?? 0) * 1000;
    due = Date.now() + rest;
    if (rest) timer = setTimeout(renewIfSeen, rest);
    if (!answer.key) return answer.wait ? say(hint, "captchaWait", answer.wait) : say(hint, "captchaNone");
    key = answer.key;
    say(hint, why);
    URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(answer.picture);
  }
  /// Fetches a picture if there is none, or none that the server still knows.
  const fetchDue = () => Date.now() < due || renew(key ? "captchaNew" : undefined);
  const renewIfSeen = () => wanted && !document.hidden && place.checkVisibility() && fetchDue();
  /// For a form that is done with: its picture is used up.
  function forget() {
    drop();
    wanted = false;
    due = 0;
    // In a view with more forms, the picture waits for a person who comes to this one.
    place.hidden = place.dataset.captcha === "later";
  }
  forget();
  const members = () => ({
    verification_code_key: key ?? "",
    // A Chinese keyboard may write wide letters.
    verification_code: input.value.normalize("NFKC").replace(/\s/g, ""),
  });

  for (const one of [button, image]) {
    one.addEventListener("click", async () => {
      await renew();
      input.focus();
    });
  }
  addEventListener("online", renewIfSeen);
  document.addEventListener("visibilitychange", renewIfSeen);
  form.addEventListener("focusin", ({ target }) => wanted || target.type === "submit" || renew());
  return { input, renew, forget, fetchDue, members };
}
