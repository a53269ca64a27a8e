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

/// The page's address, { view, part, invite, reset, return, host }: a part of the view, keys of
/// links, and the address and host of the program that has sent the person here.
let at = {};
let shown = null;

/// Connects a view whose form takes a key, which a link of this kind can contain. `user` is the field
/// for the user name, `refusals` are the codes for a wrong key.
const keyed = (name, { kind, api, isOpen, user, refusals, members }) =>
  wireLinks(
    section(name),
    wire(formOf(api), {
      members,
      hint: ({ status, code }) => (at[kind] && status === 200 && refusals.includes(code) ? "linkDeadWhy" : null),
      async done(answer) {
        const username = formOf(api).elements[user].value;
        const stays = newStay.checked;
        formOf(api).reset();
        // The link may be used up.
        at[kind] = "";
        history.replaceState(null, "", write(name, at));
        // The person goes on as another user, or with another password. The answer's cookie is that
        // of a new account, if there is one.
        if (currentToken()) await call("logout", { token: currentToken() }, { credentials: "omit" });
        if (api === "registered") return enter(answer.message, stays, { name: "registered", good: true });
        if (currentToken()) closeSession(true);
        signIn({ answer, good: true, username });
      },
    }),
    { kind, isOpen, linkKey: () => at[kind] },
  );

const [stay, newStay] = ["stay", "new-stay"].map(section);
/// Asks for a session with the cookie of forward auth.
const sessionWishes = ({ checked }) => ({ cookie: true, remember: checked });
const isOpen = { register: settings.registration === "open", reset: settings.reset === "open" };
// The views, by the name that section, address and title share.
const parts = {
  "sign-in": wire(formOf("login"), {
    members: () => sessionWishes(stay),
    done({ message }) {
      const stays = stay.checked;
      formOf("login").reset();
      return enter(message, stays);
    },
  }),
  register: keyed("register", {
    kind: "invite",
    api: "registered",
    isOpen: isOpen.register,
    user: "username",
    refusals: [403, 503],
    members: () => ({ login: true, ...sessionWishes(newStay) }),
  }),
  reset: keyed("reset", {
    kind: "reset",
    api: "forget_password",
    isOpen: isOpen.reset,
    user: "name",
    refusals: [403, 404],
  }),
  account: wireAccount((how) => {
    closeSession(false);
    signIn(how);
  }),
};

const onward = () => ({ name: "continueTo", values: [at.host], href: at.return });
const again = () => ({ name: "signInAgain", href: write("sign-in", at) });

/// Goes on with a new session: to the program that has sent the person here, or to the account.
async function enter(token, stays, why) {
  openSession(token, stays);
  const known = at.return ? await isKnown() : undefined;
  if (known) return leave();
  go("account");
  if (known === null) why = { name: "unchecked", values: [at.host], links: [onward()] };
  if (known === false) why = { name: "cookieBlocked", values: [at.host, location.host], links: [again()] };
  if (why) show(notice, why);
}

function leave() {
  show(notice, { name: "going", values: [at.host], good: true });
  goBack(at.return, at.host);
}

function title() {
  if (shown) document.title = `${t(shown)} · ${settings.title || "accountd"}`;
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
  // A guest's address keeps the part of the account that the person came for.
  history.replaceState(null, "", write(at.part && !currentToken() ? at.part : name, at));
  for (const link of document.querySelectorAll("main a[href^='#']")) {
    const { view } = parse(link.hash);
    const isInstead = link.closest(".closed");
    // The link in the place of a form is for a key of another kind.
    link.setAttribute("href", write(view, isInstead ? { return: at.return } : at));
    link.hidden = !isInstead && isOpen[view] === false && !(view === "register" ? at.invite : at.reset);
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
    document.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close());
  }
  shown = name;
  section(name).hidden = false;
  title();
  const opened = parts[name].open();
  if (!first) scrollTo(0, 0);
  await opened;
  if (name === "account" && at.part) {
    at.part = "";
    const field = section("old-passwd");
    const panel = field.closest(".panel");
    // It may be folded.
    panel.open = true;
    field.focus();
    return panel.scrollIntoView();
  }
  if (!first || name !== "account") refocus(name);
}

/// Focuses the first empty field of a view or, if a keyboard would cover the window then, its title;
/// not if the view has the focus already.
function refocus(name) {
  const view = section(name);
  const focus = document.activeElement;
  if (shown !== name || (view.contains(focus) && focus.checkVisibility())) return;
  const empty = [...view.querySelectorAll(".field input")].find((input) => !input.value && input.checkVisibility());
  if (empty && name !== "account" && !matchMedia("(pointer: coarse)").matches) return empty.focus();
  view.querySelector("h1").focus();
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
    // The program may want a session with a second factor, which this one is not: the address does not tell.
    if (known) why = { name: "sentBack", values, links: [again(), onward()] };
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
  const part = named.view === "account/password" ? named.view : "";
  at = { ...named, view: part ? "account" : named.view, part, return: href, host };
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

if (!settings.title) section("host").textContent = location.host;
languages(section("language"), title, () => show(notice, { name: "offline" })).then(arrive);
