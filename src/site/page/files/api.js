// Requests to the server's interfaces.
//
// An answer is { api, status, code, message }, with `wait` in seconds for status 429. If something
// before the server has answered, it is { api, proxy }, with the HTTP status. Without an answer, it
// is { api, offline: true }.

/// Milliseconds until a request, or an upload that makes no progress, is given up.
const PATIENCE = 25_000;

const noAnswer = (api) => ({ api, offline: true });

function read(api, http, text, retryAfter) {
  // A date in this header is rare, and not worth its code.
  const wait = http === 429 ? { wait: Math.max(1, Number(retryAfter) || 1) } : {};
  try {
    const { code, message } = JSON.parse(text);
    if (Number.isInteger(code)) return { api, status: http, code, message, ...wait };
  } catch {
    // Not JSON.
  }
  return { api, proxy: http, ...wait };
}

/// Sends a request. `use` reads the response.
async function request(api, options, use) {
  try {
    const response = await fetch(`api/${api}/`, { signal: AbortSignal.timeout(PATIENCE), ...options });
    return await use(response);
  } catch {
    return noAnswer(api);
  }
}

const readResponse = async (api, response) =>
  read(api, response.status, await response.text(), response.headers.get("Retry-After"));

/// Calls an interface with these members in the body.
export const call = (api, members, options) =>
  request(api, { method: "POST", body: JSON.stringify(members), ...options }, (response) => readResponse(api, response));

/// Fetches a captcha: { api, key, picture }, or the answer that refuses it.
export function fetchCaptcha() {
  const api = "get_verification_code";
  return request(api, { cache: "no-store" }, async (response) => {
    const key = response.headers.get("VerificationCodeKey");
    return key ? { api, key, picture: await response.blob() } : readResponse(api, response);
  });
}

/// Uploads a picture. `progress` gets the part that is sent, from 0 to 1, and `started` a function
/// that aborts the upload.
export function upload(token, file, progress, started) {
  const api = "upload_avatar";
  return new Promise((resolve) => {
    // fetch() does not report the progress of an upload.
    const request = new XMLHttpRequest();
    let timer;
    const moved = () => {
      clearTimeout(timer);
      timer = setTimeout(() => request.abort(), PATIENCE);
    };
    request.open("POST", `api/${api}/`);
    request.setRequestHeader("token", token);
    request.upload.addEventListener("progress", (event) => {
      moved();
      progress(event.loaded / event.total);
    });
    request.addEventListener("load", () =>
      resolve(read(api, request.status, request.responseText, request.getResponseHeader("Retry-After"))),
    );
    for (const end of ["error", "abort"]) request.addEventListener(end, () => resolve(noAnswer(api)));
    request.addEventListener("loadend", () => clearTimeout(timer));
    const body = new FormData();
    body.append("file", file, "picture");
    request.send(body);
    moved();
    started(() => request.abort());
  });
}
