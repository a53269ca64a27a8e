// The page: its views, and the navigation between them.

import { wireAccount } from "./account.js";
import { hush, show, wire } from "./forms.js";
import * as session from "./session.js";
import { languages, t } from "./texts.js";

const state = document.documentElement.dataset;
const notice = document.getElementById("notice");
const section = (name) => document.getElementById(name);
const form = (api) => document.querySelector(`[data-api=${api}]`);

const stay = section("stay");
// The views, by the name that section, address and title share.
const parts = {
  "sign-in": wire(form("login"), {
    done({ message }) {
      session.open(message, stay.checked);
      form("login").reset();
      go("account");
    },
  }),
  register: wire(form("registered"), {
    done(answer) {
      const username = form("registered").elements.username.value;
      form("registered").reset();
      signIn({ answer, name: "registered", good: true, username });
    },
  }),
  reset: wire(form("forget_password"), {
    done(answer) {
      const username = form("forget_password").elements.name.value;
      form("forget_password").reset();
      signIn({ answer, name: "passwordChanged", good: true, username });
    },
  }),
  account: wireAccount((how) => {
    session.close(false);
    signIn(how);
  }),
};

for (const [name, on] of [["register", state.registration], ["reset", state.reset]]) {
  if (on === "open") continue;
  parts[name].form.hidden = true;
  section(name).querySelector(".lead p").hidden = true;
  section(name).querySelector(".closed").hidden = false;
  parts[name] = { open() {}, leave() {} };
}

let shown = null;

function title() {
  if (shown) document.title = `${t(shown)} · accountd`;
}

/// Shows the account if the user is signed in, and otherwise the view in the address.
async function display() {
  const wish = location.hash.slice(2);
  const name = session.current() ? "account" : ["register", "reset"].includes(wish) ? wish : "sign-in";
  if (`#/${name}` !== location.hash) history.replaceState(null, "", `#/${name}`);
  if (name === shown) return;
  const first = shown === null;
  if (!first) {
    section(shown).hidden = true;
    parts[shown].leave();
  }
  shown = name;
  section(name).hidden = false;
  title();
  const opened = parts[name].open();
  if (first) return;
  scrollTo(0, 0);
  await opened;
  // The caller may have focused a field already.
  if (!section(name).contains(document.activeElement)) section(name).querySelector("h1").focus();
}

/// Goes to a view after an action.
function go(name) {
  hush(notice);
  history.pushState(null, "", `#/${name}`);
  display();
}

/// Goes to the sign-in and shows the reason.
function signIn({ username, ...why }) {
  go("sign-in");
  show(notice, why);
  const fields = form("login").elements;
  if (username) fields.username.value = username;
  (fields.username.value ? fields.passwd : fields.username).focus();
}

addEventListener("hashchange", () => {
  hush(notice);
  display();
});

session.listen(() => {
  if (session.current()) {
    if (shown === "account") parts.account.open();
    else go("account");
  } else {
    signIn({ name: "signedOutElsewhere", good: true });
  }
});

section("host").textContent = location.host;
languages(section("language"), title);
display();
