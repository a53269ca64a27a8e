"""Measures accountd and a floor in turns; scripts/bench.sh builds both and calls it.

Each work is measured in rounds, accountd and the floor one after the other. The results are medians
of the rounds and of the ratios within a round. Settings are the defaults, except that `throttle` is
off, since one source sends everything, and that each captcha has the same answer. The log goes to a
file.
"""

import argparse
import hashlib
import multiprocessing
import os
import platform
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import harness  # noqa: E402

WORKERS = 4  # the default of `threads`
CONNECTIONS = 32
PICTURE = 100 * 1000  # bytes
SETTINGS = {"throttle": False}
TICK = os.sysconf("SC_CLK_TCK")
MB = 1e6


@dataclass
class Scale:
    """The size of the measurements."""

    rounds: int
    seconds: float  # of one measurement
    few: int  # users
    usual: int
    many: int
    starts: int
    rest: float  # seconds until memory is expected to be released


WHOLE = Scale(rounds=5, seconds=3, few=1_000, usual=100_000, many=1_000_000, starts=15, rest=12)
SHORT = Scale(rounds=1, seconds=0.7, few=100, usual=1_000, many=5_000, starts=3, rest=7)


def steady(measure: Callable[[], int]) -> int:
    """Measures processes, again if one of them exits meanwhile."""
    for _ in range(100):
        try:
            return measure()
        except (OSError, StopIteration):
            time.sleep(0.01)
    return measure()


@dataclass
class Target:
    """A server under load."""

    server: harness.Server
    users: int
    bare: bool = False

    def processes(self) -> list[int]:
        """The process and its descendants."""
        found = [self.server.process.pid]
        for pid in found:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                found += [int(child) for child in children.read_text().split()]
        return found

    def processor_time(self) -> float:
        """Seconds of processor time of all processes."""

        def ticks(pid: int) -> int:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
            # Including children that have exited, since workers are replaced now and then.
            return sum(int(field) for field in fields[11:15])

        return steady(lambda: sum(map(ticks, self.processes()))) / TICK

    def memory(self) -> float:
        """The PSS of all processes in MB."""

        def share(pid: int) -> int:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().split("\n")
            return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))

        return steady(lambda: sum(map(share, self.processes()))) * 1024 / MB

    def threads(self) -> int:
        """Threads of all processes."""
        return steady(lambda: sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in self.processes()))

    def stop(self) -> None:
        harness.stop(self.server)


@dataclass
class Load:
    """The results of a load."""

    rate: float  # requests per second
    cost: float  # microseconds of the server's processor time per request
    latency: tuple[float, float, float]  # milliseconds: 50, 99, 99.9 %


# --- servers and their data ------------------------------------------------------------------------------------------


def token(user: int) -> str:
    """The token of a user; load.lua computes the same one."""
    return f"{user:010d}" * 25


def session(user: int, expires_at: int) -> tuple:
    """A row of `sessions`, whose id is the start of the digest."""
    digest = hashlib.sha256(token(user).encode()).digest()
    return int.from_bytes(digest[:8], signed=True), digest, user, expires_at


def folder(base: Path, binary: Path, users: int) -> Path:
    """A data folder with this many users, each with a session: created by the server and filled
    while it is stopped."""
    data = base / f"users-{users}"
    ours(binary, data, 0).stop()
    password = hashlib.md5(harness.PASSWORD.encode()).hexdigest()
    now = int(time.time())
    db = sqlite3.connect(data / "accountd.db")
    db.execute("PRAGMA cache_size = -500000")
    db.executemany(
        "INSERT INTO users (id, name, show_name, email, password, key, avatar, created_at) "
        "VALUES (?, ?, ?, ?, ?, ?, 'admin.jpg', ?)",
        (
            (i, f"user{i}", f"name {i:010d}", f"user{i}@example.org", password, f"{i:040d}", now)
            for i in range(1, users + 1)
        ),
    )
    db.executemany(
        "INSERT INTO sessions (id, token_sha256, user_id, nth, expires_at) VALUES (?, ?, ?, 1, ?)",
        (session(i, now + 86_400) for i in range(1, users + 1)),
    )
    db.commit()
    db.close()
    return data


def ours(binary: Path, data: Path, users: int, cpus: set[int] | None = None) -> Target:
    """Starts accountd over a folder, on these processors."""

    def bind() -> None:
        if cpus:
            os.sched_setaffinity(0, cpus)

    return Target(harness.start(binary, data, SETTINGS, confine=bind), users)


def bare_server(floor: Path, picture: Path, base: Path, users: int) -> Target:
    """Starts the floor's HTTP server."""
    server = harness.spawn_command([floor, "http", str(WORKERS), picture], base, base / "floor.log")
    return Target(harness.wait_until_listening(server), users, bare=True)


def load(
    target: Target, work: str, seconds: float, file: str = "-", connections: int = CONNECTIONS, pace: str = "fast"
) -> Load:
    """Runs wrk for this long."""
    url, log = target.server.url, target.server.log
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
    command += ["-s", HERE / "load.lua", url, "--", work, str(target.users), file, pace]
    before = target.processor_time()
    wrk = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    if target.bare:
        wake(target)
    output, _ = wrk.communicate()
    used = target.processor_time() - before
    lines = [line for line in log.read_text().splitlines() if " info " not in line][-5:]
    os.truncate(log, 0)
    result = next((line for line in output.splitlines() if line.startswith("RESULT ")), None)
    if result is None:
        sys.exit(f"wrk failed: {output}")
    requests, duration, bad, *latency = (int(number) for number in result.split()[1:])
    if bad or not requests:
        sys.exit(f"{work}: {bad} of {requests} requests failed at {url}\n{output}{lines}")
    return Load(requests / duration * 1e6, used / requests * 1e6, tuple(number / 1e3 for number in latency))


def wake(target: Target) -> None:
    """Plain tiny_http leaves some of the connections that arrive at once waiting until more arrive."""
    for _ in range(CONNECTIONS * 2):
        time.sleep(0.003)
        socket.create_connection(target.server.address).close()


# --- the table -------------------------------------------------------------------------------------------------------


class Table:
    """The table of results."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, ...]] = [("work", "ours", "floor", "ratio", "target", "")]
        self.missed = 0

    def add(self, work: str, ours: str, floor: str = "", ratio: str = "", target: str = "", met: bool | None = None):
        """Adds a row; a row without a target has no verdict."""
        verdict = "" if met is None else "yes" if met else "NO"
        self.missed += met is False
        self.rows.append((work, ours, floor, ratio, target, verdict))

    def show(self) -> None:
        """Prints the table in the form of docs/performance.md."""
        widths = [max(len(row[column]) for row in self.rows) for column in range(6)]
        for nth, row in enumerate(self.rows):
            print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
            if nth == 0:
                print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


def median(numbers) -> float:
    """The median."""
    return statistics.median(list(numbers))


def rate(loads: list[Load]) -> str:
    return f"{median(load.rate for load in loads):,.0f}/s"


def latency(loads: list[Load]) -> str:
    return " · ".join(f"{median(load.latency[nth] for load in loads):.2f}" for nth in range(3)) + " ms"


def ratio(one: list[float], other: list[float]) -> float:
    """The median of the ratios within a round."""
    return median(a / b for a, b in zip(one, other))


def note(what: str) -> None:
    """Prints progress to standard error."""
    print(f"  {what} ...", file=sys.stderr, flush=True)


# --- works -----------------------------------------------------------------------------------------------------------


def reading(table: Table, scale: Scale, usual: Target, bare: Target) -> None:
    note("user_info")
    mine, theirs = [], []
    for _ in range(scale.rounds):
        mine.append(load(usual, "user_info", scale.seconds))
        theirs.append(load(bare, "user_info", scale.seconds))
    speed = ratio([one.rate for one in mine], [one.rate for one in theirs])
    cost = ratio([one.cost for one in mine], [one.cost for one in theirs])
    table.add("user_info: requests", rate(mine), rate(theirs), f"{speed:.2f}", "≥ 0.75", speed >= 0.75)
    table.add(
        "user_info: processor time a request",
        f"{median(one.cost for one in mine):.1f} µs",
        f"{median(one.cost for one in theirs):.1f} µs",
        f"{cost:.2f}",
        "≤ 1.35",
        cost <= 1.35,
    )
    table.add("user_info: latency, 50 · 99 · 99.9 %", latency(mine), latency(theirs))


def forward_auth(table: Table, scale: Scale, usual: Target) -> None:
    note("forward_auth")
    mine, theirs = [], []
    for _ in range(scale.rounds):
        mine.append(load(usual, "forward_auth", scale.seconds))
        theirs.append(load(usual, "user_info", scale.seconds))
    speed = ratio([one.rate for one in mine], [one.rate for one in theirs])
    title = "forward_auth with the cookie; floor: our user_info"
    table.add(title, rate(mine), rate(theirs), f"{speed:.2f}", "≥ 0.90", speed >= 0.9)


def growing(table: Table, scale: Scale, binary: Path, floor: Path, base: Path) -> None:
    note("user_info with few and with many users")
    few, many = (ours(binary, folder(base, binary, users), users) for users in (scale.few, scale.many))
    mine, theirs = [], []
    for _ in range(scale.rounds):
        mine.append(load(many, "user_info", scale.seconds))
        theirs.append(load(few, "user_info", scale.seconds))
    few.stop()
    many.stop()
    speed = ratio([one.rate for one in mine], [one.rate for one in theirs])
    title = f"user_info at {many.users:,} users; floor: ours at {few.users:,}"
    table.add(title, rate(mine), rate(theirs), f"{speed:.2f}", "≥ 0.95", speed >= 0.95)
    # The database's part of that: the same query without a server, with the usual page cache and
    # with a large one.
    for memory, words in [(2_000, "the same query in SQLite alone"), (4_000_000, "and with all pages in memory")]:
        looks = [
            [int(run([floor, "lookups", base / f"users-{users}", str(scale.seconds / 3), str(memory)])) / 1000
             for users in (scale.many, scale.few)]
            for _ in range(scale.rounds)
        ]
        mine, theirs = zip(*looks)
        table.add(words, f"{median(mine):.1f} µs", f"{median(theirs):.1f} µs", f"{ratio(mine, theirs):.2f}")


def captchas(table: Table, scale: Scale, binary: Path, data: Path) -> None:
    note("captchas on one core")
    single = ours(binary, data, scale.usual, cpus={max(os.sched_getaffinity(0))})
    loads = [load(single, "captcha", scale.seconds / 2) for _ in range(scale.rounds)]
    single.stop()
    speed = median(one.rate for one in loads)
    table.add("captcha, on one core", f"{speed:,.0f}/s", target="≥ 4,000/s", met=speed >= 4_000)
    table.add("captcha: processor time", f"{median(one.cost for one in loads):.0f} µs")


def logins(table: Table, scale: Scale, usual: Target) -> None:
    note("captcha and login")
    loads = [load(usual, "login", scale.seconds / 2) for _ in range(scale.rounds)]
    pair = median(one.cost for one in loads) * 2 / 1000
    table.add("captcha + login: processor time", f"{pair:.2f} ms", target="≤ 0.40 ms", met=pair <= 0.40)
    table.add("captcha + login: pairs", f"{median(one.rate for one in loads) / 2:,.0f}/s")
    table.add("captcha + login: latency of either", latency(loads))


def writing(table: Table, scale: Scale, usual: Target, floor: Path, copy: Path) -> None:
    note("update_show_name")
    mine, theirs = [], []
    for _ in range(scale.rounds):
        mine.append(load(usual, "show_name", scale.seconds))
        theirs.append(float(run([floor, "commits", copy, str(scale.seconds)])))
    speed = ratio([one.rate for one in mine], theirs)
    table.add(
        "update_show_name; floor: a plain SQLite loop",
        rate(mine),
        f"{median(theirs):,.0f}/s",
        f"{speed:.2f}",
        "≥ 0.80",
        speed >= 0.8,
    )
    table.add("update_show_name: latency, 50 · 99 · 99.9 %", latency(mine))
    table.add("update_show_name: processor time", f"{median(one.cost for one in mine):.0f} µs")


def pictures(table: Table, scale: Scale, usual: Target, bare: Target, floor: Path, copy: Path, base: Path) -> None:
    note("avatars")
    body = base / "body"
    body.write_bytes(harness.multipart(harness.png(316, 316, 0)))
    mine, files, lasting = [], [], []
    for _ in range(scale.rounds):
        mine.append(load(usual, "upload", scale.seconds / 2, str(body), connections=1).latency[0])
        floors = run([floor, "files", copy, str(PICTURE), str(scale.seconds / 2)]).split()
        files.append(int(floors[0]) / 1000)
        lasting.append(int(floors[1]) / 1000)
    slower, slower_than_all = ratio(mine, files), ratio(mine, lasting)
    cells = f"{median(mine):.2f} ms", f"{median(files):.2f} ms", f"{slower:.2f}"
    table.add("avatar of 100 KB: upload; floor: a file written and synced", *cells, "≤ 1.50", slower <= 1.5)
    cells = f"{median(mine):.2f} ms", f"{median(lasting):.2f} ms", f"{slower_than_all:.2f}"
    table.add("the same; floor: also its folder synced and a row changed", *cells)
    name = str(harness.upload(usual.server, token(1), harness.png(316, 316, 0)).message)
    mine, theirs = [], []
    for _ in range(scale.rounds):
        mine.append(load(usual, "fetch", scale.seconds / 2, name))
        theirs.append(load(bare, "fetch", scale.seconds / 2, name))
    speed = ratio([one.rate for one in mine], [one.rate for one in theirs])
    cells = rate(mine), rate(theirs), f"{speed:.2f}"
    table.add("avatar of 100 KB: fetch; floor: from memory", *cells, "≥ 0.80", speed >= 0.8)
    table.add("avatar of 100 KB: fetch, latency", latency(mine), latency(theirs))


def keep_uploading(server: harness.Server) -> None:
    """Uploads pictures of 10 MB, four at a time, until it is killed. It stands for clients on other
    machines, so it uses only idle processors."""
    os.nice(19)
    large = harness.png(3_160, 3_160, 0)

    def keep(user: int) -> None:
        while True:
            harness.upload(server, token(user), large)

    for user in range(1, 5):
        threading.Thread(target=keep, args=(user,)).start()


def beside_uploads(table: Table, scale: Scale, usual: Target, bare: Target) -> None:
    note("honest clients beside uploads")

    def slowest(target: Target) -> float:
        """The 99th percentile of the latency of calm clients in milliseconds."""
        return load(target, "user_info", scale.seconds, connections=8, pace="calm").latency[1]

    calm, busy, bare_calm, bare_busy = [], [], [], []
    for _ in range(scale.rounds):
        calm.append(slowest(usual))
        bare_calm.append(slowest(bare))
        uploads = multiprocessing.Process(target=keep_uploading, args=(usual.server,))
        uploads.start()
        time.sleep(0.5)
        busy.append(slowest(usual))
        bare_busy.append(slowest(bare))
        uploads.kill()
        uploads.join()
    slower, bare_slower = ratio(busy, calm), ratio(bare_busy, bare_calm)
    cells = f"{median(busy):.2f} ms", f"{median(calm):.2f} ms", f"{slower:.2f}"
    table.add("8 calm clients beside 4 uploads of 10 MB: 99 %; floor: without", *cells, "≤ 3.00", slower <= 3)
    cells = f"{median(bare_busy):.2f} ms", f"{median(bare_calm):.2f} ms", f"{bare_slower:.2f}"
    table.add("plain tiny_http beside the same uploads: 99 %; floor: without", *cells)


def memory(table: Table, scale: Scale, binary: Path, data: Path, users: int) -> None:
    note("memory")
    target = ours(binary, data, users)
    time.sleep(2)
    idle = target.memory(), target.threads()
    most = {}
    for connections in (CONNECTIONS, 256):
        peak = [0.0, 0]
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.1):
                peak[0], peak[1] = max(peak[0], target.memory()), max(peak[1], target.threads())

        watcher = threading.Thread(target=watch)
        watcher.start()
        load(target, "user_info", scale.seconds + 1, connections=connections)
        done.set()
        watcher.join()
        most[connections] = tuple(peak)
    time.sleep(scale.rest)
    after = target.memory(), target.threads()
    target.stop()
    for work, (size, threads), limit in [
        ("memory (PSS, both processes): idle", idle, 5),
        (f"memory under {CONNECTIONS} connections", most[CONNECTIONS], 10),
        ("memory under 256 connections", most[256], 20),
        (f"memory {scale.rest:.0f} seconds after that", after, 5),
    ]:
        table.add(work, f"{size:.1f} MB, {threads} threads", target=f"≤ {limit} MB", met=size <= limit)


def starting(table: Table, scale: Scale, binary: Path, data: Path) -> None:
    note("starts")
    mine = []
    for _ in range(scale.starts):
        port = harness.free_port()
        mine.append(first_answer([binary, "--data", data, "--listen", f"127.0.0.1:{port}"], port))
    time_ours = median(mine)
    table.add("start to first answer", f"{time_ours:.1f} ms", target="≤ 15 ms", met=time_ours <= 15)


def first_answer(arguments: list, port: int) -> float:
    """Milliseconds from the start of a server to its first response."""
    since = time.perf_counter()
    # Not by harness.start, which polls the log.
    process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
    while True:
        try:
            harness.exchange(("127.0.0.1", port), harness.request("GET", "/"))
            break
        except OSError:
            time.sleep(0.0002)
    took = time.perf_counter() - since
    process.terminate()
    process.wait(30)
    return took * 1000


def run(arguments: list) -> str:
    """Runs a command; returns its output."""
    return subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures accountd and a floor; see scripts/bench.sh.")
    parser.add_argument("--short", action="store_true", help="half a minute that only checks that the script works")
    parser.add_argument("--only", metavar="WORD", default="", help="only the works with this word in their name")
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--floor", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, required=True, help="a folder on the disk that is measured")
    options = parser.parse_args()
    scale = SHORT if options.short else WHOLE
    binary, floor, table = options.binary.resolve(), options.floor.resolve(), Table()
    base = Path(tempfile.mkdtemp(prefix="bench-", dir=options.scratch))
    running: list[Target] = []
    try:
        note("making users")
        data, copy = folder(base, binary, scale.usual), base / "copy"
        shutil.copytree(data, copy)
        picture = base / "picture"
        picture.write_bytes(harness.png(316, 316, 0))
        usual = ours(binary, data, scale.usual)
        bare = bare_server(floor, picture, base, scale.usual)
        running += [usual, bare]
        works = {
            "reading": lambda: reading(table, scale, usual, bare),
            "forward_auth": lambda: forward_auth(table, scale, usual),
            "growing": lambda: growing(table, scale, binary, floor, base),
            "captchas": lambda: captchas(table, scale, binary, copy),
            "writing": lambda: writing(table, scale, usual, floor, copy),
            "pictures": lambda: pictures(table, scale, usual, bare, floor, copy, base),
            "uploads": lambda: beside_uploads(table, scale, usual, bare),
            "memory": lambda: memory(table, scale, binary, copy, scale.usual),
            "starting": lambda: starting(table, scale, binary, copy),
            # Last, since log-ins end the sessions that the other works use.
            "logins": lambda: logins(table, scale, usual),
        }
        for name, work in works.items():
            if options.only in name:
                work()
        size = binary.stat().st_size / MB
        table.add("binary", f"{size:.2f} MB", target="≤ 3 MB", met=size <= 3)
    finally:
        for target in running:
            target.stop()
        shutil.rmtree(base, ignore_errors=True)
    table.show()
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    names = (line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    name = next(names, ": unknown").split(":")[1].strip()
    disk = run(["stat", "--file-system", "--format=%T", options.scratch]).strip()
    print(f"\n{len(os.sched_getaffinity(0))} processors ({name}), {size:.0f} GB, {disk}, Linux {platform.release()};")
    print(f"medians of {scale.rounds} rounds; not reached: {table.missed}")


if __name__ == "__main__":
    main()
