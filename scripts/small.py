#!/usr/bin/env -S python3 -B
"""Measures the server on a very small machine: 64 MB of memory, a disk of 16 MB with syncs of 100
ms, and idle.

    scripts/small.py [--binary PATH] [--idle SECONDS]

Passwords are Argon2id. With little memory, 16 users log in at once, then 8 avatars of 10 MB are
uploaded at once. On the slow disk, display names are changed one by one and by 32 clients at once.
Needs root, cgroups, tmpfs and strace; what the machine does not allow is SKIPPED. Linux, Python
3.11.
"""

import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import harness

MEMORY = 64 << 20
# Clients that write at the same time: several for each thread of the server.
WRITERS = 32
DISK = 16 << 20
# One client stands for many users, so nothing is throttled.
SETTINGS = {"password_hash": "argon2id", "sessions_per_user": 100, "throttle": False}
# System calls that change files, and those that wait for the disk.
WRITES = "write,writev,pwrite64,pwritev,sendfile,copy_file_range,ftruncate,rename,renameat,renameat2,unlink,unlinkat"
SYNCS = "fsync,fdatasync"


def group() -> tuple[Path, str, str] | None:
    """A new cgroup with the memory limit, and the names of its files for processes and for the
    peak."""
    for root, limit, peak in [
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes"),
        ("/sys/fs/cgroup", "memory.max", "memory.peak"),
    ]:
        folder = Path(root) / f"accountd-small-{os.getpid()}"
        try:
            folder.mkdir()
            (folder / limit).write_text(str(MEMORY))
            return folder, "cgroup.procs", peak
        except OSError:
            if folder.exists():
                folder.rmdir()
    return None


def picture() -> bytes:
    """A picture of the maximum size; the server drops the bytes after its end."""
    return harness.png(150, 150, "small").ljust(10_485_760, b"\0")


def took(work) -> float:
    """Milliseconds that a call takes."""
    since = time.monotonic()
    work()
    return (time.monotonic() - since) * 1000


def good(answer: harness.Answer) -> harness.Answer:
    if answer.code != 200:
        raise SystemExit(f"FAILED: {answer.status} {answer.code} {answer.message}")
    return answer


def little_memory(binary: Path, folder: Path) -> None:
    made = group()
    if made is None:
        print("SKIPPED 64 MB of memory: no cgroup can be made here")
        return
    limited, processes, peak = made
    server = None
    try:
        wrapper = folder / "limited"
        wrapper.write_text(f'#!/bin/sh\necho $$ >{limited}/{processes}\nexec {binary} "$@"\n')
        wrapper.chmod(0o755)
        server = harness.start(wrapper, folder / "data", SETTINGS)
        good(harness.register(server, "rei"))
        with ThreadPoolExecutor(16) as clients:
            times = list(clients.map(lambda _: took(lambda: good(harness.login(server, "rei"))), range(16)))
            token = good(harness.login(server, "rei")).message
            uploads = list(clients.map(lambda _: took(lambda: good(harness.upload(server, token, picture()))), range(8)))
        used = int((limited / peak).read_text()) / (1 << 20)
        replaced = sum("renewed" in line or "ended" in line for line in harness.log_since(server, 0))
        print(
            f"64 MB of memory: peak {used:.0f} MiB including the kernel's file cache; slowest of 16 concurrent log-ins with "
            f"Argon2id {max(times):.0f} ms; slowest of 8 concurrent uploads of 10 MB {max(uploads):.0f} ms; "
            f"{replaced} workers replaced"
        )
    finally:
        if server:
            harness.kill(server)
        # The worker exits a moment after the supervisor.
        end = time.monotonic() + 10
        while (limited / processes).read_text() and time.monotonic() < end:
            time.sleep(0.01)
        limited.rmdir()


def slow_disk(binary: Path, folder: Path) -> None:
    disk = folder / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", disk], stderr=subprocess.DEVNULL).returncode:
        print("SKIPPED a slow, small disk: tmpfs cannot be mounted here")
        return
    server = None
    try:
        wrapper = folder / "slow"
        delay = f"-e trace={SYNCS} -e inject={SYNCS}:delay_enter=100000"
        wrapper.write_text(f'#!/bin/sh\nexec strace -f -qq -o /dev/null {delay} {binary} "$@"\n')
        wrapper.chmod(0o755)
        since = time.monotonic()
        server = harness.start(wrapper, disk / "data", SETTINGS, log=folder / "slow.log")
        start = time.monotonic() - since
        good(harness.register(server, "rei"))
        token = good(harness.login(server, "rei")).message
        info = lambda: good(harness.post(server.address, "/api/user_info", {"token": token}))

        def change(number: int) -> harness.Answer:
            # A different name each time: an unchanged row needs no sync.
            members = {"token": token, "new_show_name": f"asuka {number}"}
            return good(harness.post(server.address, "/api/update_show_name", members))

        changes = [took(lambda: change(number)) for number in range(10)]
        with ThreadPoolExecutor(WRITERS) as others:
            since = time.monotonic()
            writing = [others.submit(change, number) for number in range(10, 10 + 5 * WRITERS)]
            reads = []
            while not all(one.done() for one in writing):
                reads.append(took(info))
            rate = len(writing) / (time.monotonic() - since)
        upload = took(lambda: good(harness.upload(server, token, picture())))
        used = sum(file.stat().st_blocks * 512 for file in disk.rglob("*") if file.is_file()) / (1 << 20)
        print(
            f"a disk of 16 MB whose syncs take 100 ms: start {start:.1f} s; a change {statistics.median(changes):.0f} ms; "
            f"{WRITERS} clients at once {rate:.0f} changes a second, reads meanwhile {statistics.median(reads):.1f} ms "
            f"(slowest {max(reads):.0f}); upload of 10 MB {upload:.0f} ms; {used:.1f} MiB used"
        )
    finally:
        if server:
            harness.kill(server)
        subprocess.run(["umount", "-l", disk], check=True)


def switches(pid: int) -> int:
    """The voluntary context switches of a process: how often its threads went to sleep and were
    woken."""
    texts = [status.read_text() for status in Path(f"/proc/{pid}/task").glob("*/status")]
    return sum(int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", text, re.M)[1]) for text in texts)


def idle(binary: Path, folder: Path, seconds: float) -> None:
    server = harness.start(binary, folder / "idle", SETTINGS)
    try:
        # The work of a start is over by then.
        time.sleep(10)
        first = server.process.pid
        second = int(Path(f"/proc/{first}/task/{first}/children").read_text().split()[0])
        before = [switches(pid) for pid in (first, second)]
        time.sleep(seconds)
        woken = [now - then for now, then in zip([switches(pid) for pid in (first, second)], before)]
        counted = "writes and syncs not counted: strace is not installed"
        if shutil.which("strace"):
            trace = folder / "trace"
            command = ["timeout", str(seconds), "strace", "-f", "-qq", "-y", "-e", f"trace={WRITES},{SYNCS}", "-o", str(trace)]
            subprocess.run([*command, "-p", str(first), "-p", str(second)], stderr=subprocess.DEVNULL)
            # Writes to sockets are messages to the supervisor.
            lines = [line for line in trace.read_text().splitlines() if "socket:" not in line and "(" in line]
            counted = f"{len(lines)} writes and syncs of files"
            for line in lines[:3]:
                print(line)
        print(f"idle for {seconds:.0f} seconds: {woken[0]} wake-ups of the supervisor, {woken[1]} of the worker; {counted}")
    finally:
        harness.kill(server)


def main() -> None:
    parser = harness.parser(__doc__)
    parser.add_argument("--idle", type=float, default=60, metavar="SECONDS", help="duration of the idle phase (60)")
    options = parser.parse_args()
    binary = harness.need_binary(options.binary)
    with tempfile.TemporaryDirectory() as name:
        little_memory(binary, Path(name))
        slow_disk(binary, Path(name))
        idle(binary, Path(name), options.idle)
    print("PASSED")


if __name__ == "__main__":
    main()
