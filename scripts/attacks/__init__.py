"""The attackers of hostile.py, and the witnesses: honest clients that check what an attack does to
them.

An attacker runs until `end` (time.monotonic) and counts what it does. A witness runs as long and
returns its faults.
"""

import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import harness
from harness import Address, Answer, Server


@dataclass
class Target:
    """Attackers use the address, the token of an account and the path of a large avatar. Witnesses
    also use the rest; `witness` is the token of their account of that name."""

    address: Address
    token: str
    picture: str
    server: Server
    binary: Path
    witness: str


Attacker = Callable[[Target, float, Counter], None]
Witness = Callable[[Target, float], list[str]]


def login(
    target: Target,
    name: str,
    password: str,
    headers: dict[str, str] | None = None,
    key: str = "",
    source: str = "",
) -> Answer:
    """Logs in with the captcha of this key or with a fresh one."""
    key = key or harness.captcha(target.address, headers, 20, source)
    body = json.dumps(harness.solved({"username": name, "passwd": password}, key)).encode()
    return harness.exchange(target.address, harness.request("POST", "/api/login", headers, body), 20, source)


def from_network(network: str, nth: int) -> dict[str, str]:
    """The header in which a trusted proxy names a client of the nth /64 of an IPv6 /48."""
    return {"X-Forwarded-For": f"{network}:{nth % 65536:x}::1"}


def at_once(works: list[Callable[[], object]]) -> list:
    """Runs functions in threads at the same time; returns their results or errors."""
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


def times(faults: Counter) -> list[str]:
    """Faults with their counts as texts."""
    return [f"{count} times {what}" for what, count in faults.items() if count]


def post_json(path: str, members: dict) -> bytes:
    """A request on a kept connection."""
    return harness.request("POST", path, body=json.dumps(members).encode()).replace(b"Connection: close\r\n", b"")
