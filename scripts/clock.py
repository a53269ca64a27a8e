#!/usr/bin/env -S python3 -B
"""Shows what a clock that jumps does to a running server: a day forward, a day back, and home again.

    scripts/clock.py [--binary PATH]

libfaketime tells the server another time of the calendar; the clock that nobody can set stays what it is, as on a real
machine. Whatever the time, everybody can log in and use a fresh token, captchas that are handed out are good, names of
pictures are, too, and no answer is a fault of the server. A token ends when the calendar says so, and is good again for
who sets the clock back; a captcha from before a jump is either good or refused, never for longer than it lives. Waits
after wrong passwords are no shorter and no longer.

Exit code 1 if anything was not so. A few seconds. Needs libfaketime (Debian: faketime); without it, it says SKIPPED.
Linux, Python 3.11, no packages.
"""

import argparse
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
    """Moves the server's calendar by so many seconds from the real one."""
    fresh = file.with_suffix(".new")
    fresh.write_text(f"{seconds:+d}")
    fresh.rename(file)


def well(server: Server, when: str, tag: str) -> str:
    """Uses everything once; the token of a fresh log-in."""
    log_in = harness.login(server, "rei")
    check(f"{when}: a log-in is good", log_in.code == 200, log_in.code)
    token = str(log_in.message)
    info = harness.post(server.address, "/api/user_info", {"token": token})
    check(f"{when}: its token is", info.code == 200, info.code)
    check(f"{when}: somebody can register", harness.register(server, tag).code == 200)
    change = harness.post(server.address, "/api/update_show_name", {"token": token, "new_show_name": tag})
    check(f"{when}: a name can be changed", change.code == 200, change.code)
    picture = harness.png(110, 110, tag)
    upload = harness.upload(server, token, picture)
    served = harness.exchange(server.address, harness.request("GET", f"/s/{upload.message}"))
    check(f"{when}: a picture can be uploaded and is served", served.body == picture, upload.code)
    return token


def guess(server: Server) -> tuple[int, int]:
    """One wrong password: the status, and the seconds that it says to wait."""
    answer = harness.login(server, "guessed", "wrong")
    return answer.status, int(answer.headers.get("retry-after", 0))


def run(binary: Path, folder: Path, clock: Path) -> None:
    """One jump after the other under one server."""
    set_clock(clock, 0)
    server = harness.start(binary, folder / "data")
    try:
        check("somebody can register", harness.register(server, "rei").code == 200)
        token = well(server, "today", "a")
        captcha = harness.exchange(server.address, harness.request("GET", "/api/get_verification_code"))
        key = captcha.headers["verificationcodekey"]

        set_clock(clock, DAY + 60)
        info = harness.post(server.address, "/api/user_info", {"token": token})
        check("a day on: the token of yesterday has expired", info.code == 403, info.code)
        old = {"username": "rei", "passwd": harness.PASSWORD}
        old |= {"verification_code_key": key, "verification_code": harness.CAPTCHA}
        answer = harness.post(server.address, "/api/login", old)
        check("a day on: the captcha of yesterday is refused", answer.code == 503, answer.code)
        tomorrow = well(server, "a day on", "b")
        while guess(server)[0] != 429:
            pass
        wait = guess(server)[1]

        set_clock(clock, -DAY)
        check("a day back: whoever guesses still waits", guess(server)[0] == 429 and guess(server)[1] <= wait)
        info = harness.post(server.address, "/api/user_info", {"token": tomorrow})
        check("a day back: the token that was given last is good", info.code == 200, info.code)
        well(server, "a day back", "c")

        set_clock(clock, 0)
        well(server, "home again", "d")
        lines = [line for line in harness.log_of(server, 0) if " error " in line]
        check("the log has no fault", not lines, "; ".join(lines))
        check("the server is the same one", server.process.poll() is None)
    finally:
        harness.kill(server)


def main() -> int:
    """Reads the command line, and says what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=harness.BINARY, help="the server (target/release/accountd)")
    binary = harness.need_binary(parser.parse_args().binary)
    libraries = glob.glob(LIBRARY)
    if not libraries:
        print(f"SKIPPED: there is no {LIBRARY}")
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
