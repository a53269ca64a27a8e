#!/usr/bin/env -S python3 -B
"""Shows whether an honest client is served while somebody attacks the server, and whether it recovers afterwards.

    scripts/hostile.py [--seconds N] [--only NAME]... [--again] [--binary PATH] [--limit-nofile N]

Each attack meets a fresh server (release binary, default configuration, a folder of its own) and lasts N seconds, 60
unless told; 5 is the short mode. Meanwhile an honest client asks POST /api/user_info four times a second, at fixed
times, on a new connection each, once each, and gives up after five seconds. Attackers, honest client and observer are
processes of their own; attackers run at nice 5, since they stand for machines elsewhere. Before, during (every 100 ms)
and after the attack the memory (PSS, or RSS where the kernel tells none), threads and descriptors of the server and
all its descendants are read.

It fails, with exit code 1, if an honest answer was missed or took more than a second, or if the state is not near
what it was within 30 seconds after the attack, or if the attack's own honest client (scripts/attacks.py) saw something wrong: at most 4 threads, 8 descriptors (one honest client and what it opens,
a child that is just being renewed) and 10 MiB (one picture of the largest size, which the allocator may keep) more.

An attack takes N + 5 to N + 45 seconds, all of them 15 to 20 minutes, in short mode 2 to 7; up to 2 GB of memory, and
a hard limit of 4,000 descriptors for itself. All traffic goes to 127.0.0.1. Linux, Python 3.11, no packages.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import re
import resource
import select
import shutil
import socket
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

import attacks
import harness
from attacks import Attacker, Target, Witness
from harness import Address, Server

HONEST_PAUSE = 0.25
HONEST_DEADLINE = 5.0
SLOW = 1.0
RECOVERY = 30.0
MORE_THREADS, MORE_DESCRIPTORS, MORE_MEMORY = 4, 8, 10 * 1024 * 1024

fork = multiprocessing.get_context("fork")


@dataclass
class Attack:
    """One row of the table."""

    name: str
    what: str
    attacker: Attacker
    processes: int = 1
    few_descriptors: bool = False
    # An honest client of its own, which returns what went wrong.
    witness: Witness | None = None
    settings: dict = field(default_factory=dict)
    # Over a unix socket instead of TCP.
    unix: bool = False


# --- attackers -------------------------------------------------------------------------------------------------------


def quiet(_target: Target, end: float, _counts: Counter) -> None:
    """No attack: what this machine does by itself."""
    time.sleep(max(0.0, end - time.monotonic()))


def crowd(
    target: Target,
    end: float,
    counts: Counter,
    size: int,
    first: bytes = b"",
    drip: bytes = b"",
    pause: float = 0.5,
    renew: float = float("inf"),
    receive_buffer: int = 0,
) -> None:
    """Keeps so many connections open. Each sends `first` at once, then a byte of `drip` every `pause` seconds, the last
    one again and again, and never reads. One that the server ends, or that is `renew` seconds old, is opened anew."""
    watch = select.poll()
    members: dict[int, list] = {}
    while (now := time.monotonic()) < end:
        ended = {descriptor for descriptor, _ in watch.poll(0)}
        for descriptor in ended | {number for number, member in members.items() if now - member[1] > renew}:
            watch.unregister(descriptor)
            members.pop(descriptor)[0].close()
            counts["ended by the server" if descriptor in ended else "renewed"] += 1
        for _ in range(size - len(members)):
            connection = socket.socket()
            connection.setblocking(False)
            if receive_buffer:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            connection.connect_ex(target.address)
            watch.register(connection, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
            members[connection.fileno()] = [connection, now, 0]
            counts["connections"] += 1
            time.sleep(0.001)  # One after the other: those that find the queue full would come a second later.
        for member in members.values():
            connection, _, sent = member
            following = first[sent:] or drip[min(sent - len(first), len(drip) - 1) :][:1]
            try:
                member[2] += connection.send(following) if following else 0
            except OSError:
                pass  # Not connected yet, no room, or ended, which the next turn sees.
        time.sleep(max(0.0, min(pause - (time.monotonic() - now), end - time.monotonic())))


def silent(target: Target, end: float, counts: Counter) -> None:
    crowd(target, end, counts, 250)


def slow_heads(target: Target, end: float, counts: Counter) -> None:
    crowd(target, end, counts, 250, drip=b"GET /s/admin.jpg HTTP/1.1\r\nHost: a\r\nX: aaaa")


def slow_uploads(target: Target, end: float, counts: Counter) -> None:
    kind = f"multipart/form-data; boundary={harness.BOUNDARY}"
    head = f"POST /api/upload_avatar HTTP/1.1\r\nHost: a\r\ntoken: {target.token}\r\nContent-Type: {kind}\r\n"
    first = f"{head}Content-Length: 5000000\r\n\r\n".encode() + harness.upload_start()
    crowd(target, end, counts, 50, first=first, drip=b"x")


def unread_large(target: Target, end: float, counts: Counter) -> None:
    first = f"GET {target.picture} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    crowd(target, end, counts, 50, first=first, pause=0.2, renew=15, receive_buffer=4096)


def unread_pipelined(target: Target, end: float, counts: Counter) -> None:
    first = b"GET /s/admin.jpg HTTP/1.1\r\nHost: a\r\n\r\n" * 2000
    crowd(target, end, counts, 50, first=first, pause=0.2, renew=15, receive_buffer=4096)


def unread(target: Target, end: float, counts: Counter) -> None:
    """Half of the connections ask for the large picture, half for many small ones."""
    other = threading.Thread(target=unread_large, args=(target, end, counts))
    other.start()
    unread_pipelined(target, end, counts)
    other.join()


def lengths(target: Target, end: float, counts: Counter) -> None:
    announced = ["30000000000", "4611686018427387904", "18446744073709551615"]
    for length, path in itertools.cycle(itertools.product(announced, ["/api/login", "/api/upload_avatar"])):
        if time.monotonic() >= end:
            return
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\ntoken: {target.token}\r\nContent-Length: {length}\r\n\r\nabc"
        try:
            counts[f"HTTP {harness.exchange(target.address, head.encode(), 2).status}"] += 1
        except OSError:
            counts["no answer"] += 1
            time.sleep(0.01)


def length_last(target: Target, end: float, counts: Counter) -> None:
    """Its connection is given up for the many requests; the huge one must be, too, without being made room for."""
    head = b"POST /api/login HTTP/1.1\r\nHost: a\r\nContent-Length: 30000000000\r\n\r\nabc"
    hit_and_run(target, end, counts, b"GET /s/admin.jpg HTTP/1.1\r\nHost: a\r\n\r\n" * 200 + head, False, 0.05)


def hit_and_run(target: Target, end: float, counts: Counter, raw: bytes, reset: bool, pause: float) -> None:
    """Connects, sends and is gone without reading, again and again."""
    while time.monotonic() < end:
        try:
            with socket.create_connection(target.address, timeout=1) as connection:
                connection.sendall(raw)
                time.sleep(pause)
                if reset:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            counts["requests"] += 1
        except OSError:
            counts["no connection"] += 1
            time.sleep(0.01)


def resets(target: Target, end: float, counts: Counter) -> None:
    raw = harness.request("POST", "/api/login", body=b"{}").replace(b"Connection: close\r\n", b"")
    hit_and_run(target, end, counts, raw, reset=True, pause=0)


def http2(target: Target, end: float, counts: Counter) -> None:
    hit_and_run(target, end, counts, b"GET /s/admin.jpg HTTP/2.0\r\nHost: a\r\n\r\n", reset=False, pause=0.01)


def giant_head(target: Target, end: float, counts: Counter) -> None:
    part = b"a" * 1_000_000
    while time.monotonic() < end:
        try:
            with socket.create_connection(target.address, timeout=2) as connection:
                connection.sendall(b"GET /s/admin.jpg HTTP/1.1\r\nX: ")
                for _ in range(100):
                    connection.sendall(part)
                    counts["MB"] += 1
                    if time.monotonic() >= end:
                        return
                connection.sendall(b"\r\n\r\n")
                counts["whole heads"] += 1
                connection.recv(1)
        except OSError:
            counts["cut off"] += 1
            time.sleep(0.01)


def pipeline(target: Target, end: float, counts: Counter) -> None:
    one = b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n"
    while time.monotonic() < end:
        try:
            with socket.create_connection(target.address, timeout=1) as connection:
                counts["connections"] += 1
                converse(connection, one * 100_000, end, counts)
        except OSError:
            counts["cut off"] += 1
            time.sleep(0.01)


def converse(connection: socket.socket, raw: bytes, end: float, counts: Counter) -> None:
    """Sends and reads at the same time, until the server ends the connection or says nothing for a second."""
    connection.setblocking(False)
    rest = memoryview(raw)
    while time.monotonic() < end:
        readable, writable, _ = select.select([connection], [connection] if rest else [], [], 1)
        if not readable and not writable:
            return
        if writable:
            sent = connection.send(rest[: 1 << 16])
            rest = rest[sent:]
            counts["bytes sent"] += sent
        if readable:
            data = connection.recv(1 << 16)
            if not data:
                return
            counts["answers"] += data.count(b"HTTP/1.1 ")


def descriptors(target: Target, end: float, counts: Counter) -> None:
    crowd(target, end, counts, 750, pause=0.1)


def bursts(target: Target, end: float, counts: Counter) -> None:
    raw = harness.request("GET", "/s/admin.jpg")
    while time.monotonic() < end:
        connections: list[socket.socket] = []
        try:
            for _ in range(64):
                connections.append(socket.create_connection(target.address, timeout=5))
            for connection in connections:
                connection.sendall(raw)
            for connection in connections:
                counts["answered" if connection.recv(12) == b"HTTP/1.1 200" else "refused"] += 1
        except OSError:
            counts["broken bursts"] += 1
            time.sleep(0.01)
        for connection in connections:
            connection.close()
        counts["bursts"] += 1


BEHIND_A_PROXY = {"trusted_proxies": ["127.0.0.1"]}

ATTACKS = [
    Attack("quiet", "no attack: what the machine does by itself", quiet),
    Attack("silent", "1,000 connections that send nothing", silent, 4),
    Attack("slow-heads", "500 connections that send a byte of a head every half second", slow_heads, 2),
    Attack("slow-uploads", "100 uploads that send a byte of body every half second", slow_uploads, 2),
    Attack("unread", "50 GETs of 10 MB and 50 times 2,000 GETs in a row whose answers nobody reads", unread),
    Attack("lengths", "announced lengths of 30 GB, 4 EB and 16 EB, as fast as one client can", lengths),
    Attack("length-last", "200 GETs in a row and an announced length of 30 GB behind them, 20 a second", length_last),
    Attack("resets", "requests followed by a reset, as fast as one client can", resets),
    Attack("http2", "request lines that say HTTP/2.0, up to 100 a second", http2),
    Attack("giant-head", "a head of 100 MB, one after the other", giant_head),
    Attack("pipeline", "100,000 requests at once on one connection, one such after the other", pipeline),
    Attack("descriptors", "3,000 connections to a server with fewer descriptors", descriptors, 4, True),
    Attack("bursts", "64 connections at one instant, again and again", bursts),
    Attack("reloads", "SIGHUP after SIGHUP, 1,000 at most", attacks.reloads, witness=attacks.keeps_its_captchas, settings={"throttle": False}),
    Attack("wear", "announced lengths of 100 GB beside an upload of 150 KB/s", attacks.lengths, 2, witness=attacks.uploads_slowly),
    Attack("unix", "chunked and malformed requests over a unix socket", attacks.malformed, unix=True),
    Attack("ports", "the same beside a client that reuses its port", attacks.malformed, witness=attacks.reuses_its_port),
    Attack(
        "slow-bodies",
        "300 bodies to any path that come byte by byte, beside log-ins with Argon2id and uploads",
        attacks.slow_bodies,
        witness=attacks.logs_in_and_uploads,
        settings={"password_hash": "argon2id", "throttle": False},
    ),
    Attack("slow-readers", "300 slow readers of one picture", attacks.slow_readers, witness=attacks.fetches),
    Attack("idle", "5,000 idle connections beside a client of another address", attacks.idle, 4, witness=attacks.comes_from_elsewhere),
    Attack("captchas", "captchas for an IPv6 /48", attacks.captchas, 2, witness=attacks.keeps_a_captcha, settings=BEHIND_A_PROXY),
    Attack(
        "guesses",
        "60 guesses at one account at once, from one source and from many",
        attacks.guesses,
        witness=attacks.gets_in,
        settings=BEHIND_A_PROXY | {"password_hash": "argon2id", "sessions_per_user": 1000},
    ),
    Attack("changes", "one user's update_key", attacks.changes, 2, witness=attacks.stays_in_the_audit_log),
]


def run_attacker(attacker: Attacker, target: Target, end: float, results: multiprocessing.SimpleQueue) -> None:
    """A process of an attack: runs it, and hands over what it has counted."""
    os.nice(5)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    counts: Counter = Counter()
    try:
        attacker(target, end, counts)
    except Exception as error:  # A broken attacker is no proof of a sound server.
        counts[f"BROKEN ATTACKER: {error!r}"] += 1
    results.put(counts)


def run_witness(witness: Witness, target: Target, end: float, results: multiprocessing.SimpleQueue) -> None:
    """A process of an honest client of an attack's own: hands over what went wrong."""
    try:
        results.put(witness(target, end))
    except Exception as error:  # It has seen nothing, then.
        results.put([f"the witness: {error!r}"])


# --- the honest client -----------------------------------------------------------------------------------------------


def ask(address: Address, token: str, outcomes: list[float | str]) -> None:
    """One honest request: its latency in seconds, or what came instead of the right answer."""
    since = time.monotonic()
    try:
        answer = harness.post(address, "/api/user_info", {"token": token}, HONEST_DEADLINE)
    except (OSError, ValueError, KeyError) as error:
        outcomes.append(repr(error))
        return
    took = time.monotonic() - since
    right = answer.code == 200 and answer.message["name"] == "honest"
    outcomes.append(took if right else f"HTTP {answer.status}, code {answer.code}")


def run_honest(address: Address, token: str, end: float, results: multiprocessing.SimpleQueue) -> None:
    """Asks at fixed times, however long the answers before take."""
    outcomes: list[float | str] = []
    threads = []
    start = time.monotonic()
    for turn in itertools.count():
        at = start + turn * HONEST_PAUSE
        if at >= end:
            break
        time.sleep(max(0.0, at - time.monotonic()))
        threads.append(threading.Thread(target=ask, args=(address, token, outcomes)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    results.put(outcomes)


# --- what the server uses --------------------------------------------------------------------------------------------


@dataclass
class State:
    """Memory in bytes, threads and descriptors of some processes."""

    memory: int = 0
    threads: int = 0
    descriptors: int = 0
    pids: set[int] = field(default_factory=set)


def measure(root: int) -> State:
    """The state of a process, its descendants and the rest of its session."""
    processes = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] not in "ZX":
            processes[int(pid)] = (int(fields[1]), int(fields[3]), int(fields[17]))
    state = State(pids={pid for pid, (_, session, _) in processes.items() if root in (pid, session)})
    while more := {pid for pid, (parent, _, _) in processes.items() if parent in state.pids} - state.pids:
        state.pids |= more
    for pid in sorted(state.pids):
        try:
            state.memory += memory(pid)
            state.descriptors += len(os.listdir(f"/proc/{pid}/fd"))
            state.threads += processes[pid][2]
        except OSError:
            state.pids.discard(pid)
    return state


def memory(pid: int) -> int:
    """The PSS of a process, or its RSS."""
    for name, member in ((f"/proc/{pid}/smaps_rollup", "Pss:"), (f"/proc/{pid}/status", "VmRSS:")):
        try:
            lines = Path(name).read_text().splitlines()
        except PermissionError:
            continue
        sizes = [int(line.split()[1]) * 1024 for line in lines if line.startswith(member)]
        if sizes:
            return sizes[0]
    return 0


def settle(root: int, patience: float = 15) -> State:
    """The state once it stays the same for a second and a half; idle threads of a start have ended then."""
    states = [measure(root)]
    end = time.monotonic() + patience
    while time.monotonic() < end:
        time.sleep(0.5)
        states.append(measure(root))
        if len({(state.threads, state.descriptors) for state in states[-4:]}) == 1 and len(states) >= 4:
            break
    return states[-1]


def lasting(before: State, after: State) -> list[str]:
    """What is not near what it was."""
    if not after.pids:
        return ["server ended"]
    return [
        f"{name} stay"
        for name, much, allowed in [
            ("threads", after.threads - before.threads, MORE_THREADS),
            ("descriptors", after.descriptors - before.descriptors, MORE_DESCRIPTORS),
            ("memory", after.memory - before.memory, MORE_MEMORY),
        ]
        if much > allowed
    ]


# --- one attack ------------------------------------------------------------------------------------------------------


def carry_out(attack: Attack, binary: Path, seconds: float, nofile: int) -> bool:
    """Runs one attack on a server of its own and prints its row; whether all was well."""
    folder = Path(tempfile.mkdtemp(prefix="accountd-hostile-"))
    (folder / "data").mkdir(mode=0o700)
    settings = {"secret_key_required_for_account_registration": "a key"} | attack.settings
    (folder / "data" / "config.json").write_text(json.dumps(settings))
    listen = f"unix:{folder}/socket" if attack.unix else "127.0.0.1:0"
    server = harness.start(binary, folder / "data", nofile if attack.few_descriptors else None, listen=listen)
    try:
        return observe(attack, server, binary, seconds)
    finally:
        harness.kill(server)
        shutil.rmtree(folder)


def observe(attack: Attack, server: Server, binary: Path, seconds: float) -> bool:
    """Prepares the server, attacks it, and prints the row."""
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
    attackers = [
        fork.Process(target=run_attacker, args=(attack.attacker, target, end, counted), daemon=True)
        for _ in range(attack.processes)
    ]
    honest = fork.Process(target=run_honest, args=(server.address, tokens["honest"], end, answered), daemon=True)
    witnessed = fork.SimpleQueue()
    witness = fork.Process(target=run_witness, args=(attack.witness, target, end, witnessed), daemon=True)
    for process in [honest, *attackers, *([witness] if attack.witness else [])]:
        process.start()
    peak, pids = State(), set()
    while time.monotonic() < end:
        at = time.monotonic()
        state = measure(root)
        note(peak, state)
        pids |= state.pids
        time.sleep(max(0.0, 0.1 - (time.monotonic() - at)))
    for process in attackers:
        process.join(10)
        process.kill()
    stopped = time.monotonic()
    counts: Counter = Counter()
    while not counted.empty():
        counts += counted.get()

    while True:
        after = measure(root)
        note(peak, after)
        pids |= after.pids
        took = time.monotonic() - stopped
        if not lasting(before, after) or not after.pids or took > RECOVERY:
            break
        time.sleep(0.25)
    outcomes = answered.get()
    testimony = witnessed.get() if attack.witness else []
    # And once more when all is over.
    ask(server.address, tokens["honest"], outcomes)

    times = [outcome for outcome in outcomes if isinstance(outcome, float)]
    missed, slow = len(outcomes) - len(times), sum(latency > SLOW for latency in times)
    faults = [f"{missed} missed"] * (missed > 0) + [f"{slow} slow"] * (slow > 0) + lasting(before, after)
    faults += [word for word in counts if word.startswith("BROKEN")] + testimony
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
    deeds = ", ".join(f"{count} {what}" for what, count in counts.items())
    print(f"             {attack.what}{': ' if deeds else ''}{deeds}")
    for reason, count in Counter(outcome for outcome in outcomes if isinstance(outcome, str)).most_common(3):
        print(f"             missed {count} times: {reason}")
    code = server.process.poll()
    if code is not None:
        print(f"             the server ended with code {code}")
    # Without the time and the lines of requests and of the start.
    lines = [re.sub(r"^\d{4}-\S+ ", "", line) for line in harness.log_since(server, 0)[3:]]
    for line, count in Counter(line for line in lines if not line.startswith("info ")).most_common(4):
        print(f"             in the log, {count} times: {line}")
    sys.stdout.flush()
    return not faults


def note(peak: State, state: State) -> None:
    """Keeps the largest of each number."""
    peak.memory = max(peak.memory, state.memory)
    peak.threads = max(peak.threads, state.threads)
    peak.descriptors = max(peak.descriptors, state.descriptors)


def print_row(name: str, numbers: list[str], verdict: str) -> None:
    """One row of the table of results."""
    widths = [12, 8, 7, 17, 15, 17, 7, 6]
    print(f"{name:<12} " + " ".join(f"{text:>{width}}" for text, width in zip(numbers, widths)) + f"  {verdict}")


def main() -> int:
    """Reads the command line, and runs one attack after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="how long an attack lasts (60)")
    parser.add_argument("--binary", default=harness.BINARY, help="the server (target/release/accountd)")
    names = [attack.name for attack in ATTACKS]
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=", ".join(names))
    again = "tries an attack that failed once more: other work on the machine makes honest clients wait, too"
    parser.add_argument("--again", action="store_true", help=again)
    parser.add_argument("--limit-nofile", type=int, default=2048, help="descriptors in the attack on them (2048)")
    options = parser.parse_args()
    binary = harness.need_binary(options.binary)
    heads = ["answers/miss/slow", "slowest", "median", "memory MiB", "threads", "descriptors", "renewed", "back"]
    print("honest answers / missed / over 1 s, slowest and median in ms; memory in MiB, threads and descriptors")
    print("before / peak / after; pids that were not there before; seconds until the state was back; verdict\n")
    print_row("attack", [heads[0].replace("answers", "ok"), *heads[1:]], "verdict")
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
