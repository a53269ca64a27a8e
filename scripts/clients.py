#!/usr/bin/env -S python3 -B
"""Has real HTTP clients and proxies use the server, and looks at the bytes where a client would hide them.

    scripts/clients.py [--long] [--only WORD]... [--binary PATH]

curl (HTTP/1.0, HTTP/1.1, asking for h2c), BusyBox wget, Node's fetch and http, undici, Go, Java's HttpClient, and Python's
urllib, requests, httpx and aiohttp each log in, read their account, upload and fetch pictures, in chunks and with a length
and after HTTP 100, are refused early (and must see why), ask HEAD and OPTIONS, and keep one connection. No client gets an
interim answer that it did not ask for. Then the same through nginx, Caddy and HAProxy, over HTTP/1.1 and HTTP/2, and
thousands of requests in chunks of which none may be lost. And raw requests: chunks, Expect, HTTP/1.0, Host, health checks.

--long: every client through every proxy, and ten times as many requests. --only: clients, proxies and parts (raw, direct,
proxies) whose name has this word. Programs that are not there are SKIPPED. .ci/run does not install Java and Go, which
are a download of 200 MB; without Go, the thousands of requests over HTTP/2 are SKIPPED too. Exit code 1 if anything was
not so. Packages come with pip and npm, once. Under a minute. Linux, Python 3.11 with venv, openssl; traffic goes to
127.0.0.1.
"""

import argparse
import json
import os
import re
import sys
import tempfile
from pathlib import Path

import harness
from harness import Server, check
from peers import ask, fronts, loops, raw
from peers.ask import Client, Driven
from peers.fronts import Files
from peers.relay import Relay
from peers.walk import Bodies, Walk

ROOT = Path(__file__).resolve().parent.parent
ROOM = ROOT / "target" / "clients"
PACKAGES = ROOT / "scripts" / "peers" / "python.txt"
# Which clients go through the proxies in the short form: over HTTP/1.1, and over HTTP/2.
CHOSEN = {False: ["curl", "node fetch"], True: ["curl --http2", "go"]}


def through_proxies(server: Server, clients: list[Client], bodies: Bodies, folder: Path, files: Files, options) -> None:
    """Clients and loops through each proxy."""
    token = str(harness.login(server, "loop").message)
    account = bodies.put("loop", json.dumps({"token": token}).encode())
    go = next((client for client in clients if isinstance(client, Driven) and client.name == "go"), None)
    for name in fronts.FRONTS:
        front = fronts.start(name, folder / name, server.address, files) if wanted(options, "proxies", name) else None
        if front is None:
            continue
        if name == "caddy":
            print("SKIPPED early refusals in chunks or with Expect, caddy HTTP/1.1: Caddy itself may cut these clients off")
        try:
            if name == "haproxy":
                health = fronts.health(front)
                up = all(text.startswith("UP L7OK") for text in health.values())
                check("haproxy: its own health check", up, health)
                if not up:
                    continue  # It lets nothing through.
            for route in front.routes:
                for client in clients:
                    # BusyBox wget knows no certificate of ours, and Caddy takes no TLS client that speaks HTTP/1.0 alone.
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
                    print(f"SKIPPED {what}: go is not there")
        finally:
            front.process.kill()
            front.process.wait()


def user_of(client: Client) -> str:
    return "user-" + re.sub(r"\W+", "-", client.name)


def wanted(options, part: str, name: str = "") -> bool:
    return not options.only or any(word in part or word in name for word in options.only)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=harness.BINARY)
    parser.add_argument("--long", action="store_true", help="every client through every proxy, more requests")
    parser.add_argument("--only", action="append", metavar="WORD", help="clients, proxies and parts with this in their name")
    options = parser.parse_args()
    options.times = 30_000 if options.long else 3_000
    binary = harness.need_binary(options.binary)
    harness.enter_room(ROOM / "python", PACKAGES)
    # One source sends everything; the proxies are believed.
    os.environ |= {"ACCOUNTD_THROTTLE": "false", "ACCOUNTD_TRUSTED_PROXIES": "127.0.0.1"}
    with tempfile.TemporaryDirectory(prefix="accountd-clients-") as name:
        folder = Path(name)
        files = fronts.certificate(folder)
        clients = ask.all_clients(ROOM, folder, files[0])
        server = harness.start(binary, folder / "data")
        try:
            for user in ["loop", *map(user_of, clients)]:
                answer = harness.register(server, user)
                check(f"registering {user}", answer.code == 200, answer, quiet=True)
            bodies = Bodies(folder)
            if wanted(options, "raw"):
                # First of all: what a server that has just started does.
                loops.health(server.address, options.times)
                token = str(harness.login(server, "loop").message)
                before = len(harness.failures)
                raw.answered(server.address, token)
                raw.refused(server.address)
                if len(harness.failures) == before:
                    print("ok     raw requests", flush=True)
                loops.direct(server.address, token, options.times)
            relay = Relay(server.address)
            for client in clients:
                if wanted(options, "direct", client.name):
                    base = "http://{}:{}".format(*server.address)
                    Walk(client, "direct", base, bodies, relay).run(user_of(client), 50 if options.long else 5)
            through_proxies(server, clients, bodies, folder, files, options)
            faults = [line for line in harness.log_since(server, 0) if " error " in line]
            check("no fault in the server's log", not faults, "\n".join(faults[:10]))
        finally:
            for client in clients:
                client.end()
            harness.kill(server)
    return harness.verdict()


if __name__ == "__main__":
    sys.exit(main())
