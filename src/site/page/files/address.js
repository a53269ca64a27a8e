// The part of the page's address after #: a view and parameters, as in #/sign-in&return=ADDRESS.

const NAMES = ["invite", "reset", "return"];
/// nginx cannot percent-encode the address to return to. It then extends to the end.
const PLAIN = /^return=https?:/i;

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/// Reads { view, invite, reset, return }; what is absent is an empty text. Nothing is checked.
export function parse(hash) {
  const found = { view: "", invite: "", reset: "", return: "" };
  let rest = hash.replace(/^#/, "");
  while (rest) {
    const isPlain = PLAIN.test(rest);
    const part = isPlain ? rest : rest.split("&", 1)[0];
    const [name] = part.split("=", 1);
    const value = part.slice(name.length + 1);
    if (part.startsWith("/")) found.view ||= part.slice(1);
    else if (NAMES.includes(name)) found[name] ||= isPlain ? value : decode(value);
    rest = rest.slice(part.length + 1);
  }
  return found;
}

/// The address of a view with these parameters.
export function write(view, parameters) {
  const kept = NAMES.filter((name) => parameters[name]);
  return [`#/${view}`, ...kept.map((name) => `${name}=${encodeURIComponent(parameters[name])}`)].join("&");
}
