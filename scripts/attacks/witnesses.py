"""The witnesses of hostile.py: honest clients that check what an attack does to them.

Each runs until `end` (time.monotonic), or until what it has begun is done, and returns its faults.
"""

import itertools
import json
import random
import socket
import struct
import subprocess
import time
from collections import Counter

import harness

from . import Target, at_once, login, post_json, times

# docs/security.md: the number of wrong guesses without a wait, and the waits after further ones;
# the last one repeats.
FREE, WAITS = 3, [1, 3, 5, 10, 20, 40]
# Longer than any response takes on a busy machine.
SLOW = 1.0


# --- hand-overs ------------------------------------------------------------------------------------------------------


def keeps_its_captchas(target: Target, end: float) -> list[str]:
    """A captcha is good for exactly one log-in, whichever workers get the requests. A kept
    connection loses none."""
    faults = Counter()
    with harness.connect(target.address) as kept:
        while time.monotonic() < end:
            key = harness.captcha(target.address)
            time.sleep(random.uniform(0, 0.05))
            answers = at_once([lambda: login(target, "witness", harness.PASSWORD, key=key) for _ in range(2)])
            codes = sorted(getattr(answer, "code", 0) for answer in answers)
            faults[f"log-ins with one captcha: {codes}"] += codes != [200, 503]
            # A log-in ends the previous session.
            target.witness = next((one.message for one in answers if getattr(one, "code", 0) == 200), target.witness)
            kept.sendall(post_json("/api/user_info", {"token": target.witness}))
            faults["a kept connection lost a request"] += harness.read_answer(kept, time.monotonic() + 5).code != 200
    return times(faults)


def is_held_back(target: Target, end: float) -> list[str]:
    """A guesser, not an honest client: from one address it gets no more tries than the waits allow."""
    start, faults = time.monotonic(), Counter()
    here = {"X-Forwarded-For": "198.51.100.66"}
    checked = 0
    while time.monotonic() < end:
        answer = login(target, "honest", "a wrong password", here)
        checked += answer.code == 604
        faults[f"a guess: {answer.status}, {answer.code}"] += answer.code not in (604, 429)
        time.sleep(0.1)
    seconds = time.monotonic() - start
    ends = itertools.accumulate(itertools.chain(WAITS, itertools.repeat(WAITS[-1])))
    allowed = FREE + sum(1 for _ in itertools.takewhile(lambda wait: wait <= seconds, ends))
    return times(faults) + ([f"{checked} guesses, of which {allowed} are allowed"] if checked > allowed else [])


# --- transfers -------------------------------------------------------------------------------------------------------


def uploads_at(target: Target, end: float, pace: int) -> list[str]:
    """An upload at `pace` bytes a second, as long as the attack, is not cut off. If the minimum
    size of a picture takes longer than that, the rest is sent at once."""
    side = int(max(pace * (end - time.monotonic() - 1), 12_000) ** 0.5) + 1
    headers = {"token": target.witness, "Content-Type": harness.MULTIPART}
    raw = harness.request("POST", "/api/upload_avatar", headers, harness.multipart(harness.png(side, side, pace)))
    try:
        with harness.connect(target.address) as connection:
            start, piece = time.monotonic(), pace // 10
            for at in range(0, len(raw), piece):
                time.sleep(max(0.0, min(start + at / pace, end) - time.monotonic()))
                connection.sendall(raw[at : at + piece])
            answer = harness.read_answer(connection, time.monotonic() + 10)
    except OSError as error:
        return [f"an upload at {pace} bytes a second: {error!r}"]
    return [] if answer.code == 200 else [f"an upload at {pace} bytes a second: {answer.status}, {answer.code}"]


def uploads_slowly(target: Target, end: float) -> list[str]:
    return uploads_at(target, end, 150_000)


def uploads_at_the_slowest_pace(target: Target, end: float) -> list[str]:
    return uploads_at(target, end, 4096)


def uploads(target: Target, end: float) -> list[str]:
    """Uploads small pictures, one after the other."""
    faults = Counter()
    for turn in itertools.count():
        if time.monotonic() >= end:
            return times(faults)
        try:
            answer = harness.upload(target.server, target.witness, harness.png(120, 120, turn))
            faults[f"upload: {answer.status}, {answer.code}"] += answer.code != 200
        except OSError as error:
            faults[f"upload: {error!r}"] += 1
        # Within the budget of uploads: 150 at once, then one every two seconds.
        time.sleep(0.5)


def fetches(target: Target, end: float) -> list[str]:
    """Fetches a picture of 188 KB 90 times; each response is complete."""
    harness.register(target.server, "reader")
    token = harness.login(target.server, "reader").message
    name, faults = harness.upload(target.server, token, harness.png(433, 433, "188 KB")).message, Counter()
    start = time.monotonic()
    for turn in range(90):
        time.sleep(max(0.0, start + turn * (end - start) / 90 - time.monotonic()))
        try:
            answer = harness.exchange(target.address, harness.request("GET", f"/s/{name}"), 5)
            whole = answer.status == 200 and len(answer.body) > 187_000
            faults[f"HTTP {answer.status}, {len(answer.body)} bytes"] += not whole
        except OSError as error:
            faults[repr(error)] += 1
    return times(faults)


# --- connections -----------------------------------------------------------------------------------------------------


def reuses_its_port(target: Target, end: float) -> list[str]:
    """A client that connects from the same port again right after a reset gets a complete response
    at once, also to a request with two lengths."""
    faults = Counter()
    head = b"POST /api/user_info HTTP/1.1\r\nHost: a\r\n"
    body = json.dumps({"token": target.witness}).encode()
    good = head + b"Transfer-Encoding: chunked\r\n\r\n" + f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    bad = head + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n"
    port = 0
    for raw, expected in itertools.cycle([(good, 200), (bad, 400)]):
        if time.monotonic() >= end:
            return times(faults)
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # After a reset the port is free at once.
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
                faults["slow responses"] += time.monotonic() - since > SLOW
            except OSError as error:
                faults[repr(error)] += 1


def keeps_its_connection(target: Target, end: float) -> list[str]:
    """Sends five requests a second on one connection."""
    try:
        with harness.connect(target.address, source="127.0.0.3") as connection:
            while time.monotonic() < end:
                since = time.monotonic()
                connection.sendall(post_json("/api/user_info", {"token": target.witness}))
                if harness.read_answer(connection, since + 5).code != 200 or time.monotonic() - since > SLOW:
                    return ["a slow or wrong response on a kept connection"]
                time.sleep(0.2)
    except OSError as error:
        return [f"a kept connection: {error!r}"]
    return []


# --- limits ----------------------------------------------------------------------------------------------------------


def logs_in(target: Target, end: float) -> list[str]:
    """Logs in again and again, with Argon2id."""
    faults = Counter()
    while time.monotonic() < end:
        answer = login(target, "witness", harness.PASSWORD, source="127.2.0.1")
        faults[f"log-in: {answer.status}, {answer.code}"] += answer.code != 200
    return times(faults)


def keeps_a_captcha(target: Target, end: float) -> list[str]:
    """A captcha from before the attack is good after it; log-ins succeed meanwhile."""
    here = {"X-Forwarded-For": "2001:db8:900d::1"}
    key, faults = harness.captcha(target.address, here), Counter()
    while time.monotonic() < end:
        answer = login(target, "witness", harness.PASSWORD, here)
        faults[f"log-in: {answer.status}, {answer.code}"] += answer.code != 200
        time.sleep(0.2)
    answer = login(target, "witness", harness.PASSWORD, here, key)
    faults[f"the captcha from before: {answer.status}, {answer.code}"] += answer.code != 200
    return times(faults)


def gets_in(target: Target, end: float) -> list[str]:
    """The owner logs in from a new address each time: after a typo, six times at once, and once more.

    While others guess at the account, a source has three attempts under way: after the typo, at least two of the six are
    let through, and the others are asked to wait."""
    faults = Counter()
    for turn in itertools.count():
        here = {"X-Forwarded-For": f"198.51.{turn % 100}.7"}
        answer = login(target, "witness", "a typo", here)
        faults[f"a typo: {answer.status}, {answer.code}"] += answer.code != 604
        answers = at_once([lambda: login(target, "witness", harness.PASSWORD, here)] * 6)
        codes = [getattr(answer, "code", 0) for answer in answers]
        faults[f"six at once: {codes}"] += codes.count(200) < 2 or not {200, 429}.issuperset(codes)
        answer = login(target, "witness", harness.PASSWORD, here)
        faults[f"once more: {answer.status}, {answer.code}"] += answer.code != 200
        if time.monotonic() >= end:
            return times(faults)
        time.sleep(0.1)


def stays_in_the_audit_log(target: Target, end: float) -> list[str]:
    """The audit log keeps its lines about another user."""

    def lines() -> list[str]:
        command = [target.binary, "audit", "--data", target.server.data, "--user", "witness", "--json"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()

    before = lines()
    time.sleep(max(0.0, end - time.monotonic()))
    after = lines()
    lost = [line for line in before if line not in after]
    faults = [] if before else ["no lines about another user before"]
    return faults + ([f"{len(lost)} lines about another user are lost"] if lost else [])
