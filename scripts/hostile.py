#!/usr/bin/env -S python3 -B
"""Attacks the server, and checks that honest clients are served meanwhile and that it recovers.

    scripts/hostile.py [--seconds N] [--only NAME]... [--again] [--binary PATH] [--limit-nofile N]

Each attack of the table ATTACKS runs against a fresh server for N seconds (default: 60; 2 is the
short mode). Meanwhile an honest client sends POST /api/user_info four times a second, each time on
a new connection, and gives up after five seconds. It has the address of the attackers, 127.0.0.1,
unless the table gives another one. Some attacks have more honest clients, the witnesses, which look
for harm that such an attack did to an older version: an upload that is cut off, a lost captcha,
missing lines in the audit log. Clients and attackers are processes; attackers run at nice 5, since
they stand for other machines. Before, during (every 100 ms) and after the attack, memory (PSS, or
RSS if the kernel does not tell), threads and descriptors of the server and its descendants are
measured. Kernel memory for sockets is not included.

It fails if
- an honest request got no response or waited for more than a second, or a witness or an attacker
  saw a fault;
- a worker was replaced other than by a reload, or there were more than three processes at once;
- 30 seconds after the attack the server still has more than before by over 4 threads, 8 descriptors
  (of one honest client) or 16 MiB (twice the limit for all connections, since the allocator keeps
  freed memory).

The short mode does not reach waits of more than 2 seconds and full tables. An upload at the minimum
pace sends its rest at once there.

An attack takes N + 2 to N + 40 seconds; all attacks take 40 minutes, in the short mode 2. Needs up
to 2 GB of memory and a hard limit of 4,000 descriptors. Traffic stays on 127.0.0.0/8 and unix
sockets. Linux, Python 3.11.
"""

import ctypes
import itertools
import json
import multiprocessing
import os
import re
import resource
import shutil
import statistics
import struct
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import harness
from attacks import Attacker, Target, Witness, attackers, witnesses
from attacks.state import State, growth, measure, settle, update_peak
from harness import Address, Server

HONEST_PAUSE = 0.25
HONEST_DEADLINE = 5.0
SLOW = 1.0
RECOVERY = 30.0
# The supervisor, the worker, and a worker that starts or drains.
MOST_PROCESSES = 3

fork = multiprocessing.get_context("fork")


def without_pidfd() -> None:
    """Makes pidfd_open and pidfd_getfd fail in this process, as Docker's seccomp profile does
    (seccomp(2))."""

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    load, equal, answer = 0x20, 0x15, 0x06
    refuse, allow = 0x0005_0001, 0x7FFF_0000
    # pidfd_open and pidfd_getfd have the same numbers on every architecture.
    numbers = [(equal, 1, 0, 434), (equal, 0, 1, 438)]
    statements = [(load, 0, 0, 0), *numbers, (answer, 0, 0, refuse), (answer, 0, 0, allow)]
    code = b"".join(struct.pack("HBBI", *statement) for statement in statements)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = Program(len(statements), ctypes.cast(buffer, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, set_seccomp, filtered = 38, 22, 2
    if libc.prctl(no_new_privileges, 1, 0, 0, 0) or libc.prctl(set_seccomp, filtered, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


@dataclass
class Attack:
    """One row of the table."""

    name: str
    what: str
    # Each runs in its own process.
    attackers: list[Attacker]
    # Additional honest clients.
    witnesses: list[Witness] = field(default_factory=list)
    # Members of config.json.
    settings: dict = field(default_factory=dict)
    # The address of the honest client.
    honest: str = ""
    few_descriptors: bool = False
    # Over a unix socket instead of TCP.
    unix: bool = False
    # Whether the attack replaces workers.
    replaces: bool = False
    # Called in the server's process before it starts.
    confine: Callable[[], None] | None = None


PROXY = {"trusted_proxies": ["127.0.0.1"]}
ARGON2ID = {"password_hash": "argon2id", "sessions_per_user": 1000}

ATTACKS = [
    Attack("quiet", "no attack: the noise of the machine", [attackers.quiet]),
    # Connections.
    Attack("silent", "1,000 connections that send nothing", [attackers.silent] * 4),
    Attack(
        "idle",
        "5,000 connections that send nothing, beside clients with other addresses, one with a kept connection",
        [attackers.idle] * 4,
        [witnesses.keeps_its_connection],
        honest="127.0.0.2",
    ),
    Attack(
        "descriptors",
        "3,000 connections to a server with fewer descriptors",
        [attackers.descriptors] * 4,
        few_descriptors=True,
    ),
    Attack("bursts", "64 connections at once, again and again", [attackers.bursts]),
    Attack("slow-heads", "500 connections that send a byte of a head every half second", [attackers.slow_heads] * 2),
    Attack(
        "no-pidfd",
        "the same without pidfd_open and pidfd_getfd",
        [attackers.slow_heads] * 2,
        confine=without_pidfd,
    ),
    Attack("expects", "500 requests that wait for 100 Continue and never send their body", [attackers.expects] * 2),
    Attack(
        "slow-bodies",
        "300 bodies sent byte by byte to any path, without token or captcha, beside uploads and log-ins",
        [attackers.slow_bodies],
        [witnesses.uploads, witnesses.logs_in],
        ARGON2ID | {"throttle": False},
    ),
    Attack("slow-uploads", "100 uploads that send a byte of body every half second", [attackers.slow_uploads] * 2),
    Attack(
        "slow-readers",
        "300 clients that read a picture of 10 MB slowly, beside 90 fetches of 188 KB",
        [attackers.slow_readers],
        [witnesses.fetches],
    ),
    Attack(
        "open-files",
        "1,500 such clients, each with an open file, and a server with fewer descriptors",
        [attackers.slow_readers] * 5,
        [witnesses.fetches, witnesses.uploads],
        few_descriptors=True,
    ),
    Attack(
        "unread",
        "50 GETs of 10 MB and 50 times 2,000 pipelined GETs, whose responses the client does not read",
        [attackers.unread],
    ),
    Attack(
        "unread-texts",
        "1,600 times 40 GETs of a text of 30 KB, whose responses the client does not read",
        [attackers.unread_texts] * 4,
    ),
    Attack("resets", "requests followed by a reset, as fast as possible", [attackers.resets]),
    Attack("unix", "chunked and malformed requests over a unix socket", [attackers.malformed], unix=True),
    Attack(
        "ports",
        "the same over TCP, beside a client that reuses its port",
        [attackers.malformed],
        [witnesses.reuses_its_port],
    ),
    # Strange requests.
    Attack(
        "lengths",
        "Content-Length of 30 GB, 100 GB, 4 EB and 16 EB, as fast as possible",
        [attackers.lengths],
    ),
    Attack(
        "wear",
        "the same, with and without reading the response, beside uploads at 150 KB and 4 KiB (the minimum) a second",
        [attackers.lengths, attackers.lengths_and_gone],
        [witnesses.uploads_slowly, witnesses.uploads_at_the_slowest_pace],
    ),
    Attack(
        "length-last",
        "200 pipelined GETs and a Content-Length of 30 GB after them, 20 times a second",
        [attackers.length_last],
    ),
    Attack("http2", "request lines with HTTP/2.0, up to 100 a second", [attackers.http2]),
    Attack("giant-head", "heads of 100 MB, one after the other", [attackers.giant_head]),
    Attack("pipeline", "100,000 pipelined requests on one connection, one connection after the other", [attackers.pipeline]),
    Attack("health", "/health on 64 kept connections", [attackers.health]),
    Attack(
        "long-bodies",
        "3,000 connections, each with one JSON body of 64 KB after the other, beside a client with another address",
        [attackers.long_bodies] * 4,
        honest="127.3.0.1",
    ),
    Attack(
        "chunks",
        "1,000 connections, each with 63,000 chunks of a byte and no last chunk, beside the same",
        [attackers.chunks] * 4,
        honest="127.3.0.1",
    ),
    # Hand-overs.
    Attack(
        "reloads",
        "one reload after the other",
        [attackers.reloads],
        [witnesses.keeps_its_captchas],
        {"throttle": False},
        replaces=True,
    ),
    Attack(
        "reload-guess",
        "the same beside a client that guesses a password",
        [attackers.reloads],
        [witnesses.is_held_back],
        PROXY,
        replaces=True,
    ),
    # Limits.
    Attack(
        "captchas",
        "captchas for an IPv6 /48",
        [attackers.captchas] * 2,
        [witnesses.keeps_a_captcha, witnesses.is_held_back],
        PROXY,
    ),
    Attack(
        "guesses",
        "60 guesses at one account at once, from one address and then from many, beside its owner",
        [attackers.guesses],
        [witnesses.gets_in],
        PROXY | ARGON2ID,
    ),
    Attack(
        "unsolved",
        "360 log-ins at a time without a captcha, from six networks, beside log-ins with Argon2id",
        [attackers.unsolved],
        [witnesses.logs_in],
        ARGON2ID | {"throttle": False},
        honest="127.3.0.1",
    ),
    Attack("changes", "update_key of one user", [attackers.changes] * 2, [witnesses.stays_in_the_audit_log]),
]


def run_attacker(attacker: Attacker, target: Target, end: float, results: multiprocessing.SimpleQueue) -> None:
    """The main function of an attacker's process; puts its counts into `results`."""
    os.nice(5)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    counts: Counter = Counter()
    try:
        attacker(target, end, counts)
    except Exception as error:  # A broken attacker proves nothing about the server.
        counts[f"BROKEN ATTACKER: {error!r}"] += 1
    results.put(counts)


def run_witness(witness: Witness, target: Target, end: float, results: multiprocessing.SimpleQueue) -> None:
    """The main function of a witness's process; puts its faults into `results`."""
    try:
        results.put(witness(target, end))
    except Exception as error:  # A broken witness proves nothing either.
        results.put([f"{witness.__name__}: {error!r}"])


# --- the honest client -----------------------------------------------------------------------------------------------


def ask(address: Address, token: str, source: str, outcomes: list[float | str]) -> None:
    """Sends one honest request; appends its seconds, or a text about the wrong response."""
    since = time.monotonic()
    raw = harness.request("POST", "/api/user_info", body=json.dumps({"token": token}).encode())
    try:
        answer = harness.exchange(address, raw, HONEST_DEADLINE, source)
    except (OSError, ValueError, KeyError) as error:
        outcomes.append(repr(error))
        return
    took = time.monotonic() - since
    right = answer.code == 200 and answer.message["name"] == "honest"
    outcomes.append(took if right else f"HTTP {answer.status}, code {answer.code}")


def run_honest(address: Address, token: str, source: str, end: float, results: multiprocessing.SimpleQueue) -> None:
    """Sends requests at fixed times, regardless of when earlier responses arrive."""
    outcomes: list[float | str] = []
    threads = []
    start = time.monotonic()
    for turn in itertools.count():
        at = start + turn * HONEST_PAUSE
        if at >= end:
            break
        time.sleep(max(0.0, at - time.monotonic()))
        threads.append(threading.Thread(target=ask, args=(address, token, source, outcomes)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    results.put(outcomes)


# --- one attack ------------------------------------------------------------------------------------------------------


def carry_out(attack: Attack, binary: Path, seconds: float, nofile: int | None) -> bool:
    """Runs one attack on a fresh server and prints its row; returns whether it passed."""
    folder = Path(tempfile.mkdtemp(prefix="accountd-hostile-"))
    listen = f"unix:{folder}/socket" if attack.unix else "127.0.0.1:0"
    nofile = nofile if attack.few_descriptors else None
    options = {"nofile": nofile, "listen": listen, "confine": attack.confine}
    server = harness.start(binary, folder / "data", attack.settings, **options)
    try:
        return observe(attack, server, binary, seconds)
    except OSError as error:
        print(f"{attack.name:<12} FAILED before the attack: {error!r}")
        return False
    finally:
        harness.kill(server)
        shutil.rmtree(folder)


def observe(attack: Attack, server: Server, binary: Path, seconds: float) -> bool:
    """Prepares the server, attacks it, and prints the row; returns whether it passed."""
    tokens = {}
    for name in ("honest", "hostile", "witness"):
        harness.register(server, name)
        tokens[name] = harness.login(server, name).message
    picture = harness.upload(server, tokens["hostile"], harness.png(3000, 3300, "large"))
    assert picture.code == 200, picture
    target = Target(server.address, tokens["hostile"], f"/s/{picture.message}", server, binary, tokens["witness"])
    root = server.process.pid
    before = settle(root)

    end = time.monotonic() + seconds
    counted, answered = fork.SimpleQueue(), fork.SimpleQueue()
    testified = fork.SimpleQueue()
    hostile = [fork.Process(target=run_attacker, args=(one, target, end, counted)) for one in attack.attackers]
    honest = [fork.Process(target=run_witness, args=(one, target, end, testified)) for one in attack.witnesses]
    arguments = (server.address, tokens["honest"], attack.honest, end, answered)
    honest.append(fork.Process(target=run_honest, args=arguments))
    for process in [*honest, *hostile]:
        process.daemon = True
        process.start()
    peak, pids = State(), set()
    while time.monotonic() < end:
        at = time.monotonic()
        state = measure(root)
        update_peak(peak, state)
        pids |= state.pids
        time.sleep(max(0.0, 0.1 - (time.monotonic() - at)))
    for process in hostile:
        process.join(10)
        process.kill()
    stopped = time.monotonic()
    counts: Counter = Counter()
    while not counted.empty():
        counts += counted.get()

    while True:
        after = measure(root)
        update_peak(peak, after)
        pids |= after.pids
        took = time.monotonic() - stopped
        if not growth(before, after) or not after.pids or took > RECOVERY:
            break
        time.sleep(0.25)
    outcomes = answered.get()
    testimony = [fault for _ in attack.witnesses for fault in testified.get()]
    # Once more after the attack.
    ask(server.address, tokens["honest"], attack.honest, outcomes)

    times = [outcome for outcome in outcomes if isinstance(outcome, float)]
    missed, slow = len(outcomes) - len(times), sum(latency > SLOW for latency in times)
    faults = [f"{missed} missed"] * (missed > 0) + [f"{slow} slow"] * (slow > 0) + growth(before, after)
    faults += [word for word in counts if word.startswith("BROKEN")] + testimony
    replaced = 0 if attack.replaces else len(pids - before.pids)
    faults += [f"{replaced} workers replaced"] * (replaced > 0)
    faults += [f"{len(peak.pids)} processes"] * (len(peak.pids) > MOST_PROCESSES)
    numbers = [
        f"{len(times)}/{missed}/{slow}",
        f"{max(times, default=0) * 1e3:.0f}",
        f"{statistics.median(times) * 1e3:.1f}" if times else "-",
        "/".join(f"{state.memory / 2**20:.1f}" for state in (before, peak, after)),
        "/".join(str(state.threads) for state in (before, peak, after)),
        "/".join(str(state.descriptors) for state in (before, peak, after)),
        str(len(pids - before.pids)),
        f"{took:.1f}",
    ]
    print_row(attack.name, numbers, "FAILED: " + ", ".join(faults) if faults else "ok")
    counted_text = ", ".join(f"{count} {what}" for what, count in counts.items())
    print(f"             {attack.what}{': ' if counted_text else ''}{counted_text}")
    for reason, count in Counter(outcome for outcome in outcomes if isinstance(outcome, str)).most_common(3):
        print(f"             missed {count} times: {reason}")
    code = server.process.poll()
    if code is not None:
        print(f"             the server exited with code {code}")
    # Lines without their time, without those of requests and of the start.
    lines = [re.sub(r"^\d{4}-\S+ ", "", line) for line in harness.log_since(server, 0)[3:]]
    for line, count in Counter(line for line in lines if not line.startswith("info ")).most_common(4):
        print(f"             in the log, {count} times: {line}")
    sys.stdout.flush()
    return not faults


def print_row(name: str, numbers: list[str], verdict: str) -> None:
    """One row of the table of results."""
    widths = [12, 8, 7, 17, 15, 17, 7, 6]
    print(f"{name:<12} " + " ".join(f"{text:>{width}}" for text, width in zip(numbers, widths)) + f"  {verdict}")


def main() -> int:
    """Runs one attack after the other."""
    parser = harness.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="duration of an attack (60)")
    names = [attack.name for attack in ATTACKS]
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=", ".join(names))
    again = "repeat a failed attack once, since other load on the machine delays honest clients too"
    parser.add_argument("--again", action="store_true", help=again)
    parser.add_argument("--limit-nofile", type=int, default=2048, help="descriptors of a server with few of them (2048)")
    options = parser.parse_args()
    binary = harness.need_binary(options.binary)
    print("honest responses / missed / over 1 s, slowest and median in ms; memory in MiB, threads and descriptors")
    print("before / peak / after; new process ids; seconds until the state was back; verdict\n")
    heads = ["ok/miss/slow", "slowest", "median", "memory MiB", "threads", "descriptors", "new", "back"]
    print_row("attack", heads, "verdict")
    failed = []
    for attack in ATTACKS:
        if options.only and attack.name not in options.only:
            continue
        tries = 2 if options.again else 1
        if not any(carry_out(attack, binary, options.seconds, options.limit_nofile) for _ in range(tries)):
            failed.append(attack.name)
    print(f"\nFAILED: {', '.join(failed)}" if failed else "\nPASSED")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
