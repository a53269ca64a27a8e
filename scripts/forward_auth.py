#!/usr/bin/env -S python3 -B
"""Runs the snippets for forward auth with the real nginx and Caddy, and real programs behind them.

    scripts/forward_auth.py [--binary PATH]

Over TLS, with accountd's page, Radicale and a program of our own on three subdomains: users create and
read a calendar with the cookie, with a token and with the user key; another user, a user outside the
group, spoofed headers and used-up credentials do not get in; WebSockets, uploads of 100 MB and paths
without sign-in work. A relay records what accountd receives. Programs that are not installed are
SKIPPED. `cargo test` sends unusual requests to accountd itself; this script tests our snippets.
"""

import base64
import http.client
import json
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import harness
from harness import check
from peers.relay import Relay
from peers.reverse_proxies import Files, certificate
from proxies import SNIPPETS, adapt

ACCOUNTS, WIKI, CALENDAR = "accounts.example.org", "wiki.example.org", "calendar.example.org"
# The same program as the wiki, for sessions with a second factor.
VAULT = "vault.example.org"
# Source addresses of clients. The proxy's own address is 127.0.0.1.
HONEST, GUESSER = "127.0.0.2", "127.0.0.3"
UPLOAD_BYTES = 100_000_000
BROWSER = [("Accept", "text/html,application/xhtml+xml"), ("Sec-Fetch-Mode", "navigate")]
# Names that some program reads as the user's, written in every way that reaches it.
SPOOFED = [
    (name, "kaworu")
    for name in ["Remote-User", "remote-user", "Remote_User", "Remote-Groups", "Remote_Groups", "Remote-Name"]
    + ["Remote-Email", "X-Remote-User", "X_Remote_User", "X-Remote_User"]
]
# Addresses that a program may take for /private, though they begin like the path without sign-in.
DETOURS = ["/public/../private", "/public/%2e%2e/private", "/public/..%2fprivate", "/public//../private"]
DETOURS += ["/public/./../private", "/publicity", "/PUBLIC/../private", "//public/../private"]

Headers = list[tuple[str, str]]
Expect = Callable[[str, bool, object], None]


@dataclass
class Reply:
    """A response."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def seen(self) -> tuple[int, str, bytes]:
        """What a failed check prints."""
        return self.status, self.headers.get("Location", ""), self.body[:300]


class Client:
    """A client of a proxy, with a connection for each request."""

    def __init__(self, port: int, source: str = HONEST) -> None:
        self.port, self.source = port, source
        # The certificate is self-signed.
        self.tls = ssl._create_unverified_context()

    def connect(self, site: str) -> ssl.SSLSocket:
        plain = harness.connect(("127.0.0.1", self.port), 60, self.source)
        return self.tls.wrap_socket(plain, server_hostname=site)

    def head(self, site: str, path: str, method: str, headers: Headers) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {site}:{self.port}"]
        return "\r\n".join(lines + [f"{name}: {value}" for name, value in headers] + ["", ""]).encode()

    def ask(self, site: str, path: str, headers: Headers = [], method: str = "GET", body: bytes = b"", times: int = 1) -> Reply:
        """Sends a request whose body is repeated this often; returns the response."""
        length = [("Content-Length", str(len(body) * times))] if body or method == "POST" else []
        with self.connect(site) as connection:
            connection.sendall(self.head(site, path, method, headers + length + [("Connection", "close")]))
            try:
                for _ in range(times):
                    connection.sendall(body)
            except OSError:
                # A refusal came before everything was sent.
                pass
            answer = http.client.HTTPResponse(connection, method=method)
            answer.begin()
            return Reply(answer.status, answer.headers, answer.read())

    def login(self, name: str, extra: dict | None = None) -> tuple[str, str]:
        """Logs in on accountd's page; returns the token and the header Set-Cookie."""
        captcha = self.ask(ACCOUNTS, "/api/get_verification_code/").headers["VerificationCodeKey"]
        members = {"username": name, "passwd": harness.PASSWORD, "cookie": True} | (extra or {})
        body = json.dumps(harness.solved(members, captcha)).encode()
        reply = self.ask(ACCOUNTS, "/api/login/", BROWSER, "POST", body)
        return json.loads(reply.body)["message"], reply.headers.get("Set-Cookie", "")

    def post(self, path: str, members: dict, headers: Headers = []) -> object:
        """Posts JSON to accountd; returns the message."""
        return json.loads(self.ask(ACCOUNTS, path, headers, "POST", json.dumps(members).encode()).body)["message"]


class Program(BaseHTTPRequestHandler):
    """A program behind the proxy: returns what it was sent as JSON, and echoes after an upgrade."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        if self.headers["Upgrade"] == "websocket":
            self.close_connection = True
            self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            while data := self.rfile.read1(1 << 16):
                self.wfile.write(data)
            return
        left = int(self.headers["Content-Length"] or 0)
        received = 0
        while received < left:
            received += len(self.rfile.read1(min(1 << 20, left - received)))
        headers = {name.lower(): value.encode("latin-1").decode() for name, value in self.headers.items()}
        body = json.dumps({"path": self.path, "headers": headers, "received": received}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = answer

    def log_message(self, *_) -> None:
        pass


@dataclass
class Ports:
    """The port of the proxy, and of what is behind it."""

    proxy: int
    accountd: int
    wiki: int
    calendar: int


def nginx(folder: Path, ports: Ports, files: Files) -> list[str]:
    """The command that starts nginx with the snippets."""
    listen = f"listen 127.0.0.1:{ports.proxy} ssl; ssl_certificate {files[0]}; ssl_certificate_key {files[1]};"
    plain = "listen 80;\n    # listen 443 ssl; ssl_certificate …; ssl_certificate_key …;\n    server_name "
    page = [("server 127.0.0.1:9999;", f"server 127.0.0.1:{ports.accountd};"), (plain + ACCOUNTS, f"{listen} server_name {ACCOUNTS}")]
    programs = [(plain + site, f"{listen} server_name {site}") for site in [WIKI, CALENDAR]]
    programs.append(("proxy_pass http://127.0.0.1:5232;", f"proxy_pass http://127.0.0.1:{ports.calendar};"))
    for path in ["location / {", "auth_request off;"]:
        programs.append((f"{path}\n        proxy_pass http://127.0.0.1:8080;", f"{path} proxy_pass http://127.0.0.1:{ports.wiki};"))
    protect = [("https://accounts.example.org/#return=", f"https://{ACCOUNTS}:{ports.proxy}/#return=")]
    for snippet, name, changes in [
        ("nginx.conf", "accountd.conf", page),
        ("forward-auth.nginx.conf", "programs.conf", programs),
        ("forward-auth-protect.nginx.conf", "accountd-protect.conf", protect),
    ]:
        (folder / name).write_text(adapt((SNIPPETS / snippet).read_text(), changes))
    with_vault(folder / "programs.conf", ('$accountd_query ""', '$accountd_query "?factor=2"'))
    return harness.nginx_command(folder, f"include {folder}/accountd.conf; include {folder}/programs.conf;")


def caddy(folder: Path, ports: Ports, files: Files) -> list[str]:
    """The command that starts Caddy with the snippets."""

    def site(name: str) -> tuple[str, str]:
        return f"\n{name} {{", f"\nhttps://{name}:{ports.proxy} {{\n\tbind 127.0.0.1\n\ttls {files[0]} {files[1]}"

    accountd = f"127.0.0.1:{ports.accountd}"
    page = [site(ACCOUNTS), ("\treverse_proxy 127.0.0.1:9999 {", f"\treverse_proxy {accountd} {{")]
    programs = [site(WIKI), site(CALENDAR)]
    programs += [(f"forward_auth {start}127.0.0.1:9999 {{", f"forward_auth {start}{accountd} {{") for start in ["", "@closed "]]
    programs.append(("reverse_proxy 127.0.0.1:8080", f"reverse_proxy 127.0.0.1:{ports.wiki}"))
    programs.append(("reverse_proxy 127.0.0.1:5232", f"reverse_proxy 127.0.0.1:{ports.calendar}"))
    text = adapt((SNIPPETS / "Caddyfile").read_text(), page) + adapt((SNIPPETS / "forward-auth.Caddyfile").read_text(), programs)
    (folder / "Caddyfile").write_text("{\n\tadmin off\n\tauto_https off\n}\n" + text)
    with_vault(folder / "Caddyfile", ("/api/forward_auth/?", "/api/forward_auth/?factor=2"))
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


def with_vault(path: Path, query: tuple[str, str]) -> None:
    """Adds a copy of the wiki's site that needs a second factor."""
    text = path.read_text()
    start = text.index("# A program that every user may open")
    site = text[start : text.index("# Radicale (type")]
    path.write_text(text + "\n" + adapt(site, [(WIKI, VAULT), query]))


def basic(name: str, secret: str) -> Headers:
    """HTTP Basic, as a calendar client sends it."""
    return [("Authorization", "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode())]


def cookie(token: str) -> Headers:
    return [("Cookie", f"accountd={token}")]


def seen_by_program(reply: Reply) -> dict[str, str]:
    """The headers that our program received; empty if it received no request."""
    return json.loads(reply.body)["headers"] if reply.status == 200 else {}


def event(name: str) -> bytes:
    """A calendar with one event."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:accountd", "BEGIN:VEVENT", f"UID:{name}", "DTSTAMP:20261125T000000Z"]
    lines += ["DTSTART:20261125T100000Z", f"SUMMARY:event of {name}", "END:VEVENT", "END:VCALENDAR", ""]
    return "\r\n".join(lines).encode()


def received_by_accountd(relay: Relay) -> int:
    """The bytes that the proxy has sent to accountd."""
    return sum(len(recording.request) for recording in relay.recordings)


def try_signed_out(client: Client, expect: Expect) -> None:
    """Clients without credentials."""
    wanted = f"https://{ACCOUNTS}:{client.port}/#return=https://{WIKI}:{client.port}/page?a=1&b=2"
    forged = [("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Uri", "/evil"), ("X-Forwarded-Proto", "http")]
    forged += [("X-Original-URL", "https://evil.example/"), ("X-Forwarded-Method", "GET"), ("Forwarded", "host=evil.example")]
    for headers in [BROWSER, BROWSER + forged]:
        reply = client.ask(WIKI, "/page?a=1&b=2", headers)
        seen = reply.status, unquote(reply.headers.get("Location", ""))
        expect("a browser goes to the sign-in page, and back to the address that it asked for", seen == (303, wanted), seen)
    reply = client.ask(WIKI, "/page", BROWSER + forged, "POST", b"a=1")
    expect("a form gets 401 and no redirect", reply.status == 401, reply.seen)
    reply = client.ask(CALENDAR, "/", [("Accept", "*/*")])
    challenge = reply.headers.get_all("WWW-Authenticate") or []
    expect("a calendar client is asked for HTTP Basic, once", (reply.status, len(challenge)) == (401, 1), (reply.status, challenge))
    reply = client.ask(CALENDAR, "/", [("Accept", "*/*"), ("Sec-Fetch-Mode", "cors")])
    challenge = reply.headers.get_all("WWW-Authenticate") or []
    expect("a script in a browser is not", (reply.status, challenge) == (401, []), (reply.status, challenge))
    reply = client.ask(WIKI, "/", [("Accept", "*/*")] + SPOOFED)
    expect("spoofed names open nothing", reply.status == 401, reply.seen)


def try_headers(client: Client, token: str, name: str, relay: Relay, expect: Expect) -> None:
    """What the program and accountd receive, and on which paths."""
    cookies = [("Cookie", f"theme=dunkelgrün; accountd={token}; session=42")]
    forged = [("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Proto", "http")]
    received = seen_by_program(client.ask(WIKI, "/", BROWSER + cookies + SPOOFED + forged + [("Authorization", "Bearer x")]))
    wanted = {"remote-user": name, "remote-name": f"{name} 阿巴", "remote-email": f"{name}@example.org", "remote-groups": "family"}
    named = {key: value for key, value in received.items() if "remote" in key and key != "x-remote-user"}
    expect("the program is told the user and nothing that the client made up", named == wanted, received)
    expect("Radicale's header has that user or is absent", received.get("x-remote-user", name) == name, received)
    expect("the program gets its cookies without accountd's", received.get("cookie", "").strip("; ") == "theme=dunkelgrün; session=42", received)
    expect("the program does not get Authorization", "authorization" not in received, received)
    address = [received.get(f"x-forwarded-{key}") for key in ["for", "host", "proto"]]
    expect("the proxy writes X-Forwarded-* itself", address == [HONEST, f"{WIKI}:{client.port}", "https"], address)
    asked = b"".join(bytes(recording.request) for recording in relay.recordings)
    expect("accountd gets only its own cookie", b"session=42" not in asked and "grün".encode() not in asked, asked[-600:])

    for headers in [[], BROWSER + SPOOFED, cookies + SPOOFED]:
        reply = client.ask(WIKI, "/public/page", headers)
        received = seen_by_program(reply)
        leaked = [key for key in received if "remote" in key] + ["cookie"] * (token in received.get("cookie", ""))
        expect("a path without sign-in is open, and names no user", reply.status == 200 and not leaked, (reply.seen, leaked))
    for path in DETOURS:
        reply = client.ask(WIKI, path)
        # A program would see /private; 400 and 404 are the proxy's own.
        expect(f"{path} is closed", reply.status in (400, 401, 404), reply.seen)


def try_calendars(client: Client, users: dict[str, tuple[str, str]], expect: Expect) -> None:
    """Radicale, which reads the user's name from a header. `users` has tokens and user keys."""
    token, key = users["rei"]
    for number, (what, headers) in enumerate(
        [("the cookie", cookie(token)), ("HTTP Basic and the user key", basic("rei", key)), ("a token", [("Authorization", f"Bearer {token}")])]
    ):
        made = client.ask(CALENDAR, f"/rei/{number}/", headers, "MKCALENDAR")
        put = client.ask(CALENDAR, f"/rei/{number}/1.ics", headers + [("Content-Type", "text/calendar")], "PUT", event("rei"))
        expect(f"a calendar is created with {what}", (made.status, put.status) == (201, 201), (made.seen, put.seen))
        read = client.ask(CALENDAR, f"/rei/{number}/1.ics", headers)
        expect(f"the calendar is read with {what}", b"SUMMARY:event of rei" in read.body, read.seen)

    others = cookie(users["kaworu"][0])
    client.ask(CALENDAR, "/kaworu/0/", others, "MKCALENDAR")
    listed = client.ask(CALENDAR, "/", others + [("Depth", "1")], "PROPFIND")
    expect("another user sees only their own collection", b"/kaworu/" in listed.body and b"/rei/" not in listed.body, listed.seen)
    names = ["Remote-User", "X-Remote-User", "X_Remote_User", "X-Remote_User", "x_remote-user"]
    for headers in [[]] + [[(name, "rei")] for name in names]:
        for order in [headers + others, others + headers]:
            reply = client.ask(CALENDAR, "/rei/0/1.ics", order)
            expect(f"another user cannot read it, with {headers}", reply.status == 403 and b"SUMMARY" not in reply.body, reply.seen)

    outside, outsiders_key = users["asuka"]
    for headers in [cookie(outside), cookie(outside) + BROWSER, basic("asuka", outsiders_key)]:
        reply = client.ask(CALENDAR, "/asuka/", headers, "PROPFIND")
        expect("a user outside the group gets 403", reply.status == 403, reply.seen)
    reply = client.ask(CALENDAR, "/", cookie(outside) + BROWSER)
    told = reply.status == 403 and b"asuka" in reply.body and b"family" in reply.body
    expect("a page says who is signed in and which group is needed", told, reply.seen)
    reply = client.ask(CALENDAR, "/rei/", cookie(token), "PROPFIND")
    expect("a user in the group is let through", reply.status == 207, reply.seen)
    reply = client.ask(WIKI, "/", cookie(outside))
    expect("a program without a group is open to that user", seen_by_program(reply).get("remote-user") == "asuka", reply.seen)


def try_refused(client: Client, users: dict[str, tuple[str, str]], relay: Relay, expect: Expect) -> None:
    """Credentials that are wrong, doubled, too large or of another user."""
    (token, key), (other, _) = users["rei"], users["kaworu"]
    for what, headers in [
        ("the password", basic("rei", harness.PASSWORD)),
        ("another user's key", basic("kaworu", key)),
        ("a made-up cookie", cookie("x" * 250)),
        ("a cookie of another name", [("Cookie", f"xaccountd={token}")]),
        ("two cookies, the wrong one first", [("Cookie", f"accountd={other}; accountd={token}")]),
        ("two cookies, the wrong one last", [("Cookie", f"accountd={token}; accountd={other}")]),
        ("two cookies with another between", [("Cookie", f"accountd={token}; a=1; accountd=")]),
        ("two headers with a cookie each", cookie(token) + cookie(other)),
        ("a token in the address", []),
    ]:
        reply = client.ask(WIKI, f"/?token={token}", headers + [("Accept", "*/*")])
        expect(f"{what} is refused", reply.status == 401, reply.seen)
    large = "; ".join(f"c{number}={'v' * 990}" for number in range(100))
    for headers in [[("Cookie", large)], cookie("a" * 100_000)]:
        reply = client.ask(WIKI, "/", headers + [("Accept", "*/*")])
        expect("100 KB of cookies open nothing", reply.status in (400, 401, 431, 494), reply.seen)
    before = received_by_accountd(relay)
    client.ask(WIKI, "/", [("Cookie", f"{large}; accountd={token}")])
    # nginx refuses so much; Caddy passes it on to our program, which refuses it in one of several ways.
    received = received_by_accountd(relay) - before
    expect("100 KB beside a valid cookie do not reach accountd", received < 10_000, received)
    reply = client.ask(WIKI, "/", cookie(token))
    expect("the next request is served", reply.status == 200, reply.seen)


def try_transport(client: Client, token: str, relay: Relay, expect: Expect) -> None:
    """WebSockets and uploads."""
    upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "AAAA")]
    with client.connect(WIKI) as connection:
        connection.sendall(client.head(WIKI, "/socket", "GET", cookie(token) + upgrade))
        head = b""
        while b"\r\n\r\n" not in head and (data := connection.recv(1 << 16)):
            head += data
        echoed = b""
        if head.startswith(b"HTTP/1.1 101"):
            connection.sendall(b"\x81\x05hello")
            echoed = connection.recv(64)
        expect("a WebSocket passes", echoed == b"\x81\x05hello", (head, echoed))
    reply = client.ask(WIKI, "/socket", upgrade)
    expect("a WebSocket without credentials is refused", reply.status == 401, reply.seen)

    before = received_by_accountd(relay)
    reply = client.ask(WIKI, "/upload", cookie(token), "PUT", bytes(1_000_000), UPLOAD_BYTES // 1_000_000)
    expect("an upload of 100 MB passes", reply.status == 200 and json.loads(reply.body)["received"] == UPLOAD_BYTES, reply.seen)
    received = received_by_accountd(relay) - before
    expect("accountd does not get its body", 0 < received < 10_000, received)


def try_factor(client: Client, user: tuple[str, str], other: str, expect: Expect) -> None:
    """A program that needs a second factor. `user` has a token and a user key; `other` is another session's token."""
    token, key = user
    password = {"token": token, "passwd": harness.PASSWORD}
    reply = client.ask(VAULT, "/", cookie(token) + BROWSER)
    expect("a session without a second factor goes to the sign-in page", reply.status == 303, reply.seen)
    secret = client.post("/api/totp_begin/", password)["secret"]
    codes = client.post("/api/totp_confirm/", password | {"otp": harness.otp(secret)})
    expect("the session that turns the second factor on has it", client.ask(VAULT, "/", cookie(token)).status == 200, codes)
    for what, headers in [("the user key", basic("asuka", key)), ("another user's session", cookie(other))]:
        reply = client.ask(VAULT, "/", headers + [("Accept", "*/*")])
        seen = reply.status, reply.headers.get("WWW-Authenticate")
        expect(f"{what} is not enough, and no challenge asks for a user key", seen == (401, None), seen)
    expect("the user key opens other programs", client.ask(WIKI, "/", basic("asuka", key)).status == 200, "")
    token, _ = client.login("asuka", {"otp": codes[0]})
    reply = client.ask(VAULT, "/", cookie(token))
    expect("a session that was opened with a recovery code has it", seen_by_program(reply).get("remote-user") == "asuka", reply.seen)


def try_endings(client: Client, server: harness.Server, binary: Path, expect: Expect) -> None:
    """Sessions that end, guesses, and an accountd that does not answer."""
    token, set_cookie = client.login("kaworu")
    expect("the new session opens", client.ask(WIKI, "/", cookie(token)).status == 200, set_cookie)
    client.post("/api/logout/", {"token": token}, cookie(token))
    reply = client.ask(WIKI, "/", cookie(token))
    expect("a cookie is worthless after log-out", reply.status == 401, reply.seen)

    token, _ = client.login("kaworu")
    run(binary, server, "user", "disable", "kaworu")
    reply = client.ask(WIKI, "/", cookie(token))
    expect("a disabled user is out with the next request", reply.status == 401, reply.seen)

    guesser = Client(client.port, GUESSER)
    for number in range(40):
        reply = guesser.ask(WIKI, "/", basic("rei", f"guess {number}"))
        if reply.status != 401:
            break
    seen = reply.status, reply.headers.get("Retry-After")
    expect("guesses at the user key get 429 with Retry-After", seen[0] == 429 and int(seen[1] or 0) >= 1, seen)

    token, _ = client.login("rei")
    harness.stop(server)
    reply = client.ask(WIKI, "/", cookie(token))
    expect("without accountd everything is closed", reply.status in (502, 503), reply.seen)
    expect("but the path without sign-in", client.ask(WIKI, "/public/", cookie(token)).status == 200, "")


def run(binary: Path, server: harness.Server, *words: str) -> None:
    """Runs a command on the server's data folder."""
    done = subprocess.run([binary, *words, "--data", server.data], capture_output=True, text=True)
    check(f"accountd {' '.join(words)}", done.returncode == 0, done.stderr, quiet=True)


def try_proxy(name: str, command: Callable[[Path, Ports, Files], list[str]], binary: Path, folder: Path, wiki: int, calendar: int) -> None:
    """Makes all checks behind one proxy."""
    port = harness.free_port()

    def expect(what: str, right: bool, seen: object) -> None:
        check(f"{name}: {what}", right, seen, quiet=True)

    settings = {"totp_key": "a key", "trusted_proxies": "127.0.0.1", "cookie_domain": "example.org", "public_url": f"https://{ACCOUNTS}:{port}"}
    server = harness.start(binary, folder / "data", settings, log=folder / "log")
    before = len(harness.failures)
    proxy = None
    try:
        relay = Relay(server.address)
        for user in ["rei", "kaworu", "asuka"]:
            harness.register(server, user)
        run(binary, server, "group", "add", "family")
        run(binary, server, "user", "group", "rei", "+family")
        run(binary, server, "user", "group", "kaworu", "+family")
        ports = Ports(port, relay.address[1], wiki, calendar)
        proxy = harness.start_proxy(command(folder, ports, certificate(folder, "DNS:*.example.org")), folder, [port])
        client = Client(port)
        users = {}
        for user in ["rei", "kaworu", "asuka"]:
            token, set_cookie = client.login(user)
            value, *attributes = [part.strip().lower() for part in set_cookie.split(";")]
            wanted = {"domain=example.org", "path=/", "secure", "httponly", "samesite=lax"}
            expect("the cookie is the token, for all subdomains", value == f"accountd={token}".lower() and wanted <= set(attributes), set_cookie)
            users[user] = token, client.post("/api/user_info/", {"token": token})["key"]
        token = users["rei"][0]
        try_signed_out(client, expect)
        try_headers(client, token, "rei", relay, expect)
        try_calendars(client, users, expect)
        try_refused(client, users, relay, expect)
        try_transport(client, token, relay, expect)
        try_factor(client, users["asuka"], token, expect)
        try_endings(client, server, binary, expect)
    finally:
        if proxy:
            proxy.terminate()
            proxy.wait()
        harness.kill(server)
    if len(harness.failures) == before:
        print(f"ok     forward auth behind {name}")


def radicale(folder: Path) -> tuple[subprocess.Popen, int]:
    """Starts Radicale, which takes the user's name from X-Remote-User; returns it and its port."""
    folder.mkdir()
    port = harness.free_port()
    command = ["radicale", "--config", "", "--server-hosts", f"127.0.0.1:{port}", "--auth-type", "http_x_remote_user"]
    command += ["--storage-filesystem-folder", str(folder / "collections")]
    return harness.start_proxy(command, folder, [port]), port


def main() -> int:
    binary = harness.need_binary(harness.parser(__doc__).parse_args().binary)
    if not shutil.which("radicale"):
        print("SKIPPED forward auth: radicale is not installed")
        return 0
    wiki = ThreadingHTTPServer(("127.0.0.1", 0), Program)
    threading.Thread(target=wiki.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="accountd-forward-auth-") as name:
        for proxy, command in [("nginx", nginx), ("caddy", caddy)]:
            if not shutil.which(proxy):
                print(f"SKIPPED {proxy}: not installed")
                continue
            folder = Path(name) / proxy
            folder.mkdir()
            program, port = radicale(folder / "radicale")
            try:
                try_proxy(proxy, command, binary, folder, wiki.server_port, port)
            finally:
                program.terminate()
                program.wait()
    return harness.verdict()


if __name__ == "__main__":
    sys.exit(main())
