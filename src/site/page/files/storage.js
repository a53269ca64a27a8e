// What the browser keeps for the page; nothing, where the person has forbidden it.

/// What is kept under a name, or null.
export function recall(storage, name) {
  try {
    return window[storage].getItem(name);
  } catch {
    return null;
  }
}

/// Keeps a text under a name; null removes it.
export function remember(storage, name, text) {
  try {
    if (text === null) window[storage].removeItem(name);
    else window[storage].setItem(name, text);
  } catch {
    // Then it holds as long as the page is open.
  }
}
