// The account view: shows the user's account and changes it.

import { call } from "./api.js";
import { crop } from "./crop.js";
import { countDown, hasEnded, hush, hold, isHeld, show, whenEnded, wire } from "./forms.js";
import { fillKey } from "./key.js";
import { wireOwn } from "./own.js";
import { closeSession, currentToken } from "./session.js";
import { wireSessions } from "./sessions.js";
import { byId, isDialogOpen } from "./sheet.js";
import { makeButton } from "./texts.js";
import { wireTotp } from "./totp.js";

const accountView = byId("account");
const accountForm = (api) => accountView.querySelector(`[data-api=${api}]`);
const message = byId("account-message");
const picture = byId("picture");

let account = null;
/// What a person had typed when the session ended, { name, texts }.
let kept = null;

const typedFields = () => [...accountView.querySelectorAll(".field input[name]")].filter((one) => !/passw|otp|verif/.test(one.name));

/// Keeps what is typed for when this person has signed in again.
function keepTyped() {
  kept = account && { name: account.name, texts: typedFields().map((input) => [input, input.value]) };
}

function fillAccount() {
  const { id, name, show_name, email, avatar } = account;
  byId("account-title").textContent = show_name;
  byId("account-name").textContent = name;
  byId("account-email").textContent = email;
  byId("account-id").textContent = id;
  fillKey(account);
  // For password managers: whose password it is.
  for (const input of document.querySelectorAll("input.unseen")) input.value = name;
  // This does not replace what is being typed.
  byId("show-name").defaultValue = show_name;
  for (const [input, text] of kept?.name === name ? kept.texts : []) {
    input.value = text;
    const panel = text && input.closest("details");
    if (panel) panel.open = true;
  }
  kept = null;
  const image = byId("avatar");
  const source = `s/${encodeURIComponent(avatar)}`;
  if (image.getAttribute("src") !== source) image.src = byId("picture-link").href = source;
}

function empty() {
  account = null;
  for (const id of ["account-title", "account-name", "account-email", "account-id"]) byId(id).textContent = "";
  fillKey(null);
  byId("avatar").removeAttribute("src");
  byId("picture-link").removeAttribute("href");
  byId("show-name").defaultValue = "";
  for (const one of document.querySelectorAll("#account form, #sheet form")) one.reset();
  for (const panel of accountView.querySelectorAll("details")) panel.open = false;
}

/// Connects the account view. `leave(how)` is called when the session has ended, with what to show.
export function wireAccount(leave) {
  function ended(answer) {
    keepTyped();
    leave({ answer, name: "expired", username: account?.name });
  }
  whenEnded(ended);

  async function load() {
    const token = currentToken();
    const answer = await call("user_info", { token });
    // Another tab has signed in or out in the meantime.
    if (token !== currentToken()) return;
    if (answer.status === 200 && [403, 404].includes(answer.code)) return ended(answer);
    if (answer.code !== 200) {
      show(message, { answer });
      return message.append(makeButton("retry", "plain", load));
    }
    hush(message);
    account = answer.message;
    fillAccount();
    return account;
  }

  const user = () => account;
  function leaveFor(how) {
    closeSession(true);
    leave(how);
  }
  const forms = [
    wireTotp(user),
    wireSessions(),
    wireOwn({ user, load, leave: leaveFor }),
    wire(accountForm("update_show_name"), {
      async done() {
        accountForm("update_show_name").reset();
        await load();
        return true;
      },
    }),
    wire(accountForm("update_key"), {
      async done() {
        await load();
        return true;
      },
    }),
    wire(accountForm("update_password"), {
      done: (answer) => leave({ answer, good: true, username: account.name }),
    }),
  ];

  const ask = byId("ask");
  byId("fresh-key").addEventListener("click", (event) => {
    event.preventDefault();
    if (isHeld(event.currentTarget)) return;
    ask.returnValue = "";
    if (!isDialogOpen()) ask.showModal();
  });
  for (const button of ask.querySelectorAll("button")) {
    button.addEventListener("click", () => ask.close(button.value));
  }
  ask.addEventListener("close", () => ask.returnValue && accountForm("update_key").requestSubmit());

  async function signOut(button, everywhere) {
    if (isHeld(button)) return;
    hold(button, "working");
    const answer = await call("logout", { token: currentToken(), everywhere });
    hold(button);
    // The session of this device had ended before. The others have not.
    if (everywhere && hasEnded(answer)) return;
    const isDone = answer.status === 200 && [200, 403].includes(answer.code);
    // Without the server, a device can forget its own session only.
    if (isDone || (!answer.status && !everywhere)) {
      closeSession(true);
      const name = !isDone ? "signedOutOffline" : everywhere ? "signedOutEverywhere" : "signedOut";
      return leave({ answer: answer.code === 200 ? answer : null, name, good: isDone });
    }
    show(message, { answer });
    if (answer.wait) await countDown(button, answer.wait);
  }
  byId("sign-out").addEventListener("click", (event) => signOut(event.target, false));
  byId("sign-out-everywhere").addEventListener("click", (event) => signOut(event.target, true));

  async function take(file) {
    const place = picture.querySelector(".message");
    hush(place);
    await crop(file, {
      failed: (what) => show(place, what),
      async done(answer) {
        await load();
        show(place, { answer: { ...answer, message: "" }, good: true });
      },
    });
  }

  byId("file").addEventListener("change", ({ target }) => {
    if (target.files[0]) take(target.files[0]);
    // Choosing the same file again is a change then.
    target.value = "";
  });
  const shown = () => !accountView.hidden;
  addEventListener("dragover", (event) => {
    if (!shown() || !event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    picture.classList.add("over");
  });
  addEventListener("dragleave", (event) => event.relatedTarget || picture.classList.remove("over"));
  addEventListener("drop", (event) => {
    picture.classList.remove("over");
    if (!shown() || !event.dataTransfer.files.length) return;
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => {
    if (!shown() || !event.clipboardData.files.length) return;
    event.preventDefault();
    take(event.clipboardData.files[0]);
  });
  addEventListener("online", () => shown() && !account && load());

  return {
    open() {
      forms.forEach((one) => one.open());
      return load();
    },
    leave() {
      forms.forEach((one) => one.leave());
      hush(message);
      hush(picture.querySelector(".message"));
      empty();
    },
  };
}
