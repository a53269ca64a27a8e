"""What hostile.py does to a server: attackers, and honest clients who witness what the attack does to them.

Not to be run by itself. Each attacker runs until `end` (time.monotonic) and counts what it does; each witness is
honest, runs as long, and returns what went wrong. All traffic goes to 127.0.0.0/8 or to a unix socket.
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
    """What an attacker knows: where the server is, an account's token, and a large picture's path. Witnesses know the
    rest, and have an account of their own, `witness`, whose token is the last."""

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
    """A log-in, with a captcha that was fetched before or is fetched now."""
    key = key or captcha(target, headers, source)
    members = {"username": name, "passwd": password, "verification_code_key": key}
    body = json.dumps(members | {"verification_code": harness.CAPTCHA}).encode()
    return harness.exchange(target.address, harness.request("POST", "/api/login", headers, body), 20, source)


def captcha(target: Target, headers: dict[str, str] | None = None, source: str = "") -> str:
    """The key of a new captcha; empty if there was none."""
    raw = harness.request("GET", "/api/get_verification_code", headers)
    return harness.exchange(target.address, raw, 20, source).headers.get("verificationcodekey", "")


def of(network: str, nth: int) -> dict[str, str]:
    """A request of the nth /64 of an IPv6 /48, as a trusted proxy names it."""
    return {"X-Forwarded-For": f"{network}:{nth % 65536:x}::1"}


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


def times(faults: Counter) -> list[str]:
    """What went wrong, and how often."""
    return [f"{count} times {what}" for what, count in faults.items() if count]


def post_json(path: str, members: dict) -> bytes:
    """A request whose connection is kept."""
    return harness.request("POST", path, body=json.dumps(members).encode()).replace(b"Connection: close\r\n", b"")
