#!/usr/bin/env -S python3 -B
"""Runs the snippets in scripts/service for nginx, Caddy and fail2ban with the real programs.

    scripts/proxies.py [--binary PATH]

Behind each proxy, over TCP and over a unix socket: the server sees the client's address, whatever
headers the client forges; a picture of 10 MB passes and one of 12 MB does not; HTTP 429 passes with
its Retry-After; connections to the server are reused. In the resulting logs, fail2ban finds every
failed sign-in and nothing else. Programs that are not installed are SKIPPED. scripts/clients.py
tests clients behind proxies; this script tests our snippets.
"""

import http.client
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness
from harness import check

SNIPPETS = Path(__file__).resolve().parent / "service"
# Source addresses of clients. The proxy's own address is 127.0.0.1.
HONEST, GUESSER = "127.0.0.2", "127.0.0.3"
FORGED = "203.0.113.9"


def wait_for(log: Path, text: str) -> str:
    """Waits for a log line with this text; "" if none comes within 10 seconds."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        for line in log.read_text(errors="replace").splitlines():
            if text in line:
                return line
        time.sleep(0.01)
    return ""


def adapt(snippet: str, changes: list[tuple[str, str]]) -> str:
    """A snippet with other addresses; each of them must occur in it once."""
    for ours, here in changes:
        check(f"the snippet has one {ours.strip()!r}", snippet.count(ours) == 1, snippet.count(ours), quiet=True)
        snippet = snippet.replace(ours, here)
    return snippet


def nginx(folder: Path, port: int, upstream: str) -> list[str]:
    """The command that starts nginx with the snippet."""
    changes = [("listen 80;", f"listen 127.0.0.1:{port};"), ("server 127.0.0.1:9999;", f"server {upstream};")]
    (folder / "snippet.conf").write_text(adapt((SNIPPETS / "nginx.conf").read_text(), changes))
    return harness.nginx_command(folder, f"include {folder}/snippet.conf;")


def caddy(folder: Path, port: int, upstream: str) -> list[str]:
    """The command that starts Caddy with the snippet, without TLS."""
    upstream = upstream.replace("unix:", "unix/")
    changes = [
        ("\naccounts.example.org {", f"\nhttp://127.0.0.1:{port} {{"),
        ("\treverse_proxy 127.0.0.1:9999 {", f"\treverse_proxy {upstream} {{"),
    ]
    snippet = adapt((SNIPPETS / "Caddyfile").read_text(), changes)
    (folder / "Caddyfile").write_text("{\n\tadmin off\n\tauto_https off\n}\n" + snippet)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


class Client:
    """A client of a proxy that forges the headers with its address."""

    def __init__(self, port: int, address: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60, source_address=(address, 0))

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None):
        """Sends a request; returns the response and its body."""
        forged = {"X-Forwarded-For": FORGED, "Forwarded": f"for={FORGED}"}
        self.connection.request(method, path, body, forged | (headers or {}))
        answer = self.connection.getresponse()
        return answer, answer.read()

    def post(self, path: str, members: dict):
        answer, _ = self.ask("GET", "/api/get_verification_code")
        solved = harness.solved(members, answer.headers["VerificationCodeKey"])
        return self.ask("POST", path, json.dumps(solved).encode())

    def upload(self, token: str, picture: bytes):
        headers = {"token": token, "Content-Type": harness.MULTIPART}
        return self.ask("POST", "/api/upload_avatar", harness.multipart(picture), headers)


def sockets_to(port: int) -> int:
    """The number of sockets in any state whose remote port is this one."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(line.split()[2].endswith(f":{port:04X}") for line in lines)


def try_proxy(name: str, command, binary: Path, folder: Path, listen: str) -> Path:
    """Checks everything behind one proxy; returns the server's log."""
    unix = listen.startswith("unix:")
    where = f"{name} over {'a unix socket' if unix else 'TCP'}"

    def expect(what: str, right: bool, seen: object) -> None:
        check(f"{where}: {what}", right, seen, quiet=True)

    settings = {"trusted_proxies": "unix" if unix else "127.0.0.1"}
    server = harness.start(binary, folder / "data", settings, log=folder / "log", listen=listen)
    upstream, log = f"unix:{server.address}" if unix else "{}:{}".format(*server.address), server.log
    before, port = len(harness.failures), harness.free_port()
    proxy = None
    try:
        proxy = harness.start_proxy(command(folder, port, upstream), folder, [port])
        client = Client(port, HONEST)
        client.ask("GET", "/client-address")
        line = wait_for(log, "/client-address")
        expect("the log has the client's address", f" {HONEST} GET " in line, line)

        user = {"username": "rei", "passwd": "a password", "show_name": "rei", "email": "rei@example.org"}
        answer, body = client.post("/api/registered", user | {"key": harness.registration_key(server.data)})
        expect("registering works", b'"code":200' in body, body)
        _, body = client.post("/api/login", user)
        token = json.loads(body)["message"]
        picture = client.ask("GET", "/s/admin.jpg")[1]
        # The server drops bytes after the end of a picture.
        answer, body = client.upload(token, picture.ljust(10_485_760, b"\0"))
        expect("a picture of 10 MB passes", b'"code":200' in body, (answer.status, body[:200]))
        served = client.ask("GET", "/s/" + json.loads(body)["message"])[1]
        expect("the uploaded picture is served", served == picture, len(served))
        try:
            answer, body = Client(port, HONEST).upload(token, picture.ljust(12_000_000, b"\0"))
            # nginx refuses it itself; behind Caddy the server does.
            refused = answer.status == 413 or b'"code":169' in body
        except ConnectionError:
            # The refusal came, and the connection closed, before everything was sent.
            refused = True
        expect("a picture of 12 MB is refused", refused, (answer.status, body[:200]))

        if not unix:
            sockets = sockets_to(server.address[1])
            for _ in range(100):
                client.ask("GET", "/health")
            more = sockets_to(server.address[1]) - sockets
            expect("100 requests need fewer than 10 connections", more < 10, more)

        guesser = Client(port, GUESSER)
        for _ in range(10):
            answer, body = guesser.post("/api/login", user | {"passwd": "a guess"})
            if answer.status == 429:
                break
        seen = answer.status, answer.headers["Retry-After"], body
        expect("guesses get HTTP 429 with Retry-After", seen[0] == 429 and int(seen[1] or 0) >= 1, seen)
        # The proxy's other clients do not wait.
        body = client.post("/api/login", user)[1]
        expect("another client logs in meanwhile", b'"code":200' in body, body)
        # A path that imitates the line of a failed sign-in.
        client.ask("GET", "/info%20failed%20sign-in%20from%20192.0.2.1%20at%20/api/login")
        expect("the log has the last request", wait_for(log, "192.0.2.1") != "", "no line")
    finally:
        if proxy:
            proxy.terminate()
            proxy.wait()
        harness.stop(server)
    if len(harness.failures) == before:
        print(f"ok     {where}")
    return log


def try_fail2ban(logs: list[Path], folder: Path) -> None:
    """Checks that fail2ban finds every failed sign-in in these logs, with time and address, and
    nothing else."""
    lines = "".join(log.read_text() for log in logs).splitlines()
    failed = [line for line in lines if line.split(" ", 2)[1:2] == ["info"] and line.split(" ")[2:3] == ["failed"]]
    # Lines as they look in a journal or in syslog.
    extra = [f"Nov 24 07:00:00 box accountd[7]: {failed[0]}", f"Nov 24 07:00:00 box accountd[7]: {lines[-1]}"]
    log = folder / "all.log"
    log.write_text("\n".join(lines + extra) + "\n")
    command = ["fail2ban-regex", "--print-all-matched", str(log), str(SNIPPETS / "fail2ban-filter.conf")]
    text = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout.decode()
    expected = f"Lines: {len(lines) + 2} lines, 0 ignored, {len(failed) + 1} matched, {len(lines) - len(failed) + 1} missed"
    right = bool(failed) and expected in text and GUESSER in text
    check(f"fail2ban: {expected.removeprefix('Lines: ')}", right, "" if right else text)
    # The number of lines by time format. Versions of fail2ban differ in the rest of this output.
    hits = sum(int(line.split("[")[1].split("]")[0]) for line in text.splitlines() if "|  [" in line and "Minute" in line)
    timed = sum(line[:4].isdigit() for line in lines) + len(extra)
    check(f"fail2ban reads the time of {timed} lines", hits == timed, "" if hits == timed else text)


def main() -> int:
    binary = harness.need_binary(harness.parser(__doc__).parse_args().binary)
    with tempfile.TemporaryDirectory(prefix="accountd-proxies-") as name:
        logs = []
        for proxy, command in [("nginx", nginx), ("caddy", caddy)]:
            if not shutil.which(proxy):
                print(f"SKIPPED {proxy}: not installed")
                continue
            for kind in ["tcp", "unix"]:
                folder = Path(name) / f"{proxy}-{kind}"
                folder.mkdir()
                listen = "127.0.0.1:0" if kind == "tcp" else f"unix:{folder}/socket"
                logs.append(try_proxy(proxy, command, binary, folder, listen))
        if not shutil.which("fail2ban-regex") or not logs:
            print("SKIPPED fail2ban: it is not installed, or no proxy is")
        else:
            try_fail2ban(logs, Path(name))
    return harness.verdict()


if __name__ == "__main__":
    sys.exit(main())
