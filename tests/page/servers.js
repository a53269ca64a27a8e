// Servers (started by scripts/harness.py), and proxies in front of them. page.js has what the tests do with the page.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import http from "node:http";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../..", import.meta.url));
const BINARY = join(root, "target/release/accountd");

export const CAPTCHA = "k7m3xp";
export const KEY = "a registration key";
export const RESET = "a reset key";
export const PASSWORD = "a password";

/// Starts a server with these settings in addition to those that the tests need.
export async function serve(settings = {}) {
  const all = {
    secret_key_required_for_account_registration: KEY,
    forget_password_key: RESET,
    forgot_password_function_status: true,
    totp_key: "a key for secrets",
    throttle: false,
    ...settings,
  };
  const options = Object.entries(all).flatMap((pair) => ["--set", pair.join("=")]);
  // It stops the server when its standard input ends, so also when this process does.
  const harness = spawn(join(root, "scripts/harness.py"), ["serve", ...options], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise((resolve) => harness.once("exit", resolve));
  const line = await Promise.race([new Promise((resolve) => createInterface(harness.stdout).once("line", resolve)), ended]);
  assert.equal(typeof line, "string", `harness.py exited with code ${line}`);
  const { URL: url, DATA: data } = JSON.parse(line);
  for (const handle of [harness, harness.stdin, harness.stdout]) handle.unref();

  async function post(api, members, solved = false) {
    if (solved) {
      const captcha = await fetch(`${url}/api/get_verification_code/`);
      await captcha.arrayBuffer();
      const key = captcha.headers.get("VerificationCodeKey");
      members = { ...members, verification_code_key: key, verification_code: CAPTCHA };
    }
    const response = await fetch(`${url}/api/${api}/`, { method: "POST", body: JSON.stringify(members) });
    return response.json();
  }

  /// Runs a command of an administrator; returns its output.
  const command = (...words) =>
    execFileSync(BINARY, [...words, "--data", data], { stdio: ["ignore", "pipe", "ignore"], encoding: "utf8" });

  return {
    url,
    post,
    /// Registers an account without the page.
    async register(username, more = {}) {
      const email = `${encodeURIComponent(username)}@example.org`;
      const user = { username, show_name: username, passwd: PASSWORD, email, key: KEY, ...more };
      assert.equal((await post("registered", user, true)).code, 200);
    },
    /// Logs in without the page; returns the token.
    async login(username, passwd = PASSWORD) {
      return (await post("login", { username, passwd }, true)).message;
    },
    command,
    /// Creates a link by a command: its key, and more.
    link: (...words) => JSON.parse(command(...words, "--json")),
    info: async (token) => (await post("user_info", { token })).message,
    async stop() {
      harness.stdin.end();
      assert.equal(await ended, 0);
    },
  };
}

/// A server behind a proxy that guards programs as docs/forward-auth.md tells nginx to: auth.example.test leads to the
/// server, and every other host is a program that is shown to signed-in users. `options` changes what the proxy does:
/// `drops`, a path of the server that is answered with 404; `cookies`, whether it passes cookies on to the browser;
/// `forwards`, whether it passes them on to the server; `factor`, whether it demands a second factor.
export async function gate(settings = {}) {
  const options = { drops: "", cookies: true, forwards: true, factor: false };
  let server;
  const pass = (request, response) => {
    const { method, url: path, headers } = request;
    const onward = http.request(server.url + path, { method, headers }, (answer) => {
      const kept = Object.entries(answer.headers).filter(([name]) => options.cookies || name !== "set-cookie");
      response.writeHead(answer.statusCode, Object.fromEntries(kept));
      answer.pipe(response);
    });
    onward.on("error", () => response.destroy());
    request.pipe(onward);
  };
  const guard = async ({ headers, url: path }, response) => {
    const cookie = options.forwards && headers.cookie ? { cookie: headers.cookie } : {};
    const answer = await fetch(`${server.url}/api/forward_auth/${options.factor ? "?factor=2" : ""}`, { headers: cookie });
    if (answer.status === 401) {
      return response.writeHead(303, { Location: `${url}/#return=http://${headers.host}${path}` }).end();
    }
    response.writeHead(answer.status, { "Content-Type": "text/html" });
    const name = answer.headers.get("Remote-User");
    response.end(`<link rel=icon href=data:,><title>${headers.host}</title><p>${path} for ${name}</p>`);
  };
  const proxy = http.createServer((request, response) => {
    if (!request.headers.host.startsWith("auth.")) return guard(request, response);
    if (request.url === options.drops) return response.writeHead(404).end();
    return pass(request, response);
  });
  await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  proxy.unref();
  const { port } = proxy.address();
  const url = `http://auth.example.test:${port}`;
  server = await serve({ public_url: url, cookie_domain: "example.test", ...settings });
  return {
    ...server,
    url,
    options,
    /// Its address without the proxy.
    direct: server.url,
    program: (host) => `http://${host}.example.test:${port}`,
    async stop() {
      proxy.closeAllConnections();
      proxy.close();
      await server.stop();
    },
  };
}

/// The server behind a proxy that disturbs requests: a test changes `rules`, in which a path has what becomes of it.
///
/// - an object { status, headers, json }: the answer in place of the server's;
/// - a function of the request, the response and `pass`, which passes both on to the server.
///
/// DROP and `hold()` are such functions. `delay` are milliseconds by which every request is delayed.
export async function disturbed(server) {
  const line = { ...server, rules: {}, delay: 0 };
  const pass = (request, response, body) => {
    const { method, url: path, headers } = request;
    const onward = http.request(server.url + path, { method, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    onward.on("error", () => response.destroy());
    if (body) onward.end(body);
    else request.pipe(onward);
  };
  const proxy = http.createServer(async (request, response) => {
    if (line.delay) await new Promise((go) => setTimeout(go, line.delay));
    const rule = line.rules[new URL(request.url, server.url).pathname];
    if (!rule) return pass(request, response);
    if (typeof rule === "function") return rule(request, response, pass);
    const { status = 200, headers = {}, json } = rule;
    request.resume().on("end", () => response.writeHead(status, { "Content-Type": "application/json", ...headers }).end(JSON.stringify(json)));
  });
  await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  proxy.unref();
  line.url = `http://127.0.0.1:${proxy.address().port}`;
  line.stop = () => {
    proxy.closeAllConnections();
    proxy.close();
  };
  return line;
}

/// A rule that closes the connection without an answer.
export const DROP = (request) => request.socket.destroy();

/// A rule that leaves requests without an answer. `arrived` is a promise of the first one: `closed` is a promise of the
/// end of its connection, and `pass()` passes it on to the server.
export function hold() {
  let took;
  const arrived = new Promise((resolve) => (took = resolve));
  const rule = (request, response, pass) => {
    const closed = new Promise((resolve) => response.once("close", resolve));
    // The end of a connection is noticed only while it is read.
    const body = [];
    request.on("data", (bytes) => body.push(bytes));
    request.on("end", () => took({ closed, pass: () => pass(request, response, Buffer.concat(body)) }));
  };
  return Object.assign(rule, { arrived });
}
