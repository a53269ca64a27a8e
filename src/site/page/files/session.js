// The session's token: where it is stored, and how the tabs of a browser share it.
//
// It is stored for the tab (sessionStorage) or, if the user wants to stay signed in, on the device
// (localStorage). Tabs send it to each other: by default a user has one session, and a sign-in in a
// second tab would end that of the first.

import { recall, remember } from "./storage.js";

const TOKEN_ITEM = "accountd.token";
const channel = new BroadcastChannel("accountd");
let stays = recall("localStorage", TOKEN_ITEM) !== null;
let token = recall("sessionStorage", TOKEN_ITEM) ?? recall("localStorage", TOKEN_ITEM);

function keep(value, stay) {
  token = value;
  stays = stay;
  remember("localStorage", TOKEN_ITEM, stay ? value : null);
  remember("sessionStorage", TOKEN_ITEM, stay ? null : value);
}

/// The token, or null.
export const currentToken = () => token;

/// Stores a new token, on the device if `stay` is true.
export function openSession(value, stay) {
  keep(value, stay);
  channel.postMessage({ token: value, stays: stay });
}

/// Removes the token, and if `everywhere` is true also in the other tabs.
export function closeSession(everywhere) {
  keep(null, false);
  if (everywhere) channel.postMessage({ token: null });
}

/// Listens to the other tabs. `changed` is called when one of them has signed in or out.
export function listenToTabs(changed) {
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
