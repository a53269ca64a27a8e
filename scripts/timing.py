#!/usr/bin/env -S python3 -B
"""Shows that a log-in of nobody takes as long as one with a wrong password, so that time tells no names.

    scripts/timing.py [--tries N] [--binary PATH]

For both schemes of `password_hash`: N log-ins (200) with a user that is there and a wrong password, and N with one that is
not, in turn, each on a connection that is open already and with a captcha that was fetched before. Fails if the medians
are further apart than a twelfth. Exit code 1 then. Half a minute. Linux, Python 3.11, no packages.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

import harness
from harness import Server

APART = 1 / 12


def took(server: Server, connection: socket.socket, name: str) -> float:
    """Seconds of one log-in with a wrong password."""
    captcha = harness.exchange(server.address, harness.request("GET", "/api/get_verification_code"))
    members = {"username": name, "passwd": "wrong", "verification_code": harness.CAPTCHA}
    members["verification_code_key"] = captcha.headers["verificationcodekey"]
    raw = harness.request("POST", "/api/login", body=json.dumps(members).encode())
    raw = raw.replace(b"Connection: close\r\n", b"")
    since = time.perf_counter()
    connection.sendall(raw)
    answer = connection.recv(65_536)
    seconds = time.perf_counter() - since
    assert b'"code":604' in answer, answer
    return seconds


def ratio(binary: Path, scheme: str, tries: int) -> float:
    """The median of nobody's log-ins over that of wrong passwords."""
    os.environ |= {"ACCOUNTD_PASSWORD_HASH": scheme, "ACCOUNTD_THROTTLE": "false"}
    folder = Path(tempfile.mkdtemp(prefix="accountd-timing-"))
    server = harness.start(binary, folder / "data")
    try:
        assert harness.register(server, "somebody").code == 200
        with socket.create_connection(server.address, timeout=30) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for name in ("somebody", "nobody99"):
                took(server, connection, name)
            pairs = [
                (took(server, connection, "somebody"), took(server, connection, "nobody99")) for _ in range(tries)
            ]
    finally:
        harness.kill(server)
        shutil.rmtree(folder)
    wrong, nobody = (statistics.median(times) for times in zip(*pairs))
    print(f"{scheme:<9} wrong password {wrong * 1e3:.3f} ms, nobody {nobody * 1e3:.3f} ms: {nobody / wrong:.3f}")
    return nobody / wrong


def main() -> int:
    """Reads the command line, and compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=200, help="log-ins of each kind (200)")
    parser.add_argument("--binary", default=harness.BINARY, help="the server (target/release/accountd)")
    options = parser.parse_args()
    binary = harness.need_binary(options.binary)
    ratios = [ratio(binary, scheme, options.tries) for scheme in ("md5", "argon2id")]
    failed = [ratio for ratio in ratios if not 1 - APART < ratio < 1 + APART]
    print("FAILED" if failed else "PASSED")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
