// The token: where it is kept, and how the tabs of one browser share it.
//
// It is kept for the tab (sessionStorage) or, if the person wants to stay signed in, on the device (localStorage). Tabs
// tell each other: by default a user has one session, so that a sign-in in a second tab would end that of the first.

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

/// Keeps a token that the server has given, on the device if it is to stay.
export function open(value, stay) {
  keep(value, stay);
  channel.postMessage({ token: value, stays: stay });
}

/// Forgets the token; the other tabs too, if it was ended on purpose.
export function close(everywhere) {
  keep(null, false);
  if (everywhere) channel.postMessage({ token: null });
}

/// Listens to the other tabs; `changed` is called when they have opened or closed the session.
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
