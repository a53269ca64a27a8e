#!/usr/bin/env -S python3 -B
"""Injects an error into each system call that writes a registration, a change of password or an
upload to disk.

    scripts/steps.py [--binary PATH]

strace makes the first, the second, the third … such call of the answering thread fail, with "no
space left" or "input/output error". Each time the response must be the contract's refusal for an
error of the server, with one line in the log; no part of the change may be in the database or in
avatars/; and the same request must work without the error. If the call was not essential, the
response is 200 and the change is there. At the end the server is killed and started again, and must
have everything that was acknowledged.

Half a minute. Needs strace and the right to trace, without which it prints SKIPPED. Linux, Python
3.11.
"""

import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import harness
from harness import Answer, Server, check

# System calls that write to a disk, an error that each may return, and the maximum number of calls
# that are tried.
CALLS = [
    ("openat", "EIO", 6),
    ("write", "ENOSPC", 20),
    ("pwrite64", "ENOSPC", 40),
    ("pwrite64", "EIO", 40),
    ("fsync", "EIO", 8),
    ("fdatasync", "EIO", 8),
    ("ftruncate", "EIO", 4),
    ("rename", "ENOSPC", 4),
    ("unlink", "EIO", 4),
    ("mkdir", "ENOSPC", 4),
]


@dataclass
class Account:
    """The acknowledged state of the user whose password and avatar change."""

    password: str
    token: str
    avatar: str
    picture: bytes


@dataclass
class Way:
    """A request that writes: its allowed refusals (HTTP status, code), and whether its change took
    effect."""

    path: str
    refusals: set[tuple[int, int]]
    send: Callable[[str], Answer]
    done: Callable[[str, Answer], bool]


class Failing:
    """A context in which the Nth such call of each thread of the worker fails."""

    def __init__(self, server: Server, call: str, error: str, nth: int) -> None:
        self.server, self.output = server, server.data.with_name("strace")
        rule = f"inject={call}:error={error}:when={nth}"
        pid = (Path("/proc") / str(server.process.pid) / "task" / str(server.process.pid) / "children").read_text()
        self.command = ["strace", "-f", "-y", "-o", str(self.output), "-e", f"trace={call}", "-e", rule, "-p", pid.strip()]
        self.hit = ""

    def __enter__(self) -> "Failing":
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE, text=True)
        first = self.process.stderr.readline()
        if "attached" not in first:
            raise PermissionError(first.strip())
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()
        self.process.stderr.close()
        # The reaper's look-ups in /proc and the log are not part of a write.
        lines = self.output.read_text(errors="replace").splitlines()
        hits = [line for line in lines if "(INJECTED)" in line and str(self.server.data) + "/" in line]
        self.hit = hits[0] if hits else ""


def ways(server: Server, account: Account) -> list[Way]:
    """The three requests. A tag makes each one different from those before."""

    def change_password(tag: str) -> Answer:
        members = {"username": "rei", "old_passwd": account.password, "new_passwd": tag}
        answer = harness.post_solved(server.address, "/api/update_password", members)
        if answer.code == 200:
            account.password = tag
            account.token = str(harness.login(server, "rei", tag).message)
        return answer

    def password_is(tag: str, _: Answer) -> bool:
        # A log-in ends the previous session.
        token = harness.login(server, "rei", tag)
        if token.code == 200:
            account.token = str(token.message)
        return token.code == 200

    def picture(tag: str) -> bytes:
        return harness.png(110, 110, tag)

    def upload(tag: str) -> Answer:
        answer = harness.upload(server, account.token, picture(tag))
        if answer.code == 200:
            account.avatar, account.picture = str(answer.message), picture(tag)
        return answer

    def picture_is(tag: str, _: Answer) -> bool:
        info = harness.post(server.address, "/api/user_info", {"token": account.token}).message
        served = harness.exchange(server.address, harness.request("GET", f"/s/{info['avatar']}"))
        check(f"{tag}: the avatar is the acknowledged one", info["avatar"] == account.avatar, info["avatar"], quiet=True)
        check(f"{tag}: its picture is served", served.body == account.picture, served.status, quiet=True)
        return served.body == picture(tag)

    return [
        Way(
            "/api/registered",
            {(200, 603), (200, 404)},
            lambda tag: harness.register(server, tag),
            lambda tag, _: harness.login(server, tag).code == 200,
        ),
        Way("/api/update_password", {(500, 169)}, change_password, password_is),
        Way("/api/upload_avatar", {(200, 169)}, upload, picture_is),
    ]


def try_step(server: Server, account: Account, way: Way, call: str, error: str, nth: int) -> bool:
    """Makes one call fail; returns whether there was such a call."""
    tag = f"{way.path.rsplit('/', 1)[1]}-{call}-{error}-{nth}"
    before = server.log.stat().st_size
    with Failing(server, call, error, nth) as failing:
        answer = way.send(tag)
    if answer.code == 200:
        check(f"{tag}: the acknowledged change took effect", way.done(tag, answer), answer.code, quiet=True)
    else:
        check(f"{tag}: the response is the contract's", (answer.status, answer.code) in way.refusals, answer, quiet=True)
        check(f"{tag}: the refused change had no effect", not way.done(tag, answer), answer.code, quiet=True)
        lines = [line for line in harness.errors_in(harness.log_of(server, before)) if way.path in line]
        # If `write` fails, so do writes to the log.
        check(f"{tag}: one line in the log", len(lines) == 1 or call == "write", lines or failing.hit, quiet=True)
        again = way.send(tag + "-again")
        check(f"{tag}: the request works without the error", again.code == 200, again.code, quiet=True)
    return bool(failing.hit)


def left(server: Server, account: Account) -> set[str]:
    """The files in avatars/ that no user has."""
    return {path.name for path in (server.data / "avatars").iterdir()} - {account.avatar}


def run(binary: Path, folder: Path) -> None:
    """Tries every call of every request, then a crash."""
    # One thread, so that the counted calls are those of the thread that answers.
    settings = {"threads": 1, "throttle": False}
    server = harness.start(binary, folder / "data", settings)
    account = Account(harness.PASSWORD, "", "", b"")
    try:
        harness.register(server, "rei")
        account.token = str(harness.login(server, "rei").message)
        account.picture = harness.png(110, 110, "first")
        account.avatar = str(harness.upload(server, account.token, account.picture).message)
        for way in ways(server, account):
            steps = 0
            for call, error, most in CALLS:
                for nth in range(1, most + 1):
                    hit = try_step(server, account, way, call, error, nth)
                    steps += hit
                    # Some openat calls of the thread read /proc, so a miss is not the end.
                    if not hit and call != "openat":
                        break
                else:
                    check(f"{way.path}: at most {most} calls of {call}", call == "openat", quiet=True)
            check(f"{way.path}: at least 3 calls failed", steps >= 3, steps, quiet=True)
            print(f"ok     {way.path}: {steps} calls failed in turn")
        # The next start removes an old avatar that could not be removed.
        harness.kill(server)
        server = harness.start(binary, folder / "data", settings)
        end = time.monotonic() + 5
        while left(server, account) and time.monotonic() < end:
            time.sleep(0.02)
        check("no file is left in avatars/ that no user has", not left(server, account), ", ".join(left(server, account)))
        login = harness.login(server, "rei", account.password)
        check("after a kill and a start: the password is the acknowledged one", login.code == 200, login.code)
        info = harness.post(server.address, "/api/user_info", {"token": login.message}).message
        check("after a kill and a start: the avatar is the acknowledged one", info["avatar"] == account.avatar, info["avatar"])
    finally:
        harness.kill(server)
    database = sqlite3.connect(shutil.copy(folder / "data" / "accountd.db", folder / "copy.db"))
    found = database.execute("PRAGMA integrity_check").fetchall()
    check("the database is sound", found == [("ok",)])


def main() -> int:
    binary = harness.need_binary(harness.parser(__doc__).parse_args().binary)
    if shutil.which("strace") is None:
        print("SKIPPED: strace is not installed")
        return 0
    folder = Path(tempfile.mkdtemp(prefix="accountd-steps-"))
    try:
        run(binary, folder)
    except PermissionError as error:
        print(f"SKIPPED: {error}")
        return 0
    finally:
        shutil.rmtree(folder)
    return harness.verdict()


if __name__ == "__main__":
    sys.exit(main())
