"""Attacks of hostile.py that need an honest client of their own, and what that client must see.

Not to be run by itself. Each attacker runs until `end` (time.monotonic) and counts what it does; each witness is honest, runs
as long, and returns what went wrong. All traffic goes to 127.0.0.0/8 or a unix socket.
"""

import itertools
import json
import os
import select
import signal
import socket
import statistics
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import harness
from harness import Address, Server


@dataclass
class Target:
    """What an attacker knows: where the server is, an account's token, and a large picture's path. Witnesses know the rest, and have an
    account of their own, whose token is the last."""

    address: Address
    token: str
    picture: str
    server: Server
    binary: Path
    witness: str


Attacker = Callable[[Target, float, Counter], None]
Witness = Callable[[Target, float], list[str]]


def login(target: Target, name: str, password: str, headers: dict[str, str] | None = None, key: str = "", source: str = ""):
    """A log-in, with a captcha that was fetched before or is fetched now."""
    key = key or captcha(target, headers)
    members = {"username": name, "passwd": password, "verification_code_key": key}
    body = json.dumps(members | {"verification_code": harness.CAPTCHA}).encode()
    return harness.exchange(target.address, harness.request("POST", "/api/login", headers, body), 20, source)


def captcha(target: Target, headers: dict[str, str] | None = None) -> str:
    answer = harness.exchange(target.address, harness.request("GET", "/api/get_verification_code", headers))
    return answer.headers.get("verificationcodekey", "")


def at_once(works: list[Callable[[], object]]) -> list:
    """What each of these returns; all begin at the same moment."""
    results: list = [None] * len(works)

    def run(at: int) -> None:
        try:
            results[at] = works[at]()
        except (OSError, ValueError) as error:
            results[at] = error

    threads = [threading.Thread(target=run, args=(at,)) for at in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def workers(target: Target) -> list[int]:
    pid = target.server.process.pid
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


# --- hand-overs ------------------------------------------------------------------------------------------------------


def reloads(target: Target, end: float, counts: Counter) -> None:
    """One SIGHUP after the other, each when the one before is done."""
    seen, read = target.server.log.stat().st_size, 0
    while time.monotonic() < end and counts["hand-overs"] < 1000:
        os.kill(target.server.process.pid, signal.SIGHUP)
        while time.monotonic() < end and read <= counts["hand-overs"]:
            read = sum(line.endswith("info reloaded") for line in harness.log_since(target.server, seen))
            time.sleep(0.002)
        counts["hand-overs"] = read


def keeps_its_captchas(target: Target, end: float) -> list[str]:
    """Each captcha is good for one log-in and not for a second one, whichever worker gets either; a connection that is kept
    loses no request, and there are never more than two workers."""
    faults = Counter()
    with harness.connect(target.address) as kept:
        body = json.dumps({"token": target.witness}).encode()
        info = harness.request("POST", "/api/user_info", body=body).replace(b"Connection: close\r\n", b"")
        while time.monotonic() < end:
            key = captcha(target)
            answers = at_once([lambda: login(target, "witness", harness.PASSWORD, key=key) for _ in range(2)])
            codes = sorted(getattr(answer, "code", 0) for answer in answers)
            faults[f"log-ins with one captcha: {codes}"] += codes != [200, 503]
            # A log-in ends the session before.
            target.witness = next((one.message for one in answers if getattr(one, "code", 0) == 200), target.witness)
            kept.sendall(info)
            faults["a kept connection lost a request"] += harness.read_answer(kept, time.monotonic() + 5).status != 200
            faults["more than two workers"] += len(workers(target)) > 2
    return [f"{count} times {what}" for what, count in faults.items() if count]


def lengths(target: Target, end: float, counts: Counter) -> None:
    """Announced lengths that no memory holds, of which half are gone before the answer."""
    for nth in itertools.count():
        if time.monotonic() >= end:
            return
        path = ["/api/login", "/api/upload_avatar", "/nothing"][nth % 3]
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\ntoken: {target.token}\r\nContent-Length: 99999999999\r\n\r\nabc"
        try:
            with harness.connect(target.address, 2) as connection:
                connection.sendall(head.encode())
                if nth % 2:
                    counts[f"HTTP {harness.read_answer(connection, time.monotonic() + 2).status}"] += 1
                else:
                    counts["gone"] += 1
        except OSError:
            counts["no answer"] += 1


def uploads_slowly(target: Target, end: float) -> list[str]:
    """An upload of 150 KB a second, which ends when the attack does, is not cut off."""
    before = workers(target)
    size = int(150_000 * max(end - time.monotonic() - 1, 0.5))
    side = int(size**0.5) + 1
    picture = harness.png(side, side, "slow")
    body = harness.upload_start() + picture + f"\r\n--{harness.BOUNDARY}--\r\n".encode()
    headers = {"token": target.witness, "Content-Type": f"multipart/form-data; boundary={harness.BOUNDARY}"}
    raw = harness.request("POST", "/api/upload_avatar", headers, body)
    try:
        with harness.connect(target.address) as connection:
            start = time.monotonic()
            for at in range(0, len(raw), 15_000):
                time.sleep(max(0.0, start + at / 150_000 - time.monotonic()))
                connection.sendall(raw[at : at + 15_000])
            answer = harness.read_answer(connection, time.monotonic() + 10)
    except OSError as error:
        return [f"the slow upload: {error!r}"]
    faults = [] if answer.code == 200 else [f"the slow upload got {answer.status}, {answer.code}"]
    return faults + (["a worker was replaced"] if workers(target) != before else [])


# --- connections -----------------------------------------------------------------------------------------------------


def malformed(target: Target, end: float, counts: Counter) -> None:
    """Chunked and malformed requests, whose connections the server has to end or keep as HTTP says."""
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
            counts[f"HTTP {harness.exchange(target.address, raw, 2).status}"] += 1
        except OSError:
            counts["no answer"] += 1


def reuses_its_port(target: Target, end: float) -> list[str]:
    """A client whose connection was cut, and that comes from the same port again at once, gets a whole answer."""
    if isinstance(target.address, str):
        return []
    faults = Counter()
    bad = b"POST /api/login HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n"
    body = json.dumps({"token": target.witness}).encode()
    good = harness.request("POST", "/api/user_info", body=body)
    port = 0
    while time.monotonic() < end:
        for raw, expected in ((bad, 400), (good, 200)):
            with socket.socket() as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                # Closed with a reset, the port is free at once.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.settimeout(5)
                connection.bind(("127.0.0.1", port))
                port = connection.getsockname()[1]
                try:
                    connection.connect(target.address)
                    since = time.monotonic()
                    connection.sendall(raw)
                    status = harness.read_answer(connection, since + 5).status
                    faults[f"HTTP {status} instead of {expected}"] += status != expected
                    faults["slow answers"] += time.monotonic() - since > 1
                except OSError as error:
                    faults[repr(error)] += 1
    return [f"{count} times {what}" for what, count in faults.items() if count]


def keep(target: Target, end: float, counts: Counter, size: int, first: bytes, drip: bytes, window: int = 0) -> None:
    """Keeps so many connections that send `first` and then a byte of `drip` now and then, and read nothing."""
    members: dict[int, socket.socket] = {}
    watch = select.poll()
    while time.monotonic() < end:
        for descriptor, _ in watch.poll(0):
            watch.unregister(descriptor)
            members.pop(descriptor).close()
            counts["ended by the server"] += 1
        for _ in range(min(size - len(members), 100)):
            try:
                connection = socket.socket()
                if window:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
                connection.settimeout(1)
                connection.connect(target.address)
                connection.sendall(first)
            except OSError:
                counts["no connection"] += 1
                break
            connection.setblocking(False)
            members[connection.fileno()] = connection
            watch.register(connection, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
            counts["connections"] += 1
        for connection in members.values():
            try:
                connection.send(drip)
            except OSError:
                pass
        time.sleep(0.25)


def slow_bodies(target: Target, end: float, counts: Counter) -> None:
    head = b"POST /api/upload_avatar HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n"
    login_head = b"POST /api/login HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n"
    other = threading.Thread(target=keep, args=(target, end, counts, 150, head, b"x"))
    other.start()
    keep(target, end, counts, 150, login_head, b"x")
    other.join()


def logs_in_and_uploads(target: Target, end: float) -> list[str]:
    """Log-ins, whose passwords are hashed with Argon2id, and uploads succeed."""
    faults = Counter()
    while time.monotonic() < end:
        answer = login(target, "witness", harness.PASSWORD)
        faults[f"log-in: {answer.status}, {answer.code}"] += answer.code != 200
        target.witness = answer.message if answer.code == 200 else target.witness
        answer = harness.upload(target.server, target.witness, harness.png(120, 120, time.monotonic()))
        faults[f"upload: {answer.status}, {answer.code}"] += answer.code != 200
    return [f"{count} times {what}" for what, count in faults.items() if count]


def slow_readers(target: Target, end: float, counts: Counter) -> None:
    keep(target, end, counts, 300, f"GET {target.picture} HTTP/1.1\r\nHost: a\r\n\r\n".encode(), b"", 4096)


def fetches(target: Target, end: float) -> list[str]:
    """A picture of 188 KB, again and again: each answer is whole."""
    name = harness.upload(target.server, target.witness, harness.png(433, 433, "188 KB")).message
    faults = Counter()
    while time.monotonic() < end:
        try:
            answer = harness.exchange(target.address, harness.request("GET", f"/s/{name}"), 5)
            faults[f"HTTP {answer.status}, {len(answer.body)} bytes"] += answer.status != 200 or len(answer.body) < 187_000
        except OSError as error:
            faults[repr(error)] += 1
        time.sleep(0.02)
    return [f"{count} times {what}" for what, count in faults.items() if count]


def idle(target: Target, end: float, counts: Counter) -> None:
    keep(target, end, counts, 1250, b"", b"")


def comes_from_elsewhere(target: Target, end: float) -> list[str]:
    """A client of another address is answered."""
    faults, times = Counter(), []
    body = json.dumps({"token": target.witness}).encode()
    while time.monotonic() < end:
        since = time.monotonic()
        try:
            answer = harness.exchange(target.address, harness.request("POST", "/api/user_info", body=body), 5, "127.0.0.2")
            faults[f"HTTP {answer.status}"] += answer.code != 200
        except OSError as error:
            faults[repr(error)] += 1
        times.append(time.monotonic() - since)
        time.sleep(0.05)
    return [f"{count} times {what}" for what, count in faults.items() if count] + (
        ["slow answers"] if statistics.median(times) > 0.5 else []
    )


# --- limits ----------------------------------------------------------------------------------------------------------


def of(network: str, nth: int) -> dict[str, str]:
    """A request of the nth /64 of an IPv6 /48, as a trusted proxy names it."""
    return {"X-Forwarded-For": f"{network}:{nth % 65536:x}::1"}


def captchas(target: Target, end: float, counts: Counter) -> None:
    for nth in itertools.count():
        if time.monotonic() >= end:
            return
        raw = harness.request("GET", "/api/get_verification_code", of("2001:db8:bad", nth))
        counts[f"HTTP {harness.exchange(target.address, raw).status}"] += 1


def keeps_a_captcha(target: Target, end: float) -> list[str]:
    """A captcha that was fetched before the attack is good after it; log-ins succeed meanwhile."""
    here = {"X-Forwarded-For": "2001:db8:900d::1"}
    key, faults = captcha(target, here), []
    while time.monotonic() < end:
        answer = login(target, "witness", harness.PASSWORD, here)
        faults += [] if answer.code == 200 else [f"log-in: {answer.status}, {answer.code}"]
        time.sleep(0.2)
    answer = login(target, "witness", harness.PASSWORD, here, key)
    return faults + ([] if answer.code == 200 else [f"the captcha from before: {answer.status}, {answer.code}"])


def guesses(target: Target, end: float, counts: Counter) -> None:
    """Sixty guesses at one account at the same moment, from one address, again and again; then from many addresses."""
    for turn in itertools.count():
        keys = [captcha(target, of("2001:db8:1", turn * 60 + nth)) for nth in range(60)]
        if time.monotonic() >= end:
            return
        source = (lambda nth: of("2001:db8:bad", 0)) if turn == 0 else (lambda nth: of(f"2001:db8:{turn + 2:x}", nth))
        works = [
            (lambda nth=nth: login(target, "witness", "a wrong password", source(nth), keys[nth])) for nth in range(60)
        ]
        answers = [answer for answer in at_once(works) if hasattr(answer, "code")]
        checked = sum(answer.code == 604 for answer in answers)
        counts["checked at once from one source"] += checked if turn == 0 else 0
        counts["checked"] += checked
        waits = [int(answer.headers.get("retry-after", 0)) for answer in answers]
        counts["longest wait"] = max([counts["longest wait"], *waits])
        if turn == 0 and checked > 8 or counts["longest wait"] > 3600:
            counts["BROKEN LIMIT"] += 1


def gets_in(target: Target, end: float) -> list[str]:
    """The owner gets in from another address each time, also after a typo, and six times at once."""
    faults = Counter()
    for turn in itertools.count():
        here = {"X-Forwarded-For": f"198.51.{turn % 100}.7"}
        answer = login(target, "witness", "a typo", here)
        faults[f"a typo: {answer.status}, {answer.code}"] += answer.code != 604
        answers = at_once([lambda: login(target, "witness", harness.PASSWORD, here)] * 6)
        codes = [getattr(answer, "code", 0) for answer in answers]
        faults[f"six at once: {codes}"] += codes != [200] * 6
        if time.monotonic() >= end:
            return [f"{count} times {what}" for what, count in faults.items() if count]
        time.sleep(0.1)


def changes(target: Target, end: float, counts: Counter) -> None:
    body = json.dumps({"token": target.token}).encode()
    while time.monotonic() < end:
        counts[f"HTTP {harness.exchange(target.address, harness.request('POST', '/api/update_key', body=body)).status}"] += 1


def stays_in_the_audit_log(target: Target, end: float) -> list[str]:
    """The lines about another user are there before and after."""

    def lines() -> int:
        command = [target.binary, "audit", "--data", target.server.data, "--user", "witness", "--json"]
        return len(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines())

    before = lines()
    time.sleep(max(0.0, end - time.monotonic()))
    after = lines()
    return [] if 0 < before <= after else [f"{before} lines about another user before, {after} after"]
