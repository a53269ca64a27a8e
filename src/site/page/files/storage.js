// The browser's storage, which the user may have switched off.

/// The text stored under a name, or null.
export function recall(storage, name) {
  try {
    return window[storage].getItem(name);
  } catch {
    return null;
  }
}

/// Stores a text under a name; null removes it.
export function remember(storage, name, text) {
  try {
    if (text === null) window[storage].removeItem(name);
    else window[storage].setItem(name, text);
  } catch {
    // Without storage, the page keeps the value until it is closed.
  }
}
