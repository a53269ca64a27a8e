// Requests to the server's interfaces.
//
// An answer is { api, status, code, message }, for status 429 with `wait` in seconds; without an
// answer of the server it is { api, offline: true }.

const OFFLINE = (api) => ({ api, offline: true });

function read(api, status, text, retryAfter) {
  try {
    const { code, message } = JSON.parse(text);
    const answer = { api, status, code, message };
    if (status === 429) answer.wait = Math.max(1, Number(retryAfter) || 1);
    return answer;
  } catch {
    // Something else has answered: a proxy, say.
    return OFFLINE(api);
  }
}

/// Calls an interface with these members in the body.
export async function call(api, members) {
  try {
    const response = await fetch(`api/${api}/`, { method: "POST", body: JSON.stringify(members) });
    return read(api, response.status, await response.text(), response.headers.get("Retry-After"));
  } catch {
    return OFFLINE(api);
  }
}

/// Fetches a captcha: { api, key, picture }, or the answer that refuses it.
export async function fetchCaptcha() {
  const api = "get_verification_code";
  try {
    const response = await fetch(`api/${api}/`, { cache: "no-store" });
    const key = response.headers.get("VerificationCodeKey");
    if (key) return { api, key, picture: await response.blob() };
    return read(api, response.status, await response.text(), response.headers.get("Retry-After"));
  } catch {
    return OFFLINE(api);
  }
}

/// Uploads a picture. `progress` gets the part that is sent, from 0 to 1, and `started` a function
/// that aborts the upload.
export function upload(token, file, progress, started) {
  const api = "upload_avatar";
  return new Promise((resolve) => {
    // fetch() does not report the progress of an upload.
    const request = new XMLHttpRequest();
    request.open("POST", `api/${api}/`);
    request.setRequestHeader("token", token);
    request.upload.addEventListener("progress", (event) => progress(event.loaded / event.total));
    request.addEventListener("load", () =>
      resolve(read(api, request.status, request.responseText, request.getResponseHeader("Retry-After"))),
    );
    for (const end of ["error", "abort"]) request.addEventListener(end, () => resolve(OFFLINE(api)));
    const body = new FormData();
    body.append("file", file, "picture");
    request.send(body);
    started(() => request.abort());
  });
}
