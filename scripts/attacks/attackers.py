"""The attackers of hostile.py. Each runs until `end` (time.monotonic) and counts what it does.

A count whose name begins with BROKEN is a fault.
"""

import itertools
import os
import re
import select
import signal
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable

import harness

from . import Target, at_once, from_network, login, post_json


def quiet(_target: Target, end: float, _counts: Counter) -> None:
    """No attack: the noise of the machine."""
    time.sleep(max(0.0, end - time.monotonic()))


# --- many connections ------------------------------------------------------------------------------------------------


def keep_connections(
    target: Target,
    end: float,
    counts: Counter,
    size: int,
    first: bytes = b"",
    drip: bytes = b"",
    pause: float = 0.5,
    renew: float = float("inf"),
    receive_buffer: int = 0,
    read: int = 0,
) -> None:
    """Keeps `size` connections open. Each sends `first` at once, then a byte of `drip` every
    `pause` seconds, repeating the last byte, and reads up to `read` bytes each time. A connection
    that the server closed, or that is `renew` seconds old, is replaced."""
    watch = select.poll()
    members: dict[int, list] = {}
    while (now := time.monotonic()) < end:
        ended = {descriptor for descriptor, _ in watch.poll(0)}
        for descriptor in ended | {number for number, member in members.items() if now - member[1] > renew}:
            watch.unregister(descriptor)
            members.pop(descriptor)[0].close()
            counts["closed by the server" if descriptor in ended else "replaced"] += 1
        for _ in range(size - len(members)):
            connection = socket.socket()
            connection.setblocking(False)
            if receive_buffer:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            connection.connect_ex(target.address)
            watch.register(connection, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
            members[connection.fileno()] = [connection, now, 0]
            counts["connections"] += 1
            time.sleep(0.001)  # A connection that finds the backlog full is retried only a second later.
        for member in members.values():
            connection, _, sent = member
            following = first[sent:] or drip[min(sent - len(first), len(drip) - 1) :][:1]
            try:
                member[2] += connection.send(following) if following else 0
                if read:
                    connection.recv(read)
            except OSError:
                pass  # Not connected yet, would block, or closed, which the next turn sees.
        time.sleep(max(0.0, min(pause - (time.monotonic() - now), end - time.monotonic())))


def repeat_requests(target: Target, end: float, counts: Counter, size: int, raw: bytes, source: str = "") -> None:
    """Keeps `size` connections, each of which sends `raw` and sends it again after each response."""
    watch = select.epoll()
    members: dict[int, tuple[socket.socket, list[memoryview]]] = {}

    def open_one() -> None:
        connection = harness.connect(target.address, 5, source)
        connection.setblocking(False)
        members[connection.fileno()] = (connection, [memoryview(raw)])
        watch.register(connection, select.EPOLLIN | select.EPOLLOUT)
        counts["connections"] += 1

    while time.monotonic() < end:
        try:
            for _ in range(min(size - len(members), 50)):
                open_one()
        except OSError:
            counts["no connection"] += 1
        for descriptor, events in watch.poll(0.01 if len(members) < size else 0.2):
            connection, rest = members[descriptor]
            try:
                if events & ~select.EPOLLOUT:
                    data = connection.recv(1 << 16)
                    if not data:
                        raise ConnectionError("closed")
                    counts[f"HTTP {data[9:12].decode()}"] += data.startswith(b"HTTP/1.1 ")
                    rest[0] = memoryview(raw)
                    watch.modify(descriptor, select.EPOLLIN | select.EPOLLOUT)
                if rest[0]:
                    rest[0] = rest[0][connection.send(rest[0]) :]
                else:
                    watch.modify(descriptor, select.EPOLLIN)
            except BlockingIOError:
                pass
            except OSError:
                counts["closed by the server"] += 1
                watch.unregister(descriptor)
                members.pop(descriptor)[0].close()


def silent(target: Target, end: float, counts: Counter) -> None:
    keep_connections(target, end, counts, 250)


def slow_heads(target: Target, end: float, counts: Counter) -> None:
    keep_connections(target, end, counts, 250, drip=b"GET /s/admin.jpg HTTP/1.1\r\nHost: a\r\nX: aaaa")


def slow_uploads(target: Target, end: float, counts: Counter) -> None:
    kind = harness.MULTIPART
    head = f"POST /api/upload_avatar HTTP/1.1\r\nHost: a\r\ntoken: {target.token}\r\nContent-Type: {kind}\r\n"
    first = f"{head}Content-Length: 5000000\r\n\r\n".encode() + harness.upload_start()
    keep_connections(target, end, counts, 50, first=first, drip=b"x")


def slow_bodies(target: Target, end: float, counts: Counter) -> None:
    """Bodies without token or captcha, for paths of each kind."""
    paths = ["/api/upload_avatar", "/api/login", "/api/user_info", "/nothing"]
    heads = [f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n".encode() for path in paths]
    works = [(lambda head=head: keep_connections(target, end, counts, 75, first=head, drip=b"x")) for head in heads]
    at_once(works)


def slow_readers(target: Target, end: float, counts: Counter) -> None:
    first = f"GET {target.picture} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    keep_connections(target, end, counts, 300, first=first, receive_buffer=4096, read=4096)


def unread_large(target: Target, end: float, counts: Counter) -> None:
    first = f"GET {target.picture} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    keep_connections(target, end, counts, 50, first=first, pause=0.2, renew=15, receive_buffer=4096)


def unread_pipelined(target: Target, end: float, counts: Counter) -> None:
    first = b"GET /s/admin.jpg HTTP/1.1\r\nHost: a\r\n\r\n" * 2000
    keep_connections(target, end, counts, 50, first=first, pause=0.2, renew=15, receive_buffer=4096)


def unread(target: Target, end: float, counts: Counter) -> None:
    """Half of the connections request the large picture, half many small ones."""
    at_once([lambda: unread_large(target, end, counts), lambda: unread_pipelined(target, end, counts)])


def unread_texts(target: Target, end: float, counts: Counter) -> None:
    """Responses of 30 KB each that the server has in memory."""
    first = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 40
    keep_connections(target, end, counts, 400, first=first, receive_buffer=4096)


def expects(target: Target, end: float, counts: Counter) -> None:
    """Clients that wait for `100 Continue` and never send their body."""
    first = b"POST /api/login HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n"
    keep_connections(target, end, counts, 250, first=first)


def idle(target: Target, end: float, counts: Counter) -> None:
    keep_connections(target, end, counts, 1250, pause=0.1)


def descriptors(target: Target, end: float, counts: Counter) -> None:
    keep_connections(target, end, counts, 750, pause=0.1)


def health(target: Target, end: float, counts: Counter) -> None:
    """Like `ab -k -c 64`."""
    repeat_requests(target, end, counts, 64, b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")


def long_bodies(target: Target, end: float, counts: Counter) -> None:
    """Complete requests, each of which costs a thread a millisecond."""
    body = "{" + ",".join(f'"{nth:x}":{nth % 10}' for nth in range(7000)) + "}"
    head = f"POST /api/user_info HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
    repeat_requests(target, end, counts, 750, (head + body).encode())


def chunks(target: Target, end: float, counts: Counter) -> None:
    """As many chunks of a byte as a request may have, without the last chunk."""
    head = b"POST /api/user_info HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    repeat_requests(target, end, counts, 250, head + b"1\r\na\r\n" * 63_000)


def unsolved(target: Target, end: float, counts: Counter) -> None:
    """Log-ins without a captcha, from many networks."""
    raw = post_json("/api/login", {})
    works = [
        (lambda nth=nth: repeat_requests(target, end, counts, 60, raw, f"127.1.{nth}.1")) for nth in range(6)
    ]
    at_once(works)


# --- strange requests ------------------------------------------------------------------------------------------------


def lengths(target: Target, end: float, counts: Counter) -> None:
    announced = ["99999999999", "30000000000", "4611686018427387904", "18446744073709551615"]
    for length, path in itertools.cycle(itertools.product(announced, ["/api/login", "/api/upload_avatar", "/nothing"])):
        if time.monotonic() >= end:
            return
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\ntoken: {target.token}\r\nContent-Length: {length}\r\n\r\nabc"
        try:
            counts[f"HTTP {harness.exchange(target.address, head.encode(), 2).status}"] += 1
        except OSError:
            counts["no response"] += 1
            time.sleep(0.01)


def lengths_and_gone(target: Target, end: float, counts: Counter) -> None:
    head = b"POST /api/login HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\nabc"
    hit_and_run(target, end, counts, head, reset=False, pause=0)


def length_last(target: Target, end: float, counts: Counter) -> None:
    head = b"POST /api/login HTTP/1.1\r\nHost: a\r\nContent-Length: 30000000000\r\n\r\nabc"
    hit_and_run(target, end, counts, b"GET /s/admin.jpg HTTP/1.1\r\nHost: a\r\n\r\n" * 200 + head, False, 0.05)


def hit_and_run(target: Target, end: float, counts: Counter, raw: bytes, reset: bool, pause: float) -> None:
    """Connects, sends and closes without reading, again and again."""
    while time.monotonic() < end:
        try:
            with socket.create_connection(target.address, timeout=1) as connection:
                connection.sendall(raw)
                time.sleep(pause)
                if reset:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            counts["requests"] += 1
        except OSError:
            counts["no connection"] += 1
            time.sleep(0.01)


def resets(target: Target, end: float, counts: Counter) -> None:
    hit_and_run(target, end, counts, post_json("/api/login", {}), reset=True, pause=0)


def http2(target: Target, end: float, counts: Counter) -> None:
    hit_and_run(target, end, counts, b"GET /s/admin.jpg HTTP/2.0\r\nHost: a\r\n\r\n", reset=False, pause=0.01)


def giant_head(target: Target, end: float, counts: Counter) -> None:
    part = b"a" * 1_000_000
    while time.monotonic() < end:
        try:
            with socket.create_connection(target.address, timeout=2) as connection:
                connection.sendall(b"GET /s/admin.jpg HTTP/1.1\r\nX: ")
                for _ in range(100):
                    connection.sendall(part)
                    counts["MB"] += 1
                    if time.monotonic() >= end:
                        return
                connection.sendall(b"\r\n\r\n")
                counts["whole heads"] += 1
                connection.recv(1)
        except OSError:
            counts["cut off"] += 1
            time.sleep(0.01)


def pipeline(target: Target, end: float, counts: Counter) -> None:
    one = b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n"
    while time.monotonic() < end:
        try:
            with socket.create_connection(target.address, timeout=1) as connection:
                counts["connections"] += 1
                converse(connection, one * 100_000, end, counts)
        except OSError:
            counts["cut off"] += 1
            time.sleep(0.01)


def converse(connection: socket.socket, raw: bytes, end: float, counts: Counter) -> None:
    """Sends and reads at the same time, until the server closes the connection or is silent for a
    second."""
    connection.setblocking(False)
    rest = memoryview(raw)
    while time.monotonic() < end:
        readable, writable, _ = select.select([connection], [connection] if rest else [], [], 1)
        if not readable and not writable:
            return
        if writable:
            sent = connection.send(rest[: 1 << 16])
            rest = rest[sent:]
            counts["bytes sent"] += sent
        if readable:
            data = connection.recv(1 << 16)
            if not data:
                return
            counts["answers"] += data.count(b"HTTP/1.1 ")


def bursts(target: Target, end: float, counts: Counter) -> None:
    raw = harness.request("GET", "/s/admin.jpg")
    while time.monotonic() < end:
        connections: list[socket.socket] = []
        try:
            for _ in range(64):
                connections.append(socket.create_connection(target.address, timeout=5))
            for connection in connections:
                connection.sendall(raw)
            for connection in connections:
                counts["answered" if connection.recv(12) == b"HTTP/1.1 200" else "refused"] += 1
        except OSError:
            counts["broken bursts"] += 1
            time.sleep(0.01)
        for connection in connections:
            connection.close()
        counts["bursts"] += 1


def malformed(target: Target, end: float, counts: Counter) -> None:
    """Chunked and malformed requests. After a malformed one the server closes the connection."""
    head = b"POST /api/login HTTP/1.1\r\nHost: a\r\n"
    raws = [
        head + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        head + b"Transfer-Encoding: chunked\r\n\r\n+2\r\n{}\r\n0\r\n\r\n",
        head + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n",
        head + b"Content-Length: x\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"\x16\x03\x01\x02",
    ]
    for raw in itertools.cycle(raws):
        if time.monotonic() >= end:
            return
        try:
            with harness.connect(target.address, 2) as connection:
                connection.sendall(raw)
                status = harness.read_answer(connection, time.monotonic() + 2).status
                counts[f"HTTP {status}"] += 1
                if status == 400 and connection.recv(1):
                    counts["BROKEN: bytes after an HTTP 400"] += 1
        except OSError as error:
            counts[f"BROKEN: {error!r} instead of a response and a close"] += 1


# --- hand-overs and limits -------------------------------------------------------------------------------------------


def reloads(target: Target, end: float, counts: Counter) -> None:
    """Sends SIGHUP, waits until the reload is done, and again."""
    with open(target.server.log, "rb") as log:
        log.seek(0, os.SEEK_END)
        while time.monotonic() < end:
            os.kill(target.server.process.pid, signal.SIGHUP)
            text = b""
            while time.monotonic() < end and b"info reloaded\n" not in text:
                # A read may end within a line.
                text = text[-32:] + log.read()
                time.sleep(0.002)
            counts["hand-overs"] += b"info reloaded\n" in text


def batches(target: Target, end: float, counts: Counter, nth_request: Callable[[int], bytes]) -> None:
    """Sends fifty pipelined requests on a kept connection, again and again."""
    nth = itertools.count()
    while time.monotonic() < end:
        try:
            with harness.connect(target.address, 5) as connection:
                while time.monotonic() < end:
                    connection.sendall(b"".join(nth_request(next(nth)) for _ in range(50)))
                    received = b""
                    while received.count(b"HTTP/1.1 ") < 50:
                        received += harness.receive(connection, time.monotonic() + 5)
                    for status in re.findall(rb"HTTP/1.1 (\d+)", received):
                        counts[f"HTTP {status.decode()}"] += 1
        except OSError:
            counts["cut off"] += 1


def captchas(target: Target, end: float, counts: Counter) -> None:
    """Fetches captchas for each /64 of a /48 in turn."""
    plain = harness.request("GET", "/api/get_verification_code", {"X-Forwarded-For": "?"})
    before, after = plain.replace(b"Connection: close\r\n", b"").split(b"?")
    batches(target, end, counts, lambda nth: before + f"2001:db8:bad:{nth % 65536:x}::1".encode() + after)


def changes(target: Target, end: float, counts: Counter) -> None:
    raw = post_json("/api/update_key", {"token": target.token})
    batches(target, end, counts, lambda _: raw)


def guesses(target: Target, end: float, counts: Counter) -> None:
    """Sends sixty guesses at one account at once, first from one address, then from many networks."""
    for turn in itertools.count():
        keys = [harness.captcha(target.address, from_network("2001:db8:1", turn * 60 + nth), 20) for nth in range(60)]
        if time.monotonic() >= end:
            return
        sources = [from_network("2001:db8:bad", 0) if turn == 0 else from_network(f"2001:db8:{turn + 2:x}", nth) for nth in range(60)]
        works = [
            (lambda nth=nth: login(target, "witness", "a wrong password", sources[nth], keys[nth])) for nth in range(60)
        ]
        answers = [answer for answer in at_once(works) if isinstance(answer, harness.Answer)]
        checked = sum(answer.code == 604 for answer in answers)
        counts["checked at once from one source"] += checked if turn == 0 else 0
        counts["checked"] += checked
        waits = [int(answer.headers.get("retry-after", 0)) for answer in answers]
        counts["longest wait"] = max([counts["longest wait"], *waits])
        if turn == 0 and checked > 8 or counts["longest wait"] > 3600:
            counts["BROKEN LIMIT"] += 1
