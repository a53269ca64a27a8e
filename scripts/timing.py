#!/usr/bin/env -S python3 -B
"""Measures that every refused log-in takes equally long, so that its duration reveals nothing about
an account.

    scripts/timing.py [--tries N] [--binary PATH]

Covers both values of `password_hash`, over databases with MD5 rows, Argon2id rows, and both. N
log-ins (default: 200) of each kind take turns: an unknown name, a wrong password for a row of each
scheme, and a disabled user of each scheme with the correct password. Each uses an open connection
and a captcha that was fetched before. Fails if a median differs by more than a twelfth from that of
the unknown name.

Four minutes; half a minute with 25 tries. Needs a quiet machine. `cargo test` counts the hashes of
each refusal instead. Linux, Python 3.11.
"""

import json
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
    """Seconds that a refused log-in takes."""
    members = harness.solved({"username": name, "passwd": password}, harness.captcha(server.address))
    raw = harness.request("POST", "/api/login", body=json.dumps(members).encode())
    raw = raw.replace(b"Connection: close\r\n", b"")
    since = time.perf_counter()
    connection.sendall(raw)
    answer = connection.recv(65_536)
    seconds = time.perf_counter() - since
    assert b'"code":604' in answer, answer
    return seconds


def fill(binary: Path, data: Path, rows: tuple[str, ...]) -> dict[str, tuple[str, str]]:
    """Creates users with rows of these schemes; returns a name and a password for each kind of
    refusal."""
    kinds = {UNKNOWN: ("unknown", "wrong")}
    for scheme in rows:
        server = harness.start(binary, data, {"throttle": False, "password_hash": scheme})
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
    """Whether some kind of refusal takes noticeably longer or shorter than an unknown name."""
    folder = Path(tempfile.mkdtemp(prefix="accountd-timing-"))
    times: dict[str, list[float]] = {}
    try:
        kinds = fill(binary, folder / "data", rows)
        server = harness.start(binary, folder / "data", {"throttle": False, "password_hash": setting})
        try:
            with harness.connect(server.address, 30) as connection:
                for nth in range(tries + 2):
                    for kind, (name, password) in kinds.items():
                        seconds = took(server, connection, name, password)
                        if nth >= 2:  # The first ones warm up the server.
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
    parser = harness.parser(__doc__)
    parser.add_argument("--tries", type=int, default=200, help="log-ins of each kind (200)")
    options = parser.parse_args()
    binary = harness.need_binary(options.binary)
    cases = [(setting, rows) for setting in SCHEMES for rows in (*((scheme,) for scheme in SCHEMES), SCHEMES)]
    failed = [case for case in cases if apart(binary, *case, options.tries)]
    print("FAILED" if failed else "PASSED")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
