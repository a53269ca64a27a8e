// The way back to the program that sent the person here to sign in.

import { covers, returnAddress } from "./return.js";
import { settings } from "./settings.js";
import { recall, remember } from "./storage.js";

const RETURN_ITEM = "accountd.return";
/// Milliseconds. A program that sends the person here again so soon did not let them in.
const SOON = 10_000;

const domain = settings.cookieDomain;

/// Checks the address to return to: { href, host }, or { name, values } of the reason for a refusal.
export function wayBack(text) {
  if (!text) return {};
  // Browsers refuse a cookie of another domain.
  if (domain && !covers(domain, location.hostname)) return { name: "pageElsewhere", values: [location.host, domain] };
  return returnAddress(text, location, domain) ?? { name: "returnRefused" };
}

/// Whether the browser's cookie is that of a signed-in user; null if the server does not tell.
export async function isKnown() {
  try {
    const { status, type } = await fetch("api/forward_auth/", {
      // Others get a challenge, for which browsers show a dialog of their own.
      headers: { Accept: "text/html" },
      cache: "no-store",
      redirect: "manual",
      signal: AbortSignal.timeout(SOON),
    });
    // 403: signed in, but not for everything. The program's proxy will show the reason.
    if (status === 200 || status === 403) return true;
    return status === 401 || type === "opaqueredirect" ? false : null;
  } catch {
    return null;
  }
}

/// Goes back to the program on this host.
export function goBack(address, host) {
  remember("sessionStorage", RETURN_ITEM, `${Date.now()} ${host}`);
  location.replace(address);
}

/// Whether that program has just sent the person here again. Going back could become a loop.
export function wasSentBack(host) {
  const [time, last] = (recall("sessionStorage", RETURN_ITEM) ?? "").split(" ");
  return last === host && Date.now() - time < SOON;
}
