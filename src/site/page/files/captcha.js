// A captcha in a form: a picture, which a click replaces, and a field for the answer.

import { fetchCaptcha } from "./api.js";
import { say, translate } from "./texts.js";

let count = 0;

/// Adds a captcha to a form that needs one. Returns its functions, or null.
export function captcha(form) {
  const place = form.querySelector("[data-captcha]");
  if (!place) return null;
  place.append(document.getElementById("captcha").content.cloneNode(true));
  const [label, input, button, image, hint] = ["label", "input", "button", "img", ".hint"].map((what) =>
    place.querySelector(what),
  );
  input.id = label.htmlFor = `captcha-${++count}`;
  translate(place);

  let key = null;
  let latest = 0;
  function forget() {
    input.value = "";
    key = null;
  }
  async function renew() {
    const mine = ++latest;
    forget();
    button.classList.add("waiting");
    const answer = await fetchCaptcha();
    // A later click has started another request.
    if (mine !== latest) return;
    button.classList.remove("waiting");
    image.hidden = !answer.key;
    if (!answer.key) return say(hint, "captchaNone");
    key = answer.key;
    say(hint, "captchaHint");
    URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(answer.picture);
  }
  const members = () => ({ verification_code_key: key ?? "", verification_code: input.value.replace(/\s/g, "") });

  button.addEventListener("click", async () => {
    await renew();
    input.focus();
  });
  addEventListener("online", () => key || form.closest("[hidden]") || renew());
  return { renew, forget, fetchOnce: () => key || renew(), members };
}
