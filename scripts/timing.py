#!/usr/bin/env -S python3 -B
"""Shows that each refused log-in takes equally long, so that time tells no names, no schemes and no disabled users.

    scripts/timing.py [--tries N] [--binary PATH]

For both settings of `password_hash`, on a database whose rows are all MD5, all Argon2id, and both: N log-ins (200) of each
kind, in turn: an unknown name, a wrong password on a row of either scheme, and a disabled user of either scheme with the
right password. Each goes over a connection that is open already, with a captcha that was fetched before. Fails if a median
is further than a twelfth from that of the unknown name; exit code 1 then. About four minutes, 25 tries half a minute. Linux, Python 3.11, no packages.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness
from harness import Server

APART = 1 / 12
SCHEMES = ("md5", "argon2id")
UNKNOWN = "unknown name"


def took(server: Server, connection: socket.socket, name: str, password: str) -> float:
    """Seconds of one log-in that is refused."""
    captcha = harness.exchange(server.address, harness.request("GET", "/api/get_verification_code"))
    members = {"username": name, "passwd": password, "verification_code": harness.CAPTCHA}
    members["verification_code_key"] = captcha.headers["verificationcodekey"]
    raw = harness.request("POST", "/api/login", body=json.dumps(members).encode())
    raw = raw.replace(b"Connection: close\r\n", b"")
    since = time.perf_counter()
    connection.sendall(raw)
    answer = connection.recv(65_536)
    seconds = time.perf_counter() - since
    assert b'"code":604' in answer, answer
    return seconds


def fill(binary: Path, data: Path, rows: tuple[str, ...]) -> dict[str, tuple[str, str]]:
    """Makes users whose rows have these schemes; the kinds of refusal that they allow, each with a name and a password."""
    kinds = {UNKNOWN: ("nobody99", "wrong")}
    for scheme in rows:
        os.environ["ACCOUNTD_PASSWORD_HASH"] = scheme
        server = harness.start(binary, data)
        try:
            for name in (f"wrong-{scheme}", f"disabled-{scheme}"):
                assert harness.register(server, name).code == 200
        finally:
            harness.kill(server)
        subprocess.run([binary, "user", "disable", f"disabled-{scheme}", "--data", data], check=True, capture_output=True)
        kinds[f"wrong password on {scheme}"] = (f"wrong-{scheme}", "wrong")
        kinds[f"disabled, {scheme}"] = (f"disabled-{scheme}", harness.PASSWORD)
    return kinds


def apart(binary: Path, setting: str, rows: tuple[str, ...], tries: int) -> bool:
    """Whether a kind of refusal takes another time than an unknown name."""
    os.environ["ACCOUNTD_THROTTLE"] = "false"
    folder = Path(tempfile.mkdtemp(prefix="accountd-timing-"))
    times: dict[str, list[float]] = {}
    try:
        kinds = fill(binary, folder / "data", rows)
        os.environ["ACCOUNTD_PASSWORD_HASH"] = setting
        server = harness.start(binary, folder / "data")
        try:
            with socket.create_connection(server.address, timeout=30) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for nth in range(tries + 2):
                    for kind, (name, password) in kinds.items():
                        seconds = took(server, connection, name, password)
                        if nth >= 2:  # What is done for the first time takes longer.
                            times.setdefault(kind, []).append(seconds)
        finally:
            harness.kill(server)
    finally:
        shutil.rmtree(folder)
    medians = {kind: statistics.median(seconds) for kind, seconds in times.items()}
    print(f"password_hash {setting}, rows {' and '.join(rows)}:")
    for kind, median in medians.items():
        print(f"    {kind:<26} {median * 1e3:8.3f} ms  {median / medians[UNKNOWN]:.3f}", flush=True)
    return any(not 1 - APART < median / medians[UNKNOWN] < 1 + APART for median in medians.values())


def main() -> int:
    """Reads the command line, and compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=200, help="log-ins of each kind (200)")
    parser.add_argument("--binary", default=harness.BINARY, help="the server (target/release/accountd)")
    options = parser.parse_args()
    binary = harness.need_binary(options.binary)
    cases = [(setting, rows) for setting in SCHEMES for rows in (*((scheme,) for scheme in SCHEMES), SCHEMES)]
    failed = [case for case in cases if apart(binary, *case, options.tries)]
    print("FAILED" if failed else "PASSED")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
