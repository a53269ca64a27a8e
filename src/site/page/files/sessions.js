// The panel with the user's sessions.

import { show, wire } from "./forms.js";
import { byId } from "./sheet.js";
import { make, makeButton } from "./texts.js";

const sessionsForm = byId("sessions");
const sessionsList = sessionsForm.querySelector("ul");

/// The id of the session that the next request ends; an empty text ends none.
let ending = "";

/// The kind of client in the reader's language.
function client(kind) {
  const [, program, system] = /^(.+) on (.+)$/.exec(kind) ?? [];
  if (program) return make("b", program === "browser" ? "browserOn" : "programOn", system, program);
  return make("b", { other: "otherProgram", browser: "otherBrowser" }[kind ?? "other"] ?? "itself", kind);
}

function row({ id, opened, seen, source, client: kind, current }) {
  const item = document.createElement("li");
  const facts = document.createElement("div");
  const lines = [client(kind), current && make("span", "thisSession"), source && make("p", "itself", source)];
  lines.push(opened && make("p", "sessionOpened", opened), !current && seen && make("p", "sessionSeen", seen));
  facts.append(...lines.filter(Boolean));
  facts.id = `session-${id}`;
  const button = makeButton("endSession", "plain danger", () => {
    // Signing out also removes the cookie.
    if (current) return byId("sign-out").click();
    ending = id;
    sessionsForm.requestSubmit();
  });
  button.setAttribute("aria-describedby", facts.id);
  item.append(facts, button);
  return item;
}

/// Connects the panel.
export function wireSessions() {
  const part = wire(sessionsForm, {
    members: () => ({ end: ending }),
    done({ message }) {
      sessionsList.replaceChildren(...message.map(row));
      if (ending) {
        show(sessionsForm.querySelector(".message"), { name: "sessionEnded", good: true });
        sessionsList.focus();
      }
      ending = "";
    },
  });
  sessionsForm.parentElement.addEventListener("toggle", ({ target }) => target.open && sessionsForm.requestSubmit());
  return {
    open: part.open,
    leave() {
      part.leave();
      ending = "";
      sessionsList.replaceChildren();
    },
  };
}
