#!/usr/bin/env -S python3 -B
"""Has many clients use all interfaces on the same accounts at once, and checks every response.

    scripts/crowd.py [--seconds N] [--clients N] [--binary PATH]

16 clients share four accounts for 20 seconds by default. They register (competing for names), log
in with correct and wrong passwords, read, change display name, key and password, reset the
password, and upload and fetch avatars, with tokens that other clients may have revoked. Fails on an
HTTP status other than 200, on a code that concurrency does not explain, on an error in the log
(such as "database is locked"), if an account does not have exactly one valid password at the end,
and if avatars/ has a file that no account uses.

Linux, Python 3.11.
"""

import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import harness
from harness import Answer, Server

RESET_KEY = "a reset key"
ACCOUNTS = [f"user{number}" for number in range(4)]
PASSWORDS = ["first", "second", "third"]
# The codes that a client may get, whatever the other clients do.
EXPECTED = {
    "registered": {200, 604},
    "login": {200, 604},
    "user_info": {200, 403},
    "update_show_name": {200, 403},
    "update_key": {200, 403},
    "update_password": {200, 404},
    "forget_password": {200, 501},
    "upload_avatar": {200, 403},
}


class Client:
    """One client: its tokens, a count of its responses, and the unexpected ones."""

    def __init__(self, server: Server, number: int) -> None:
        self.server, self.random = server, random.Random(number)
        self.tokens: dict[str, str] = {}
        self.counts: Counter = Counter()
        self.faults: list[str] = []

    def note(self, interface: str, answer: Answer) -> Answer:
        """Counts a response and records an unexpected one."""
        self.counts[f"{interface} {answer.code}"] += 1
        if answer.status != 200 or answer.code not in EXPECTED[interface]:
            self.faults.append(f"{interface}: HTTP {answer.status}, code {answer.code}, {answer.message}")
        return answer

    def solved(self, interface: str, members: dict) -> Answer:
        """Sends a request with a solved captcha."""
        return self.note(interface, harness.post_solved(self.server.address, f"/api/{interface}", members, 30))

    def turn(self) -> None:
        """Sends a random request."""
        pick = self.random.choice
        name, password = pick(ACCOUNTS), pick(PASSWORDS)
        token = self.tokens.get(name, "unknown")
        interface = pick(list(EXPECTED))
        match interface:
            case "registered":
                self.note(interface, harness.register(self.server, pick([*ACCOUNTS, f"new{self.random.randrange(200)}"])))
            case "login":
                answer = self.solved(interface, {"username": name, "passwd": password})
                if answer.code == 200:
                    self.tokens[name] = str(answer.message)
            case "update_password":
                self.solved(interface, {"username": name, "old_passwd": password, "new_passwd": pick(PASSWORDS)})
            case "forget_password":
                email = f"{pick(ACCOUNTS)}@example.org"
                members = {"key": RESET_KEY, "name": name, "email": email, "new_passwd": password}
                self.solved(interface, members)
            case "upload_avatar":
                self.note(interface, harness.upload(self.server, token, harness.png(110, 110, self.random.random())))
            case "user_info":
                answer = harness.post(self.server.address, "/api/user_info", {"token": token}, 30)
                if self.note(interface, answer).code == 200:
                    self.fetch(name, answer.message)
            case _:
                members = {"token": token, "new_show_name": f"{name} {self.random.random()}"}
                self.note(interface, harness.post(self.server.address, f"/api/{interface}", members, 30))

    def fetch(self, name: str, info: dict) -> None:
        """Checks that an account's data is its own. Its avatar may have been replaced meanwhile."""
        if info["name"] != name or not info["show_name"].startswith(name) or len(info["key"]) != 40:
            self.faults.append(f"user_info of {name}: {info['name']}, {info['show_name']}, {info['key']}")
        status = harness.exchange(self.server.address, harness.request("GET", f"/s/{info['avatar']}"), 30).status
        if status not in (200, 404):
            self.faults.append(f"/s/{info['avatar']}: HTTP {status}")

    def run(self, end: float) -> None:
        """Sends one request after the other."""
        while time.monotonic() < end:
            try:
                self.turn()
            except (OSError, KeyError, TypeError, ValueError) as error:
                self.faults.append(repr(error))


def check_rest(server: Server) -> list[str]:
    """Checks the final state."""
    faults = harness.errors_in(harness.log_of(server, 0))
    named = set()
    for name in ACCOUNTS:
        logins = [harness.login(server, name, password) for password in PASSWORDS]
        right = [answer for answer in logins if answer.code == 200]
        if len(right) != 1:
            faults.append(f"{name} has {len(right)} valid passwords")
            continue
        info = harness.post(server.address, "/api/user_info", {"token": right[0].message}).message
        named.add(info["avatar"])
        picture = harness.exchange(server.address, harness.request("GET", f"/s/{info['avatar']}"))
        if picture.status != 200:
            faults.append(f"{name}: its avatar is HTTP {picture.status}")
    folder = server.data / "avatars"
    left = {path.name for path in folder.iterdir()} - named if folder.exists() else set()
    return faults + [f"an avatar that no account uses: {name}" for name in sorted(left)]


def main() -> int:
    parser = harness.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="duration (20)")
    parser.add_argument("--clients", type=int, default=16, help="number of clients (16)")
    options = parser.parse_args()
    binary = harness.need_binary(options.binary)
    # All clients have one address, and send more than an honest client would.
    settings = {"throttle": False, "forgot_password_function_status": True, "forget_password_key": RESET_KEY}
    folder = Path(tempfile.mkdtemp(prefix="accountd-crowd-"))
    server = harness.start(binary, folder / "data", settings)
    try:
        for name in ACCOUNTS:
            harness.register(server, name, PASSWORDS[0])
        clients = [Client(server, number) for number in range(options.clients)]
        end = time.monotonic() + options.seconds
        threads = [threading.Thread(target=client.run, args=(end,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        faults = [fault for client in clients for fault in client.faults] + check_rest(server)
    finally:
        harness.kill(server)
        shutil.rmtree(folder)
    counts = sum((client.counts for client in clients), Counter())
    print(f"{counts.total()} requests: " + ", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
    missing = {f"{name} 200" for name in EXPECTED} - counts.keys()
    faults += [f"no request of this kind succeeded: {what}" for what in sorted(missing)]
    for fault, count in Counter(faults).most_common(20):
        print(f"FAILED {fault}" + (f" ({count} times)" if count > 1 else ""))
    print(f"\nFAILED: {len(faults)}" if faults else "\nPASSED")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
