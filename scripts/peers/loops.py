"""Sends the same request thousands of times and checks that no response is lost."""

import errno
import json
import random
import re
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import harness
from harness import Address, check
from peers.ask import Driven, Lost

CHUNKED = "Transfer-Encoding: chunked"
# The response to the request: the account.
SEEN = r'(?s)HTTP/1\.1 200 .*"code":200'
SEEN_HTTP2 = SEEN.replace(r"1\.1", r"2\.0")


def send(address: Address, raw: bytes, times: int, at_once: int = 16, ports: list[int] | None = None) -> Counter:
    """Sends a request `times` times; counts the responses and the lost requests. Connections are
    kept if possible. With `ports`, each port is a client that reuses its port as soon as its
    connection has ended."""
    parts: list[Counter] = []

    def connect(port: int) -> socket.socket:
        end = time.monotonic() + 5
        while True:
            connection = socket.socket()
            connection.settimeout(10)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                if port:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    connection.bind(("127.0.0.1", port))
                connection.connect(address)
                return connection
            except OSError as error:
                connection.close()
                # The kernel may not have released the port yet.
                if error.errno != errno.EADDRNOTAVAIL or time.monotonic() > end:
                    raise
                time.sleep(0.001)

    def once(connection: socket.socket) -> tuple[str, bool]:
        """The response, and whether the connection stays open."""
        connection.sendall(raw)
        head, body, interim, end = b"", b"", "", time.monotonic() + 10
        while not head or head.startswith(b"HTTP/1.1 1"):
            interim = "after an interim answer: " if head else ""
            received = body
            while b"\r\n\r\n" not in received:
                received += harness.receive(connection, end)
            head, _, body = received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        while length and len(body) < int(length[1]):
            body += harness.receive(connection, end)
        pieces = b"\r\ntransfer-encoding: chunked" in head.lower()
        while pieces and not body.endswith(b"0\r\n\r\n"):
            body += harness.receive(connection, end)
        last = b"\r\nconnection: close" in head.lower() or not (length or pieces)
        while last and connection.recv(1 << 16):
            pass
        status = head.split(b"\r\n")[0].decode()
        return f"{interim}{status} {body.decode(errors='replace')}", not last

    def work(port: int, share: int) -> None:
        connection, mine = None, Counter()
        for _ in range(share):
            try:
                connection = connection or connect(port)
                outcome, goes_on = once(connection)
            except OSError as error:
                outcome, goes_on = f"lost: {type(error).__name__} {error}", False
            mine[outcome] += 1
            if not goes_on and connection:
                connection.close()
                connection = None
        parts.append(mine)

    workers = ports or [0] * at_once
    shares = [times // len(workers) + (number < times % len(workers)) for number in range(len(workers))]
    threads = [threading.Thread(target=work, args=pair) for pair in zip(workers, shares)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(parts, Counter())


def judge(what: str, outcomes: Counter, expected: str) -> None:
    """Checks that every response matches the expected one."""
    wrong = Counter({outcome: count for outcome, count in outcomes.items() if not re.match(expected, outcome)})
    total = sum(outcomes.values())
    worst = "; ".join(f"{count} times {outcome[:160]}" for outcome, count in wrong.most_common(3))
    check(what, total > 0 and not wrong, f"{sum(wrong.values())} of {total} wrong{': ' if wrong else ''}{worst}")


def health(address: Address, times: int) -> None:
    """Sends health checks on many kept connections, all opened at once."""
    if shutil.which("ab"):
        command = ["ab", "-k", "-q", "-s", "5", "-c", "64", "-n", str(times), "http://{}:{}/health".format(*address)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        facts = dict(re.findall(r"(?m)^([A-Z][A-Za-z0-9 -]+): +(\d+)", done.stdout))
        right = facts.get("Complete requests") == str(times) and facts.get("Failed requests") == "0"
        right = right and "Non-2xx responses" not in facts
        check(" ".join(command[:2] + command[5:]), right, "" if right else " ".join(done.stdout.split())[-150:])
    else:
        print("SKIPPED ab: not installed")
    request = b"GET /health HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"
    judge("/health on 64 kept connections", send(address, request, times, 64), r"HTTP/1\.[01] 200 ")


def by_go(go: Driven, url: str, body: Path, times: int) -> Counter:
    """The same as `send` with Go, over HTTP/2 and without Content-Length."""
    try:
        answer = go.ask("POST", url, f"stream*{times}/16", body, {}, deadline=30 + times / 100)
    except Lost as error:
        return Counter({f"lost: {error}": times})
    finally:
        go.end()
    lines = [line.split(" ", 1) for line in answer.body.decode().splitlines()]
    return Counter({outcome: int(count) for count, outcome in lines})


def streamed(token: str, *lines: str) -> bytes:
    """A request in two chunks. The Host is the one that Caddy serves."""
    head = "\r\n".join(["POST /api/user_info HTTP/1.1", "Host: 127.0.0.1", CHUNKED, *lines, "", ""])
    body = json.dumps({"token": token}).encode()
    middle = len(body) // 2
    chunks = [f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" for chunk in (body[:middle], body[middle:])]
    return head.encode() + b"".join(chunks) + b"0\r\n\r\n"


def direct(address: Address, token: str, times: int) -> None:
    """Sends requests in chunks on kept connections, and from ports that are reused at once."""
    judge("chunks, direct", send(address, streamed(token), times), SEEN)
    # Below the kernel's range of ephemeral ports.
    first = random.randrange(20_000, 32_000)
    ports = list(range(first, first + 4))
    outcomes = send(address, streamed(token, "Connection: close"), times, ports=ports)
    judge("chunks from ports that are reused at once", outcomes, SEEN)
    refused = streamed(token).replace(CHUNKED.encode(), CHUNKED.encode() + b"\r\nContent-Length: 5")
    outcomes = send(address, refused, times // 4, ports=ports)
    judge("HTTP 400 from ports that are reused at once", outcomes, r"HTTP/1\.1 400 ")
