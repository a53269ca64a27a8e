// The addresses to which the page may lead after a sign-in: this host and hosts that share its cookie.
// Pure functions of texts: tests/page/return.test.js tries them without a browser.

/// White space, control and invisible characters.
const UNSEEN = /[\s\p{C}]/u;
/// Scheme, host, port, path. Browsers read a backslash as a slash, except after `?` or `#`.
const HOST = String.raw`(?:[a-z0-9_-]+\.)*[a-z0-9_-]+\.?`;
const ADDRESS = new RegExp(String.raw`^(https?):\/\/(${HOST}|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?(?:\/[^\\?#]*(?:[?#].*)?)?$`, "i");
const PORTS = { "http:": "80", "https:": "443" };

/// Whether a host gets the cookies of a domain.
export const covers = (domain, host) => domain !== "" && (host === domain || host.endsWith(`.${domain}`));

/// Reads an address as { href, host }; null if the page may not lead there. `page` is the page's
/// location, `cookieDomain` the setting or an empty text.
export function returnAddress(text, page, cookieDomain) {
  const parts = UNSEEN.test(text) ? null : ADDRESS.exec(text);
  if (!parts) return null;
  const host = parts[2].toLowerCase();
  if (host !== page.hostname && !covers(cookieDomain, host)) return null;

  // A proxy that gets its requests without TLS, from a CDN, names http. The person used https.
  const isUpgraded = page.protocol === "https:" && parts[1].toLowerCase() === "http";
  if (isUpgraded && parts[3]) return null;
  let url;
  try {
    url = new URL(isUpgraded ? `https${text.slice(4)}` : text);
  } catch {
    return null;
  }
  // The browser has to read the same host.
  if (url.hostname !== host || url.username || url.password) return null;
  if (url.port && url.port !== (page.port || PORTS[page.protocol])) return null;
  return { href: url.href, host: url.host };
}
