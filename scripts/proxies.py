#!/usr/bin/env python3
"""Tries the snippets of scripts/service for nginx, Caddy and fail2ban with the real programs, over TCP and a unix socket.

    scripts/proxies.py [--binary PATH]

Behind each proxy: the client's address arrives, whatever the client says it is; a picture of 10 MB passes, one of 12 MB does
not; HTTP 429 passes with its Retry-After; connections to the server are used again. fail2ban finds the failed sign-ins of
the logs that come of it, and nothing else. Says SKIPPED of programs that are not there.
"""

import argparse
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness

SNIPPETS = Path(__file__).resolve().parent / "service"
# Where honest clients and guessers come from: the proxy's own address is 127.0.0.1.
HONEST, GUESSER = "127.0.0.2", "127.0.0.3"
FORGED = "203.0.113.9"


def check(condition: bool, what: str, found: object) -> None:
    if not condition:
        raise SystemExit(f"FAILED: {what}: {found}")


def serve(binary: Path, folder: Path, listen: str, proxy: str) -> tuple[subprocess.Popen, str, Path]:
    """A server, the address that it got, and its log."""
    log = folder / "log"
    environment = os.environ | {"ACCOUNTD_TRUSTED_PROXIES": proxy}
    command = [binary, "--data", folder / "data", "--listen", listen, "--captcha-answer", harness.CAPTCHA]
    with open(log, "wb") as sink:
        process = subprocess.Popen(command, stderr=sink, env=environment)
    return process, wait_for(log, "listening on ").removeprefix("listening on ").removeprefix("http://"), log


def wait_for(log: Path, text: str) -> str:
    """The line of a log that has this text."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        for line in log.read_text(errors="replace").splitlines() if log.exists() else []:
            if text in line:
                return line
        time.sleep(0.01)
    raise SystemExit(f"FAILED: no line {text!r} in {log.read_text()}")


def nginx(folder: Path, port: int, upstream: str) -> list[str]:
    """The command of an nginx that has the snippet."""
    snippet = (SNIPPETS / "nginx.conf").read_text()
    for there, here in [("listen 80;", f"listen 127.0.0.1:{port};"), ("server 127.0.0.1:9999;", f"server {upstream};")]:
        check(snippet.count(there) == 1, "nginx.conf", there)
        snippet = snippet.replace(there, here)
    (folder / "snippet.conf").write_text(snippet)
    return harness.nginx_command(folder, f"include {folder}/snippet.conf;")


def caddy(folder: Path, port: int, upstream: str) -> list[str]:
    """The command of a Caddy that has the snippet, without TLS."""
    snippet = (SNIPPETS / "Caddyfile").read_text()
    upstream = upstream.replace("unix:", "unix/")
    for there, here in [
        ("\naccounts.example.org {", f"\nhttp://127.0.0.1:{port} {{"),
        ("\treverse_proxy 127.0.0.1:9999 {", f"\treverse_proxy {upstream} {{"),
    ]:
        check(snippet.count(there) == 1, "Caddyfile", there)
        snippet = snippet.replace(there, here)
    (folder / "Caddyfile").write_text("{\n\tadmin off\n\tauto_https off\n}\n" + snippet)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


class Client:
    """Somebody at the other side of a proxy, who lies about where."""

    def __init__(self, port: int, address: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60, source_address=(address, 0))

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None):
        """The answer and its body."""
        forged = {"X-Forwarded-For": FORGED, "Forwarded": f"for={FORGED}"}
        self.connection.request(method, path, body, forged | (headers or {}))
        answer = self.connection.getresponse()
        return answer, answer.read()

    def post(self, path: str, members: dict):
        answer, _ = self.ask("GET", "/api/get_verification_code")
        captcha = {"verification_code_key": answer.headers["VerificationCodeKey"], "verification_code": harness.CAPTCHA}
        return self.ask("POST", path, json.dumps(members | captcha).encode())

    def upload(self, token: str, picture: bytes):
        body = harness.upload_start() + picture + f"\r\n--{harness.BOUNDARY}--\r\n".encode()
        kind = f"multipart/form-data; boundary={harness.BOUNDARY}"
        return self.ask("POST", "/api/upload_avatar", body, {"token": token, "Content-Type": kind})


def sockets_to(port: int) -> int:
    """How many sockets there are, in any state, whose other end is this port of this machine."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(line.split()[2].endswith(f":{port:04X}") for line in lines)


def try_proxy(name: str, command, binary: Path, folder: Path, listen: str) -> Path:
    """All that is to hold behind one proxy; the server's log."""
    server, upstream, log = serve(binary, folder, listen, "unix" if listen.startswith("unix:") else "127.0.0.1")
    port = harness.free_port()
    proxy = None
    try:
        proxy = harness.start_proxy(command(folder, port, upstream), folder, [port])
        client = Client(port, HONEST)
        client.ask("GET", "/who-is-it")
        line = wait_for(log, "/who-is-it")
        check(f" {HONEST} GET " in line, "the client's address", line)

        user = {"username": "rei", "passwd": "a password", "show_name": "rei", "email": "rei@example.org"}
        key = harness.registration_key(folder / "data")
        answer, body = client.post("/api/registered", user | {"key": key})
        check(b'"code":200' in body, "registering", body)
        _, body = client.post("/api/login", user)
        token = json.loads(body)["message"]
        picture = client.ask("GET", "/s/admin.jpg")[1]
        # What follows the end of a picture is not kept.
        answer, body = client.upload(token, picture.ljust(10_485_760, b"\0"))
        check(b'"code":200' in body, "a picture of 10 MB", (answer.status, body[:200]))
        check(client.ask("GET", "/s/" + json.loads(body)["message"])[1] == picture, "the picture", "another one")
        try:
            answer, body = Client(port, HONEST).upload(token, picture.ljust(12_000_000, b"\0"))
            # nginx says so itself; else the server does.
            refused = answer.status == 413 or b'"code":169' in body
        except ConnectionError:
            # Answered, and gone before everything was sent.
            refused = True
        check(refused, "a picture of 12 MB", (answer.status, body[:200]))

        if not listen.startswith("unix:"):
            server_port = int(upstream.rsplit(":", 1)[1])
            before = sockets_to(server_port)
            for _ in range(100):
                client.ask("GET", "/health")
            more = sockets_to(server_port) - before
            check(more < 10, "connections for 100 requests", more)

        guesser = Client(port, GUESSER)
        for _ in range(10):
            answer, body = guesser.post("/api/login", user | {"passwd": "a guess"})
            if answer.status == 429:
                break
        check(answer.status == 429 and int(answer.headers["Retry-After"]) >= 1, "too many guesses", (answer.status, body))
        # Who is slowed down is the guesser, and nobody else behind this proxy.
        check(b'"code":200' in client.post("/api/login", user)[1], "an honest log-in meanwhile", body)
        client.ask("GET", "/info%20failed%20sign-in%20from%20192.0.2.1%20at%20/api/login")
        wait_for(log, "192.0.2.1")
    finally:
        for process in filter(None, (proxy, server)):
            process.terminate()
            process.wait()
    print(f"ok   {name} over {'a unix socket' if listen.startswith('unix:') else 'TCP'}")
    return log


def try_fail2ban(logs: list[Path], folder: Path) -> None:
    """fail2ban finds every failed sign-in of these logs, with its time and address, and nothing else."""
    lines = "".join(log.read_text() for log in logs).splitlines()
    failed = [line for line in lines if line.split(" ", 2)[1:2] == ["info"] and line.split(" ")[2:3] == ["failed"]]
    # As a journal and as syslog hand a line on.
    extra = [f"Nov 24 07:00:00 box accountd[7]: {failed[0]}", f"Nov 24 07:00:00 box accountd[7]: {lines[-1]}"]
    log = folder / "all.log"
    log.write_text("\n".join(lines + extra) + "\n")
    command = ["fail2ban-regex", "--print-all-matched", str(log), str(SNIPPETS / "fail2ban-filter.conf")]
    text = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout.decode()
    expected = f"Lines: {len(lines) + 2} lines, 0 ignored, {len(failed) + 1} matched, {len(lines) - len(failed) + 1} missed"
    check(expected in text and GUESSER in text, f"fail2ban: not {expected!r}", text)
    # Of each line; the two ends of this text are all that is the same in every version.
    hits = sum(int(line.split("[")[1].split("]")[0]) for line in text.splitlines() if "|  [" in line and "Minute" in line)
    timed = sum(line[:4].isdigit() for line in lines) + len(extra)
    check(hits == timed, f"fail2ban: times of {timed} lines", text)
    print(f"ok   fail2ban: {expected.removeprefix('Lines: ')}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=str(harness.BINARY), help="(default: the release build)")
    binary = harness.need_binary(parser.parse_args().binary)
    with tempfile.TemporaryDirectory() as name:
        logs = []
        for proxy, command in [("nginx", nginx), ("caddy", caddy)]:
            if not shutil.which(proxy):
                print(f"SKIPPED {proxy}: it is not there")
                continue
            for kind in ["tcp", "unix"]:
                folder = Path(name) / f"{proxy}-{kind}"
                folder.mkdir()
                listen = "127.0.0.1:0" if kind == "tcp" else f"unix:{folder}/socket"
                logs.append(try_proxy(proxy, command, binary, folder, listen))
        if not shutil.which("fail2ban-regex") or not logs:
            print("SKIPPED fail2ban: it is not there, or no proxy is")
        else:
            try_fail2ban(logs, Path(name))
    print("PASSED")


if __name__ == "__main__":
    sys.exit(main())
