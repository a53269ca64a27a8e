// The session's token: where it is stored, and how the tabs of a browser share it.
//
// It is stored for the tab (sessionStorage) or, if the user wants to stay signed in, on the device
// (localStorage). Tabs send it to each other: by default a user has one session, and a sign-in in a
// second tab would end that of the first.

import { recall, remember } from "./storage.js";

const NAME = "accountd.token";
const channel = new BroadcastChannel("accountd");
let stays = recall("localStorage", NAME) !== null;
let token = recall("sessionStorage", NAME) ?? recall("localStorage", NAME);

function keep(value, stay) {
  token = value;
  stays = stay;
  remember("localStorage", NAME, stay ? value : null);
  remember("sessionStorage", NAME, stay ? null : value);
}

/// The token, or null.
export const current = () => token;

/// Stores a new token, on the device if `stay` is true.
export function open(value, stay) {
  keep(value, stay);
  channel.postMessage({ token: value, stays: stay });
}

/// Removes the token, and if `everywhere` is true also in the other tabs.
export function close(everywhere) {
  keep(null, false);
  if (everywhere) channel.postMessage({ token: null });
}

/// Listens to the other tabs. `changed` is called when one of them has signed in or out.
export function listen(changed) {
  channel.addEventListener("message", ({ data }) => {
    if (data.ask) {
      if (token) channel.postMessage({ token, stays });
    } else if (data.token !== token) {
      keep(data.token, data.stays);
      changed();
    }
  });
  if (!token) channel.postMessage({ ask: true });
}
