// Links with a key for a form: invitations, and links that reset a password.

import { call } from "./api.js";
import { countDown, show } from "./forms.js";
import { make, say } from "./texts.js";

/// Fills a field in and makes it read-only; an empty text makes it editable again.
function fillIn(input, text) {
  input.value = text;
  input.readOnly = text !== "";
}

/// Connects a view that works with and without a link. `part` is its connected form, `isOpen` whether
/// the server takes a configured key. `linkKey` returns the key in the page's address or an empty text.
export function wireLinks(view, part, { kind, isOpen, linkKey }) {
  const { form } = part;
  const { key, name: nameField } = form.elements;
  const hint = key.closest(".field").querySelector(".hint");
  const [lead, facts, closed] = [".lead [data-t$=Lead]", ".facts", ".closed"].map((what) => view.querySelector(what));
  const [title, why, instead] = closed.children;
  const usual = [lead, hint, title, why].map((element) => [element, element.dataset.t]);
  // The last link and its answer.
  let known = { key: "", answer: null };

  /// Shows the form, or the reason why there is none.
  function reveal(hasForm) {
    form.hidden = lead.hidden = !hasForm;
    closed.hidden = hasForm;
    if (hasForm) part.open();
  }

  function openWithout() {
    for (const [element, name] of usual) say(element, name);
    facts.replaceChildren();
    for (const input of [key, nameField]) if (input?.readOnly) fillIn(input, "");
    instead.hidden = true;
    reveal(isOpen);
  }

  function openWith(answer) {
    const link = answer.code === 200 ? answer.message : null;
    facts.replaceChildren();
    if (answer.code === 404 || (link && link.kind !== kind)) {
      say(title, "linkDead");
      say(why, "linkDeadWhy");
      instead.hidden = !isOpen;
      return reveal(false);
    }
    fillIn(key, known.key);
    say(hint, "keyFromLink");
    if (link) {
      // Isolated: a name from right to left does not reorder the sentence.
      say(lead, `${kind}LinkLead`, `\u2068${link.name ?? ""}\u2069`);
      if (nameField) fillIn(nameField, link.name);
      if (link.groups?.length) facts.append(make("span", "linkGroups", link.groups.join(", ")));
      facts.append(make("span", "linkUntil", link.expires_at));
    }
    reveal(true);
    // Nothing is known of the link. It may be valid.
    if (!link) show(form.querySelector(".message"), { answer });
    if (answer.wait) countDown(form.querySelector(".buttons button"), answer.wait);
  }

  async function open() {
    const wanted = linkKey();
    if (!wanted) {
      known = { key: "", answer: null };
      return openWithout();
    }
    if (known.key !== wanted || ![200, 404].includes(known.answer.code)) {
      form.hidden = lead.hidden = closed.hidden = true;
      facts.replaceChildren(make("span", "working"));
      const answer = await call("link_info", { key: wanted });
      // The address has another link by now.
      if (wanted !== linkKey()) return;
      known = { key: wanted, answer };
    }
    openWith(known.answer);
  }

  return { open, update: open, leave: part.leave };
}
