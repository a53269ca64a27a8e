#!/usr/bin/env -S python3 -B
"""Measures backup and restore under load, and kills both.

    scripts/backup.py [--megabytes N] [--users N] [--rate N] [--kills N] [--lull SECONDS] [--binary PATH] [--folder DIR]

1. A data folder of --megabytes with --users users, some of whom have avatars, is written directly.
   A server runs on it; three writers change display names, --rate per second in total, and a fourth
   one uploads avatars. Their latency before, during and after `accountd backup` shows what a backup
   costs. Size, duration, peak memory (VmHWM) and the peak size of the write-ahead log are printed.
   `accountd check` checks the backup.
2. The backup is restored over the folder.
3. `restore` is killed (SIGKILL) --kills times at random moments. Each time the folder must be
   sound, with all of the old state or all of the new one. `backup` is killed as often, and may
   leave only an unfinished folder, which the next backup removes.

Five minutes with 1,000 MB. Linux, Python 3.11.
"""

import hashlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import harness
from harness import Server, check

PICTURE = 100_000  # bytes, approximately
WRITERS = 3


@dataclass
class Load:
    """Clients that write; `times` has the start and the duration of each write."""

    server: Server
    tokens: list[str]
    rate: float
    stop: threading.Event = field(default_factory=threading.Event)
    times: list[tuple[float, float]] = field(default_factory=list)
    uploads: int = 0

    def start(self) -> list[threading.Thread]:
        threads = [threading.Thread(target=self.write, args=(token,)) for token in self.tokens[:-1]]
        threads.append(threading.Thread(target=self.upload, args=(self.tokens[-1],)))
        for thread in threads:
            thread.start()
        return threads

    def write(self, token: str) -> None:
        """Changes a display name again and again, at this writer's share of the rate."""
        begun, number = time.perf_counter(), 0
        while not self.stop.is_set():
            number += 1
            start = time.perf_counter()
            members = {"token": token, "new_show_name": f"name {number}"}
            answer = harness.post(self.server.address, "/api/update_show_name", members)
            self.times.append((start, time.perf_counter() - start))
            check("a write succeeds", answer.code == 200, answer.code, quiet=True)
            left = begun + number * WRITERS / self.rate - time.perf_counter()
            if left > 0:
                time.sleep(left)

    def upload(self, token: str) -> None:
        """Replaces an avatar again and again."""
        while not self.stop.is_set():
            self.uploads += 1
            answer = harness.upload(self.server, token, harness.png(120, 120, self.uploads))
            check("an upload succeeds", answer.code == 200, answer.code, quiet=True)
            time.sleep(0.05)

    def between(self, start: float, end: float) -> str:
        """The latency of the writes in a period."""
        took = sorted(duration * 1e3 for at, duration in self.times if start <= at < end)
        if not took:
            return "none"
        median, high = took[len(took) // 2], took[int(len(took) * 0.99)]
        return f"{len(took)} writes, median {median:.1f} ms, 99 % {high:.1f} ms, slowest {took[-1]:.1f} ms"


def fill(data: Path, users: int, megabytes: float) -> None:
    """Writes users and avatars into the folder of a stopped server."""
    avatars = data / "avatars"
    avatars.mkdir(exist_ok=True)
    db = sqlite3.connect(data / "accountd.db")
    digest = hashlib.md5(b"a password").hexdigest()
    rows = (
        (f"user{at:07}", f"User {at:07}", f"user{at:07}@example.org", digest, f"{at:040}", 1_600_000_000 + at)
        for at in range(users)
    )
    columns = "name, show_name, email, password, key, created_at, avatar"
    db.executemany(f"INSERT INTO users ({columns}) VALUES (?, ?, ?, ?, ?, ?, 'admin.jpg')", rows)
    db.commit()
    side = int(PICTURE**0.5)
    # Each picture has its own pixels.
    size = (data / "accountd.db").stat().st_size
    count = min(users - 10, max(0, int((megabytes * 1e6 - size) / PICTURE)))
    for at in range(count):
        name = f"{at:010}1600000000.png"
        (avatars / name).write_bytes(harness.png(side, side, at))
        db.execute("UPDATE users SET avatar = ? WHERE name = ?", (name, f"user{at:07}"))
    db.commit()
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    os.sync()


def run(binary: Path, *words: object) -> subprocess.CompletedProcess:
    """Runs a command to its end."""
    return subprocess.run([binary, *map(str, words)], capture_output=True, text=True)


def watched(command: list[str], log: Path) -> tuple[subprocess.CompletedProcess, float, float, int]:
    """Runs a command; returns it with its seconds, its peak memory in MB and the peak size of a
    file meanwhile."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peak, largest = 0, 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
            peak = max([peak] + [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")])
            largest = max(largest, log.stat().st_size)
        except (OSError, IndexError):
            pass
        time.sleep(0.01)
    took = time.perf_counter() - start
    out, error = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, out, error), took, peak / 1024, largest


def size_of(folder: Path) -> float:
    """The size of a folder's files in MB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def measure(binary: Path, server: Server, target: Path, rate: float, lull: float) -> Path:
    """1: makes a backup under load; returns its path."""
    names = [f"writer{number}" for number in range(WRITERS + 1)]
    for name in names:
        harness.register(server, name)
    load = Load(server, [str(harness.login(server, name).message) for name in names], rate)
    threads = load.start()
    time.sleep(1)
    begun = time.perf_counter()
    time.sleep(lull)
    start = time.perf_counter()
    command = [str(binary), "backup", str(target), "--data", str(server.data)]
    done, took, peak, log = watched(command, server.data / "accountd.db-wal")
    end = time.perf_counter()
    time.sleep(lull)
    last = time.perf_counter()
    load.stop.set()
    for thread in threads:
        thread.join()
    check("the backup is made", done.returncode == 0, (done.stdout + done.stderr).strip())
    path = Path(done.stdout.split(": ")[0])
    size = size_of(path)
    print(f"       backup: {size:.0f} MB in {took:.1f} s, {size / took:.0f} MB/s, read back; peak memory {peak:.0f} MB,")
    print(f"               write-ahead log at most {log / 1e6:.0f} MB; {load.uploads} uploads meanwhile")
    print(f"       before: {load.between(begun, start)}")
    print(f"       during: {load.between(start, end)}")
    print(f"       after:  {load.between(end, last)}")
    checked, took, peak, _ = watched([str(binary), "check", "--data", str(path)], path / "accountd.db")
    check("the backup is sound", checked.returncode == 0, checked.stdout.strip())
    print(f"       check:  {took:.1f} s, {size / took:.0f} MB/s; peak memory {peak:.0f} MB")
    return path


def users_of(data: Path) -> int:
    """The number of users in a folder that no process uses."""
    db = sqlite3.connect(data / "accountd.db")
    (count,) = db.execute("SELECT count(*) FROM users").fetchone()
    db.close()
    return count


def restore(binary: Path, data: Path, backup: Path) -> float:
    """2: restores over the folder; returns the seconds."""
    command = [str(binary), "restore", str(backup), "--force", "--data", str(data)]
    done, took, peak, _ = watched(command, data / "accountd.db")
    check("the backup is restored", done.returncode == 0, (done.stdout + done.stderr).strip().replace("\n", "; "))
    size = size_of(backup)
    print(f"       restore: {size:.0f} MB in {took:.1f} s, {size / took:.0f} MB/s, read first; peak memory {peak:.0f} MB")
    return took


def kill_restores(binary: Path, data: Path, backup: Path, kills: int, usual: float) -> None:
    """3: kills restores. The old state has one user more than the backup."""
    seen = {"old": 0, "new": 0}
    for _ in range(kills):
        db = sqlite3.connect(data / "accountd.db")
        columns = "name, show_name, email, password, key, created_at, avatar"
        db.execute(f"INSERT OR IGNORE INTO users ({columns}) VALUES ('more', 'm', 'm', 'm', 'k', 1, 'admin.jpg')")
        db.commit()
        db.close()
        old = users_of(data)
        process = subprocess.Popen(
            [binary, "restore", backup, "--force", "--data", data], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        time.sleep(random.uniform(0, 2 * usual))
        process.kill()
        process.communicate()
        checked = run(binary, "check", "--data", data)
        check("the folder is sound after a killed restore", checked.returncode == 0, checked.stdout, quiet=True)
        now = users_of(data)
        check("it has one state completely", now in (old, old - 1), f"{now} users of {old}", quiet=True)
        seen["old" if now == old else "new"] += 1
        for path in data.glob("before-restore-*"):
            shutil.rmtree(path)
    check(f"{kills} restores were killed, and each left one complete state", not harness.failures, seen)


def kill_backups(binary: Path, data: Path, target: Path, kills: int, usual: float) -> None:
    """3: kills backups."""
    before = {path.name for path in target.iterdir()}
    for _ in range(kills):
        process = subprocess.Popen(
            [binary, "backup", target, "--data", data], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        time.sleep(random.uniform(0, 0.9 * usual))
        process.kill()
        process.communicate()
        for path in target.iterdir():
            if path.name not in before and not path.name.endswith(".unfinished"):
                checked = run(binary, "check", "--data", path)
                check("a finished backup is sound", checked.returncode == 0, checked.stdout, quiet=True)
                shutil.rmtree(path)
    done = run(binary, "backup", target, "--data", data)
    left = [path.name for path in target.iterdir() if path.name.endswith(".unfinished")]
    right = done.returncode == 0 and not left
    check(f"{kills} backups were killed, and the next one removed the unfinished folders", right, left)


def main() -> int:
    parser = harness.parser(__doc__)
    parser.add_argument("--megabytes", type=float, default=1000, help="size of the data folder (1000)")
    parser.add_argument("--users", type=int, default=500_000, help="users in it (500000)")
    parser.add_argument("--rate", type=float, default=300, help="changes of display names per second (300)")
    parser.add_argument("--kills", type=int, default=6, help="commands of each kind that are killed (6)")
    parser.add_argument("--lull", type=float, default=10, help="seconds of writes before and after the backup (10)")
    parser.add_argument("--folder", default=None, help="a folder on the file system to measure (/tmp)")
    given = parser.parse_args()
    binary = harness.need_binary(given.binary)
    work = Path(tempfile.mkdtemp(prefix="accountd-backup-", dir=given.folder))
    data, target = work / "data", work / "backups"
    server = harness.start(binary, data)
    try:
        harness.stop(server)
        fill(data, given.users, given.megabytes)
        server = harness.start(binary, data, {"throttle": False, "log": "error"})
        backup = measure(binary, server, target, given.rate, given.lull)
        harness.stop(server)
        usual = restore(binary, data, backup)
        for path in data.glob("before-restore-*"):
            shutil.rmtree(path)
        kill_restores(binary, data, backup, given.kills, usual)
        kill_backups(binary, data, target, given.kills, usual)
        server = harness.start(binary, data)
        check("a server starts on it and users can log in", harness.login(server, "writer0").code == 200)
    finally:
        harness.kill(server)
        shutil.rmtree(work)
    return harness.verdict()


if __name__ == "__main__":
    sys.exit(main())
