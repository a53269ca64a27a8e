// What users may do with their account: change its email, download it, and delete it.

import { call } from "./api.js";
import { wire } from "./forms.js";
import { currentToken } from "./session.js";
import { byId, closeSheet, showPart } from "./sheet.js";
import { say } from "./texts.js";
import { loadTotp } from "./totp.js";

const emailForm = document.querySelector("[data-api=update_email]");
const deletion = document.querySelector("[data-api=delete_account]");

/// Lets the browser save a value as a JSON file.
function save(name, value) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(value, null, 2)], { type: "application/json" }));
  link.download = name;
  link.click();
  // Browsers may read it only after this task.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/// Connects the panels. `load` loads and returns the account, `user` returns it; `leave` is called when the account is
/// gone, with what to show.
export function wireOwn({ load, user, leave }) {
  const parts = [
    wire(emailForm, {
      async done() {
        emailForm.elements.new_email.value = "";
        await load();
        return true;
      },
    }),
    wire(byId("data"), {
      async done({ message: sessions }) {
        const [account, second_factor] = await Promise.all([load(), loadTotp()]);
        // The token and the user key open the account: a file may lie around.
        const { token, key, ...rest } = account ?? {};
        if (token) save(`${rest.name}.json`, { server: location.origin, account: rest, second_factor, sessions });
      },
    }),
    wire(deletion, { done: (answer) => leave({ answer, good: true }) }),
  ];

  byId("delete-open").addEventListener("click", async () => {
    const tell = (count) => say(byId("gone"), "gone", user()?.name ?? "", count);
    tell("");
    showPart(deletion);
    const { code, message } = await call("sessions", { token: currentToken() });
    if (code === 200) tell(` (${message.length})`);
  });
  deletion.parentElement.addEventListener("close", parts[2].leave);
  return { open() {}, leave: () => parts.forEach((part) => part.leave()) };
}
