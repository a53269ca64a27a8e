#!/usr/bin/env -S python3 -B
"""Moves the system clock of a running server: a day forward, a day back, and to the real time
again.

    scripts/clock.py [--binary PATH]

libfaketime changes the server's wall clock and leaves the monotonic clock alone, as on a real
machine. At each time, users can register, log in, use fresh tokens and captchas, and upload
avatars, and the log has no error. Tokens expire by the wall clock, so setting it back makes an
expired token valid again. A captcha from before the jump forward is refused. Waits after wrong
passwords do not change.

A few seconds. Needs libfaketime (Debian: faketime), without which it prints SKIPPED. Linux, Python
3.11.
"""

import glob
import os
import shutil
import sys
import tempfile
from pathlib import Path

import harness
from harness import Server, check

DAY = 86_400
LIBRARY = "/usr/lib/*/faketime/libfaketime.so.1"


def set_clock(file: Path, seconds: int) -> None:
    """Sets the server's wall clock to this many seconds after the real time."""
    fresh = file.with_suffix(".new")
    fresh.write_text(f"{seconds:+d}")
    fresh.rename(file)


def check_works(server: Server, when: str, tag: str) -> str:
    """Uses everything once; returns the token of a fresh log-in."""
    log_in = harness.login(server, "rei")
    check(f"{when}: a user can log in", log_in.code == 200, log_in.code)
    token = str(log_in.message)
    info = harness.post(server.address, "/api/user_info", {"token": token})
    check(f"{when}: the new token is valid", info.code == 200, info.code)
    check(f"{when}: a user can register", harness.register(server, tag).code == 200)
    change = harness.post(server.address, "/api/update_show_name", {"token": token, "new_show_name": tag})
    check(f"{when}: a display name can be changed", change.code == 200, change.code)
    picture = harness.png(110, 110, tag)
    upload = harness.upload(server, token, picture)
    served = harness.exchange(server.address, harness.request("GET", f"/s/{upload.message}"))
    check(f"{when}: an avatar can be uploaded and is served", served.body == picture, upload.code)
    return token


def guess(server: Server) -> tuple[int, int]:
    """Sends a wrong password; returns the HTTP status and Retry-After."""
    answer = harness.login(server, "guessed", "wrong")
    return answer.status, int(answer.headers.get("retry-after", 0))


def run(binary: Path, folder: Path, clock: Path) -> None:
    """Moves the clock of one server several times."""
    set_clock(clock, 0)
    server = harness.start(binary, folder / "data")
    try:
        check("a user can register", harness.register(server, "rei").code == 200)
        token = check_works(server, "today", "a")
        key = harness.captcha(server.address)

        set_clock(clock, DAY + 60)
        info = harness.post(server.address, "/api/user_info", {"token": token})
        check("a day forward: yesterday's token has expired", info.code == 403, info.code)
        old = harness.solved({"username": "rei", "passwd": harness.PASSWORD}, key)
        answer = harness.post(server.address, "/api/login", old)
        check("a day forward: yesterday's captcha is refused", answer.code == 503, answer.code)
        tomorrow = check_works(server, "a day forward", "b")
        while guess(server)[0] != 429:
            pass
        wait = guess(server)[1]

        set_clock(clock, -DAY)
        check("a day back: the guesser still waits", guess(server)[0] == 429 and guess(server)[1] <= wait)
        info = harness.post(server.address, "/api/user_info", {"token": tomorrow})
        check("a day back: the last token is valid", info.code == 200, info.code)
        check_works(server, "a day back", "c")

        set_clock(clock, 0)
        check_works(server, "the real time again", "d")
        errors = harness.errors_in(harness.log_of(server, 0))
        check("the log has no error", not errors, "; ".join(errors))
        check("the server is still the same process", server.process.poll() is None)
    finally:
        harness.kill(server)


def main() -> int:
    binary = harness.need_binary(harness.parser(__doc__).parse_args().binary)
    libraries = glob.glob(LIBRARY)
    if not libraries:
        print(f"SKIPPED: {LIBRARY} does not exist")
        return 0
    folder = Path(tempfile.mkdtemp(prefix="accountd-clock-"))
    clock = folder / "clock"
    os.environ |= {
        "LD_PRELOAD": libraries[0],
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    try:
        run(binary, folder, clock)
    finally:
        shutil.rmtree(folder)
    return harness.verdict()


if __name__ == "__main__":
    sys.exit(main())
