#!/usr/bin/env -S python3 -B
"""Uses the server with real HTTP clients, directly and through real proxies.

    scripts/clients.py [--long] [--only WORD]... [--binary PATH]

The clients are curl (HTTP/1.0, HTTP/1.1, h2c upgrade), BusyBox wget, Node's fetch and http, undici,
Go, Java's HttpClient, and Python's urllib, requests, httpx and aiohttp. Each logs in, reads its
account, uploads and fetches avatars (with Content-Length, in chunks, and with Expect), must see the
response to a request that is refused early, sends HEAD and OPTIONS, and keeps a connection. A relay
checks that no client gets an interim response without asking for one. Then the same through nginx,
Caddy and HAProxy, over HTTP/1.1 and HTTP/2, and thousands of requests in chunks, none of which may
be lost. `cargo test` checks malformed and unusual requests byte by byte.

--long sends every client through every proxy, and ten times as many requests. --only selects
clients, proxies and parts (loops, direct, proxies) with this word in their name. Programs that are
not installed are SKIPPED; .ci/run does not install Java, a download of 200 MB. pip and npm install
packages the first time. Under a minute. Linux, Python 3.11 with venv, openssl.
"""

import json
import re
import sys
import tempfile
from pathlib import Path

import harness
from harness import Server, check
from peers import ask, reverse_proxies, loops
from peers.ask import Client, Driven
from peers.reverse_proxies import Files
from peers.relay import Relay
from peers.walk import Bodies, Walk

ROOT = Path(__file__).resolve().parent.parent
BUILT = ROOT / "target" / "clients"
PACKAGES = ROOT / "scripts" / "peers" / "python.txt"
# One source sends everything; the proxies are trusted.
SETTINGS = {"throttle": False, "trusted_proxies": ["127.0.0.1"]}
# The clients that go through the proxies in the short form, by whether the proxy speaks HTTP/2.
CHOSEN = {False: ["curl", "node fetch"], True: ["curl --http2", "go"]}


def through_proxies(server: Server, clients: list[Client], bodies: Bodies, folder: Path, files: Files, options) -> None:
    """Runs clients and loops through each proxy."""
    token = str(harness.login(server, "loop").message)
    account = bodies.put("loop", json.dumps({"token": token}).encode())
    go = next((client for client in clients if isinstance(client, Driven) and client.name == "go"), None)
    for name in reverse_proxies.PROXIES:
        proxy = reverse_proxies.start(name, folder / name, server.address, files) if wanted(options, "proxies", name) else None
        if proxy is None:
            continue
        if name == "caddy":
            print("SKIPPED early refusals in chunks or with Expect, caddy HTTP/1.1: Caddy may reset these clients")
        try:
            if name == "haproxy":
                health = reverse_proxies.health(proxy)
                up = all(text.startswith("UP L7OK") for text in health.values())
                check("haproxy: its health check passes", up, health)
                if not up:
                    continue  # It would refuse all requests.
            for route in proxy.routes:
                for client in clients:
                    # BusyBox wget cannot be given our certificate, and Caddy refuses TLS clients
                    # without HTTP/1.1.
                    able = not (route.tls and client.name in ("busybox wget", "curl --http1.0"))
                    if able and (options.long or client.name in CHOSEN[route.tls]):
                        Walk(client, route.name, route.url, bodies).run(user_of(client), 20 if options.long else 2)
                what = f"chunks, {route.name}"
                if not route.tls:
                    address = ("127.0.0.1", route.port)
                    loops.judge(what, loops.send(address, loops.streamed(token), options.times), loops.SEEN)
                elif go:
                    outcomes = loops.by_go(go, f"{route.url}/api/user_info", account, options.times)
                    loops.judge(what, outcomes, loops.SEEN_HTTP2)
                else:
                    print(f"SKIPPED {what}: go is not installed")
        finally:
            proxy.process.kill()
            proxy.process.wait()


def user_of(client: Client) -> str:
    return "user-" + re.sub(r"\W+", "-", client.name)


def wanted(options, part: str, name: str = "") -> bool:
    return not options.only or any(word in part or word in name for word in options.only)


def main() -> int:
    parser = harness.parser(__doc__)
    parser.add_argument("--long", action="store_true", help="every client through every proxy, more requests")
    parser.add_argument("--only", action="append", metavar="WORD", help="clients, proxies and parts with this in their name")
    options = parser.parse_args()
    options.times = 30_000 if options.long else 3_000
    binary = harness.need_binary(options.binary)
    harness.enter_venv(BUILT / "python", PACKAGES)
    with tempfile.TemporaryDirectory(prefix="accountd-clients-") as name:
        folder = Path(name)
        files = reverse_proxies.certificate(folder)
        clients = ask.all_clients(BUILT, folder, files[0])
        server = harness.start(binary, folder / "data", SETTINGS)
        try:
            for user in ["loop", *map(user_of, clients)]:
                answer = harness.register(server, user)
                check(f"registering {user}", answer.code == 200, answer, quiet=True)
            bodies = Bodies(folder)
            if wanted(options, "loops"):
                # First, since a server that has just started is a special case.
                loops.health(server.address, options.times)
                loops.direct(server.address, str(harness.login(server, "loop").message), options.times)
            relay = Relay(server.address)
            for client in clients:
                if wanted(options, "direct", client.name):
                    Walk(client, "direct", server.url, bodies, relay).run(user_of(client), 50 if options.long else 5)
            through_proxies(server, clients, bodies, folder, files, options)
            errors = harness.errors_in(harness.log_since(server, 0))
            check("no error in the server's log", not errors, "\n".join(errors[:10]))
        finally:
            for client in clients:
                client.end()
            harness.kill(server)
    return harness.verdict()


if __name__ == "__main__":
    sys.exit(main())
