#!/usr/bin/env -S python3 -B
"""Runs the server on a file system that is full, read-only or failing, and checks that it recovers.

    sudo scripts/full.py [--binary PATH]

1. The data folder is on a tmpfs of 4 MB, which is then filled. Each interface that writes must give
   the contract's response and one line in the log, reads must work, and once there is space again
   writes must work without a restart.
2. The tmpfs is remounted read-only under the running server (if the kernel allows it) and under a
   stopped one. A start must then exit with code 1 and one line, and work once the folder is
   writable again.
3. An ext4 file system fails on request and becomes read-only under the running server. Writes and
   reads as in 1. Then the server is stopped, the file system is mounted again, and everything
   acknowledged must be there.

15 seconds. Needs root for mounting; 3 also needs loop devices, mkfs.ext4 and
/sys/fs/ext4/*/trigger_fs_error. What the machine does not allow is SKIPPED. Linux, Python 3.11.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import harness
from harness import Answer, Server, check

# HTTP status and code of each interface when a write fails.
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
    """Calls every interface that writes, and `before` before each; the password last, since it ends
    the session."""
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
    """The default for `before`."""


def prepare(binary: Path, mount: Path) -> tuple[Server, str, dict]:
    """A server with two users; the token of the one with an avatar, and her user_info."""
    server = start(binary, mount)
    for name in ("rei", "asuka"):
        assert harness.register(server, name).code == 200
    token = str(harness.login(server, "rei").message)
    assert harness.upload(server, token, PICTURE).code == 200
    return server, token, harness.post(server.address, "/api/user_info", {"token": token}).message


def start(binary: Path, mount: Path) -> Server:
    """Starts a server on the file system, with its log outside."""
    return harness.start(binary, mount / "data", log=mount.with_name("log"))


def check_refusals(
    server: Server, token: str, info: dict, when: str, before: Callable[[], object] = nothing
) -> None:
    """Checks that each write is refused with the contract's response and one log line, and that
    reads work."""
    for path, answer, lines in refusals(server, token, before):
        expected = WHEN_FULL[path]
        seen = f"HTTP {answer.status}, code {answer.code}"
        right = (answer.status, answer.code) == expected
        check(f"{when}: {path} answers HTTP {expected[0]}, code {expected[1]}", right, seen)
        check(f"{when}: {path} logs one line", len(lines) == 1, "; ".join(lines) or "none")
    again = harness.post(server.address, "/api/user_info", {"token": token})
    check(f"{when}: the account can be read and has not changed", again.message == info, again.code)
    served = harness.exchange(server.address, harness.request("GET", f"/s/{info['avatar']}"))
    check(f"{when}: the avatar is served", served.body == PICTURE, f"HTTP {served.status}")
    check(f"{when}: captchas are served", harness.captcha(server.address) != "")
    names = sorted(path.name for path in (server.data / "avatars").iterdir())
    check(f"{when}: refused uploads leave no file", names == [info["avatar"]], ", ".join(names))


def refusals(server: Server, token: str, before: Callable[[], object]) -> list[tuple[str, Answer, list[str]]]:
    """Calls every interface that writes; returns each path, its response and its error lines in the
    log."""
    start = server.log.stat().st_size
    answers = writes(server, token, "refused", before)
    errors = [line.split(" ", 1)[1] for line in harness.errors_in(harness.log_of(server, start))]
    return [(path, answer, [line for line in errors if path in line]) for path, answer in answers.items()]


def check_recovery(server: Server, token: str, when: str) -> None:
    """Checks that every write works."""
    for path, answer in writes(server, token, "recovered", nothing).items():
        check(f"{when}: {path} works", answer.code == 200, f"HTTP {answer.status}, code {answer.code}")
    again = harness.login(server, "rei", "recovered")
    info = harness.post(server.address, "/api/user_info", {"token": again.message}).message
    check(f"{when}: the changes are there", info["show_name"] == "recovered", info["show_name"])


def fill(mount: Path) -> Path:
    """Uses all the space that is left, to the last page; returns the file that does."""
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
    """Runs a command to its end."""
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60)


def test_full(binary: Path, mount: Path) -> None:
    """1: no space left."""
    server, token, info = prepare(binary, mount)
    try:
        filling = fill(mount)
        free = shutil.disk_usage(mount).free
        check("full: no page is left", free < 4096, f"{free} bytes")
        # A failing write frees some space by a checkpoint of the database, so it is filled again
        # each time.
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
    check("read-only: the reason is one line", len(ended.stderr.splitlines()) == 1, ended.stderr.strip())
    run("mount", "-o", "remount,rw", mount)
    server = start(binary, mount)
    try:
        token = harness.login(server, "asuka").message
        answer = harness.post(server.address, "/api/update_show_name", {"token": token, "new_show_name": "again"})
        check("writable again: a start and a write work", answer.code == 200, answer.code)
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
        print(f"SKIPPED a failing disk: {trigger} does not exist")
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
    check("failing disk: it can be mounted again", mounted.returncode == 0, mounted.stderr.strip())
    server = start(binary, mount)
    try:
        token = str(harness.login(server, "rei").message)
        again = harness.post(server.address, "/api/user_info", {"token": token}).message
        same = all(again[member] == info[member] for member in info if member != "token")
        check("mounted again: the account is unchanged", same)
        check_recovery(server, token, "mounted again")
    finally:
        harness.kill(server)


def main() -> int:
    binary = harness.need_binary(harness.parser(__doc__).parse_args().binary)
    if os.geteuid() != 0:
        print("SKIPPED: mounting needs root")
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
