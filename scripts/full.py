#!/usr/bin/env -S python3 -B
"""Shows what the server does on a file system that is full or has become read-only, and that it recovers.

    sudo scripts/full.py [--binary PATH]

1. The data folder is on a tmpfs of 4 MB, which is then filled up. Each writing interface must give the contract's
   answer and one line in the log, reading must go on, and with space again writing must work, without a restart.
2. The tmpfs is remounted read-only, with the server running and, where the kernel refuses that because files are open
   for writing, with the server stopped: a start must then end with code 1 and one sentence, and work again on the
   folder as soon as it is writable.
3. What happens after an error of the disk: an ext4 file system is told to fail and becomes read-only under the running
   server. Writes and reads as in 1; then the server is stopped, the file system mounted anew, and everything that was
   acknowledged must be there.

Needs root for mounting, 3 also loop devices, mkfs.ext4 and /sys/fs/ext4/*/trigger_fs_error; what can't be done is
SKIPPED. Exit code 1 if something is not as it should be. About 15 seconds. All traffic goes to 127.0.0.1. Linux,
Python 3.11, no packages.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import harness
from harness import Answer, Server, check

# What each writing interface answers when a write fails: HTTP status and code.
WHEN_FULL = {
    "/api/registered": (200, 603),
    "/api/login": (500, 169),
    "/api/update_show_name": (500, 169),
    "/api/update_key": (500, 169),
    "/api/upload_avatar": (200, 169),
    "/api/update_password": (500, 169),
}
PICTURE = harness.png(150, 150, "first")


def writes(server: Server, token: str, tag: str, before: Callable[[], object]) -> dict[str, Answer]:
    """Uses every writing interface once, with `before` before each; the password last, since it ends the session."""
    post, address = harness.post, server.address
    change = {"username": "rei", "old_passwd": harness.PASSWORD, "new_passwd": tag}
    ways = {
        "/api/registered": lambda: harness.register(server, f"new-{tag}"),
        "/api/login": lambda: harness.login(server, "asuka"),
        "/api/update_show_name": lambda: post(
            address, "/api/update_show_name", {"token": token, "new_show_name": tag}
        ),
        "/api/update_key": lambda: post(address, "/api/update_key", {"token": token}),
        "/api/upload_avatar": lambda: harness.upload(server, token, harness.png(200, 200, tag)),
        "/api/update_password": lambda: harness.post_solved(address, "/api/update_password", change),
    }
    answers = {}
    for path, write in ways.items():
        before()
        answers[path] = write()
    return answers


def nothing() -> None:
    """What is to be done before a write, where nothing is."""


def prepare(binary: Path, mount: Path) -> tuple[Server, str, dict]:
    """A server with two users, of whom one has a picture; her token, and what user_info says."""
    server = start(binary, mount)
    for name in ("rei", "asuka"):
        assert harness.register(server, name).code == 200
    token = str(harness.login(server, "rei").message)
    assert harness.upload(server, token, PICTURE).code == 200
    return server, token, harness.post(server.address, "/api/user_info", {"token": token}).message


def start(binary: Path, mount: Path) -> Server:
    """A server on the file system, its log beside it."""
    return harness.start(binary, mount / "data", log=mount.with_name("log"))


def check_refusals(
    server: Server, token: str, info: dict, when: str, before: Callable[[], object] = nothing
) -> None:
    """Every write is refused as the contract says, with one line in the log, and everything can be read."""
    for path, answer, lines in refusals(server, token, before):
        expected = WHEN_FULL[path]
        seen = f"HTTP {answer.status}, code {answer.code}"
        right = (answer.status, answer.code) == expected
        check(f"{when}: {path} answers HTTP {expected[0]}, code {expected[1]}", right, seen)
        check(f"{when}: {path} has one line in the log", len(lines) == 1, "; ".join(lines) or "none")
    again = harness.post(server.address, "/api/user_info", {"token": token})
    check(f"{when}: the account can be read and has not changed", again.message == info, again.code)
    served = harness.exchange(server.address, harness.request("GET", f"/s/{info['avatar']}"))
    check(f"{when}: the picture is served", served.body == PICTURE, f"HTTP {served.status}")
    captcha = harness.exchange(server.address, harness.request("GET", "/api/get_verification_code"))
    check(f"{when}: captchas are handed out", captcha.status == 200, f"HTTP {captcha.status}")
    names = sorted(path.name for path in (server.data / "avatars").iterdir())
    check(f"{when}: refused uploads leave no file", names == [info["avatar"]], ", ".join(names))


def refusals(server: Server, token: str, before: Callable[[], object]) -> list[tuple[str, Answer, list[str]]]:
    """Uses every writing interface, and finds the lines of the log that name it."""
    start = server.log.stat().st_size
    answers = writes(server, token, "refused", before)
    errors = [line.split(" ", 1)[1] for line in harness.log_of(server, start) if " error " in line]
    return [(path, answer, [line for line in errors if path in line]) for path, answer in answers.items()]


def check_recovery(server: Server, token: str, when: str) -> None:
    """Every write works."""
    for path, answer in writes(server, token, "well", nothing).items():
        check(f"{when}: {path} works", answer.code == 200, f"HTTP {answer.status}, code {answer.code}")
    again = harness.login(server, "rei", "well")
    info = harness.post(server.address, "/api/user_info", {"token": again.message}).message
    check(f"{when}: what was written is there", info["show_name"] == "well", info["show_name"])


def fill(mount: Path) -> Path:
    """Takes all the space that is left, to the last page, and says by which file."""
    path = mount / "filling"
    with open(path, "ab", buffering=0) as file:
        for size in (65_536, 4096):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass
    return path


def run(*command: object) -> subprocess.CompletedProcess:
    """A command, with what it says."""
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60)


def test_full(binary: Path, mount: Path) -> None:
    """1: no space left."""
    server, token, info = prepare(binary, mount)
    try:
        filling = fill(mount)
        free = shutil.disk_usage(mount).free
        check("full: nothing is left", free < 4096, f"{free} bytes")
        # A write that finds no space makes some, by a checkpoint of the database; it is taken again.
        check_refusals(server, token, info, "full", lambda: fill(mount))
        filling.unlink()
        check_recovery(server, token, "space again")
    finally:
        harness.kill(server)


def test_read_only(binary: Path, mount: Path) -> None:
    """2: remounted read-only and back."""
    server, token, info = prepare(binary, mount)
    try:
        remounted = run("mount", "-o", "remount,ro", mount)
        if remounted.returncode == 0:
            check_refusals(server, token, info, "read-only")
            run("mount", "-o", "remount,rw", mount)
            check_recovery(server, token, "writable again")
        else:
            print(f"SKIPPED read-only under a running server: the kernel refuses: {remounted.stderr.splitlines()[0]}")
    finally:
        harness.kill(server)
    remounted = run("mount", "-o", "remount,ro", mount)
    if remounted.returncode != 0:
        print(f"SKIPPED a start on a read-only folder: {remounted.stderr.splitlines()[0]}")
        return
    ended = run(binary, "--data", server.data, "--listen", "127.0.0.1:0", "--captcha-answer", harness.CAPTCHA)
    check("read-only: a start ends with code 1", ended.returncode == 1, ended.returncode)
    check("read-only: it says why in one line", len(ended.stderr.splitlines()) == 1, ended.stderr.strip())
    run("mount", "-o", "remount,rw", mount)
    server = start(binary, mount)
    try:
        token = harness.login(server, "asuka").message
        answer = harness.post(server.address, "/api/update_show_name", {"token": token, "new_show_name": "again"})
        check("writable again: a start works, and so does a write", answer.code == 200, answer.code)
    finally:
        harness.kill(server)


def test_failing_disk(binary: Path, mount: Path, work: Path) -> None:
    """3: an ext4 file system that has become read-only after an error."""
    image = work / "image"
    image.write_bytes(b"")
    os.truncate(image, 32 * 1024 * 1024)
    for command in (
        ("mkfs.ext4", "-q", "-F", image),
        ("mount", "-o", "loop,errors=remount-ro", image, mount),
    ):
        done = run(*command)
        if done.returncode != 0:
            print(f"SKIPPED a failing disk: {command[0]}: {done.stderr.strip()}")
            return
    device = Path(run("findmnt", "-n", "-o", "SOURCE", mount).stdout.strip())
    trigger = Path("/sys/fs/ext4") / device.name / "trigger_fs_error"
    if not trigger.exists():
        print(f"SKIPPED a failing disk: there is no {trigger}")
        return
    server, token, info = prepare(binary, mount)
    try:
        os.sync()
        trigger.write_text("a test of accountd\n")
        check_refusals(server, token, info, "failing disk")
    finally:
        harness.kill(server)
    run("umount", mount)
    mounted = run("mount", "-o", "loop,errors=remount-ro", image, mount)
    check("failing disk: it can be mounted anew", mounted.returncode == 0, mounted.stderr.strip())
    server = start(binary, mount)
    try:
        token = str(harness.login(server, "rei").message)
        again = harness.post(server.address, "/api/user_info", {"token": token}).message
        same = all(again[member] == info[member] for member in info if member != "token")
        check("mounted anew: the account is as it was", same)
        check_recovery(server, token, "mounted anew")
    finally:
        harness.kill(server)


def main() -> int:
    """Mounts, tests, and unmounts whatever happened."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=harness.BINARY, help="the server (target/release/accountd)")
    binary = harness.need_binary(parser.parse_args().binary)
    if os.geteuid() != 0:
        print("SKIPPED: only root may mount")
        return 0
    work = Path(tempfile.mkdtemp(prefix="accountd-full-"))
    mount = work / "mount"
    mount.mkdir()
    try:
        for test in (test_full, test_read_only):
            mounted = run("mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "accountd-test", mount)
            if mounted.returncode != 0:
                print(f"SKIPPED: {mounted.stderr.strip()}")
                return 0
            try:
                test(binary, mount)
            finally:
                run("umount", mount)
        try:
            test_failing_disk(binary, mount, work)
        finally:
            run("umount", mount)
    finally:
        if not os.path.ismount(mount):
            shutil.rmtree(work)
    return harness.verdict()


if __name__ == "__main__":
    sys.exit(main())
