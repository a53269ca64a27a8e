// The page: its views, and the navigation between them.

import { wireAccount } from "./account.js";
import { parse, write } from "./address.js";
import { call } from "./api.js";
import { hush, show, wire } from "./forms.js";
import { wireLinks } from "./links.js";
import { goBack, isKnown, wasSentBack, wayBack } from "./onward.js";
import { closeSession, currentToken, listenToTabs, openSession } from "./session.js";
import { settings } from "./settings.js";
import { languages, say, t } from "./texts.js";

const notice = document.getElementById("notice");
const section = (name) => document.getElementById(name);
const formOf = (api) => document.querySelector(`[data-api=${api}]`);

/// The page's address, { view, invite, reset, return, host }: keys of links, and the address and host
/// of the program that has sent the person here.
let at = {};
let shown = null;

/// Connects a view whose form takes a key, which a link of this kind can contain. `user` is the field
/// for the user name, `refusals` are the codes for a wrong key, `done` is the text after success.
const keyed = (name, { kind, api, isOpen, user, refusals, done }) =>
  wireLinks(
    section(name),
    wire(formOf(api), {
      hint: ({ status, code }) => (at[kind] && status === 200 && refusals.includes(code) ? "linkDeadWhy" : null),
      async done(answer) {
        const username = formOf(api).elements[user].value;
        formOf(api).reset();
        // The link may be used up.
        at[kind] = "";
        history.replaceState(null, "", write(name, at));
        // The person will sign in as another user, or with another password.
        if (currentToken()) {
          await call("logout", { token: currentToken() });
          closeSession(true);
        }
        signIn({ answer, name: done, good: true, username });
      },
    }),
    { kind, isOpen, linkKey: () => at[kind] },
  );

const stay = section("stay");
// The views, by the name that section, address and title share.
const parts = {
  "sign-in": wire(formOf("login"), {
    members: () => ({ cookie: true, remember: stay.checked }),
    async done({ message }) {
      openSession(message, stay.checked);
      formOf("login").reset();
      if (!at.return) return go("account");
      const known = await isKnown();
      if (known) return leave();
      go("account");
      const again = { name: "signInAgain", href: write("sign-in", at) };
      if (known === null) show(notice, { name: "unchecked", values: [at.host], link: onward() });
      else show(notice, { name: "cookieBlocked", values: [at.host, location.host], link: again });
    },
  }),
  register: keyed("register", {
    kind: "invite",
    api: "registered",
    isOpen: settings.registration === "open",
    user: "username",
    refusals: [403, 503],
    done: "registered",
  }),
  reset: keyed("reset", {
    kind: "reset",
    api: "forget_password",
    isOpen: settings.reset === "open",
    user: "name",
    refusals: [403, 404],
    done: "passwordChanged",
  }),
  account: wireAccount((how) => {
    closeSession(false);
    signIn(how);
  }),
};

const onward = () => ({ name: "continueTo", values: [at.host], href: at.return });

function leave() {
  show(notice, { name: "going", values: [at.host], good: true });
  goBack(at.return, at.host);
}

function title() {
  if (shown) document.title = `${t(shown)} · accountd`;
}

/// The view to show. A signed-in user sees another view than the account only if it is of use: for
/// a link, or for the cookie that a program needs.
function wanted() {
  const usual = at.invite ? "register" : at.reset ? "reset" : "sign-in";
  const name = Object.hasOwn(parts, at.view) ? at.view : usual;
  if (name === "account") return currentToken() ? name : usual;
  const isUseful = at.return || (name === "register" && at.invite) || (name === "reset" && at.reset);
  return currentToken() && !isUseful ? "account" : name;
}

/// Shows the view that the address names.
async function display() {
  const name = wanted();
  at.view = name;
  history.replaceState(null, "", write(name, at));
  for (const link of document.querySelectorAll("main a[href^='#']")) {
    // The link in the place of a form is for a key of another kind.
    const address = write(parse(link.hash).view, link.closest(".closed") ? { return: at.return } : at);
    link.setAttribute("href", address);
  }
  for (const line of document.querySelectorAll(".onward")) {
    line.hidden = !at.return;
    say(line, "onward", at.host);
  }
  if (name === shown) {
    await parts[name].update?.();
    return refocus(name);
  }
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
  refocus(name);
}

/// Focuses the title of a view, unless the view has the focus already.
function refocus(name) {
  const focus = document.activeElement;
  if (!section(name).contains(focus) || !focus.checkVisibility()) section(name).querySelector("h1").focus();
}

/// Goes to a view after an action.
function go(name) {
  hush(notice);
  at.view = name;
  history.pushState(null, "", write(name, at));
  display();
}

/// Goes to the sign-in, or to the view of a link, and shows the reason.
function signIn({ username, ...why }) {
  go("");
  show(notice, why);
  if (shown !== "sign-in") return;
  const fields = formOf("login").elements;
  if (username) fields.username.value = username;
  (fields.username.value ? fields.passwd : fields.username).focus();
}

/// Goes back to the program if the browser has the cookie already and no link is to be used.
/// Otherwise shows the view, and the reason if there is one.
async function proceed(why) {
  const here = at;
  if (here.return && !here.invite && !here.reset) {
    const known = await isKnown();
    // The address has changed in the meantime.
    if (at !== here) return;
    const values = [here.host];
    if (known && !wasSentBack(here.host)) return leave();
    if (known) why = { name: "sentBack", values, link: onward() };
    else if (currentToken()) why = { name: "signInOnce", values, good: true };
    if (known && currentToken()) here.view = "account";
  }
  await display();
  if (why) show(notice, why);
}

/// Reads the page's address.
function arrive() {
  const before = at.return;
  const named = parse(location.hash);
  const { href = "", host, ...why } = wayBack(named.return);
  at = { ...named, return: href, host };
  if (href && href === before) display();
  else proceed(why.name && why);
}

addEventListener("hashchange", () => {
  hush(notice);
  arrive();
});

listenToTabs(() => {
  if (!currentToken()) return signIn({ name: "signedOutElsewhere", good: true });
  hush(notice);
  if (shown === "account") parts.account.open();
  else proceed();
});

section("host").textContent = location.host;
languages(section("language"), title);
arrive();
