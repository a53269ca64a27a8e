#!/usr/bin/env -S python3 -B
"""Kills the server during writes, and checks that every acknowledged change survives and none is
half done.

    scripts/crash.py [--rounds N] [--binary PATH]

In each round six writers, each with its own users, register, change names, passwords and keys and
upload avatars as fast as they can. After 0.05 to 1.5 seconds the server's process group gets
SIGKILL, sometimes again while it restarts. Then SQLite checks a copy of the database and its
write-ahead log, and every user of all rounds is compared with what was acknowledged. A change that
was not acknowledged may have happened or not, but not in part. The server is started on the same
folder, and every user of the round (in the last round, of all rounds) logs in, reads the account
and fetches the avatar, which must equal the uploaded picture. avatars/ may have no file that no
user has. Sessions may be lost.

A kill is not a loss of power: the kernel keeps the data that it has taken, synced or not.

4 seconds a round, 20 rounds by default. Linux, Python 3.11.
"""

import hashlib
import random
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import harness
from harness import Answer, Server

WRITERS = 6
NEW_USERS = 6  # maximum per writer and round
# All writers have one address, and send more than an honest client would.
SETTINGS = {"throttle": False}
FIRST_PICTURE = "admin.jpg"
CLEANING = 3.0  # seconds that a start may take to remove unused avatars


@dataclass
class User:
    """The acknowledged state of a user, and the request that was pending when the server died."""

    name: str
    password: str
    show_name: str
    registered: bool = False
    key: str = ""  # as last read; "" if it was not read since it changed
    old_key: str = ""  # the key before the last change
    avatar: str = FIRST_PICTURE
    picture: bytes = b""
    token: str = ""
    pending: tuple[str, object] = ("", None)  # the change that was sent and not acknowledged, and its new value


@dataclass
class Writer:
    """The users of one thread, and its changes in this round."""

    number: int
    users: list[User] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)
    acknowledged: Counter = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


# --- changes: each sends one request and records the change once it is acknowledged ----------------------------------


def expect(answer: Answer, what: str) -> Answer:
    """Returns a successful response; any other is a fault, since writers send valid requests only."""
    if (answer.status, answer.code) != (200, 200):
        raise ValueError(f"{what}: HTTP {answer.status}, code {answer.code}, {answer.message}")
    return answer


def register(server: Server, user: User, _fresh: str) -> None:
    user.pending = ("registered", None)
    expect(harness.register(server, user.name, user.password), "registered")
    user.registered = True


def update_show_name(server: Server, user: User, fresh: str) -> None:
    user.pending = ("show_name", fresh)
    members = {"token": user.token, "new_show_name": fresh}
    expect(harness.post(server.address, "/api/update_show_name", members), "update_show_name")
    user.show_name = fresh


def update_password(server: Server, user: User, fresh: str) -> None:
    user.pending = ("password", fresh)
    members = {"username": user.name, "old_passwd": user.password, "new_passwd": fresh}
    expect(harness.post_solved(server.address, "/api/update_password", members), "update_password")
    user.password, user.token = fresh, ""


def update_key(server: Server, user: User, _fresh: str) -> None:
    if not user.key:
        user.key = read(server, user)["key"]
    user.pending = ("key", None)
    expect(harness.post(server.address, "/api/update_key", {"token": user.token}), "update_key")
    user.key, user.old_key = "", user.key
    user.pending = ("", None)
    user.key = read(server, user)["key"]
    if user.key == user.old_key:
        raise ValueError("update_key: the key did not change")


def upload_avatar(server: Server, user: User, fresh: str) -> None:
    picture = harness.png(random.randint(110, 400), 110, fresh)
    user.pending = ("avatar", picture)
    user.avatar = expect(harness.upload(server, user.token, picture), "upload_avatar").message
    user.picture = picture


CHANGES: list[Callable[[Server, User, str], None]] = [update_show_name, update_password, update_key, upload_avatar]


def log_in(server: Server, user: User) -> None:
    user.token = expect(harness.login(server, user.name, user.password), "login").message


def read(server: Server, user: User) -> dict:
    return expect(harness.post(server.address, "/api/user_info", {"token": user.token}), "user_info").message


def write(server: Server, writer: Writer, round_: int, killed: threading.Event) -> None:
    """Sends one change after the other until the server is killed."""
    for turn in range(1_000_000):
        fresh = sum(user.name.startswith(f"u{round_}-") for user in writer.users)
        if fresh == 0 or (fresh < NEW_USERS and random.random() < 0.15):
            name = f"u{round_}-{writer.number}-{fresh}"
            user, change = User(name, f"first of {name}", f"{name} 阿巴"), register
            writer.users.append(user)
        else:
            user, change = random.choice(writer.users), random.choice(CHANGES)
        writer.touched.add(user.name)
        try:
            if change is not register and not user.token:
                log_in(server, user)
            change(server, user, f"{round_}-{writer.number}-{turn}")
        except (OSError, ValueError) as error:
            # `killed` is set just before the kill.
            if not killed.is_set() or isinstance(error, ValueError):
                writer.faults.append(f"{user.name}: {change.__name__}: {error!r}")
            return
        user.pending = ("", None)
        writer.acknowledged[change.__name__] += 1


# --- checks ----------------------------------------------------------------------------------------------------------


def check_database(data: Path, users: dict[str, User]) -> list[str]:
    """Compares a copy of the database with the acknowledged state, and records which pending
    changes happened."""
    faults = []
    with tempfile.TemporaryDirectory() as copy:
        for name in ("accountd.db", "accountd.db-wal"):
            if (data / name).exists():
                shutil.copy(data / name, copy)
        database = sqlite3.connect(Path(copy) / "accountd.db")
        for pragma, sound in (("integrity_check", [("ok",)]), ("foreign_key_check", [])):
            found = database.execute(f"PRAGMA {pragma}").fetchall()
            if found != sound:
                faults.append(f"{pragma}: {found[:3]}")
        columns = "name, show_name, email, password, key, avatar"
        rows = {row[0]: row for row in database.execute(f"SELECT {columns} FROM users")}
        database.close()
    faults += [f"{name}: no writer registered this user" for name in rows.keys() - users.keys()]
    for user in users.values():
        if user.name in rows:
            faults += [f"{user.name}: {fault}" for fault in check_row(user, rows[user.name], data)]
        elif user.registered:
            faults.append(f"{user.name}: the acknowledged registration is lost")
        user.pending = ("", None)
    return faults


def check_row(user: User, row: tuple, data: Path) -> list[str]:
    """Compares a row with the acknowledged state. A pending change that is in the row counts as
    done."""
    _, show_name, email, password, key, avatar = row
    pending, fresh = user.pending
    faults = []
    if not user.registered:
        if pending != "registered":
            faults.append("the row exists without a request")
        user.registered = True
    if email != f"{user.name}@example.org":
        faults.append(f"email {email!r}")
    if pending == "show_name" and show_name == fresh:
        user.show_name = show_name
    if show_name != user.show_name:
        faults.append(f"display name {show_name!r} instead of {user.show_name!r}")
    if pending == "password" and password == md5(str(fresh)):
        user.password = str(fresh)
    if password != md5(user.password):
        faults.append(f"the password is not {user.password!r}")
    if not user.key or pending == "key":
        user.key = key
    if len(key) != 40 or not key.isalnum() or key != user.key or key == user.old_key:
        faults.append(f"key {key!r} instead of {user.key!r}, before {user.old_key!r}")
    if pending == "avatar" and avatar != user.avatar:
        user.avatar, user.picture = avatar, fresh
    if avatar != user.avatar:
        faults.append(f"avatar {avatar!r} instead of {user.avatar!r}")
    path = data / "avatars" / avatar
    if avatar != FIRST_PICTURE and (not path.is_file() or path.read_bytes() != user.picture):
        size = path.stat().st_size if path.exists() else "no"
        faults.append(f"avatar {avatar!r} is not the uploaded picture: {size} bytes instead of {len(user.picture)}")
    return faults


def md5(password: str) -> str:
    """How a password is stored by default."""
    return hashlib.md5(password.encode()).hexdigest()


def check_served(server: Server, users: list[User]) -> list[str]:
    """Logs users in and compares their data with the acknowledged state."""
    faults = []
    first = harness.exchange(server.address, harness.request("GET", f"/s/{FIRST_PICTURE}")).body
    for user in users:
        try:
            log_in(server, user)
            info = read(server, user)
            picture = harness.exchange(server.address, harness.request("GET", f"/s/{info['avatar']}"))
        except (OSError, ValueError) as error:
            faults.append(f"{user.name}: {error!r}")
            continue
        expected = {"name": user.name, "show_name": user.show_name, "email": f"{user.name}@example.org"}
        expected |= {"key": user.key, "avatar": user.avatar, "token": user.token}
        faults += [
            f"{user.name}: {member} {info[member]!r} instead of {value!r}"
            for member, value in expected.items()
            if info[member] != value
        ]
        if picture.status != 200 or picture.body != (user.picture or first):
            faults.append(f"{user.name}: {info['avatar']}: HTTP {picture.status}, {len(picture.body)} bytes")
    return faults


def orphans(data: Path, users: dict[str, User]) -> set[str]:
    """The files in avatars/ that no user has."""
    folder = data / "avatars"
    named = {user.avatar for user in users.values() if user.registered}
    return {path.name for path in folder.iterdir()} - named if folder.exists() else set()


def wait_for_cleaning(data: Path, users: dict[str, User]) -> set[str]:
    """The orphans that a start has not removed in time."""
    end = time.monotonic() + CLEANING
    while (left := orphans(data, users)) and time.monotonic() < end:
        time.sleep(0.1)
    return left


# --- rounds ----------------------------------------------------------------------------------------------------------


def run_round(server: Server, writers: list[Writer], round_: int) -> float:
    """Runs the writers and kills the server; returns after how many seconds."""
    killed = threading.Event()
    threads = [threading.Thread(target=write, args=(server, writer, round_, killed)) for writer in writers]
    for thread in threads:
        thread.start()
    delay = random.uniform(0.05, 1.5)
    time.sleep(delay)
    killed.set()
    harness.kill(server)
    for thread in threads:
        thread.join(60)
    return delay


def kill_while_starting(binary: Path, data: Path) -> str:
    """In one round of three, starts the server and kills it during the start."""
    if random.random() > 1 / 3:
        return ""
    server = harness.spawn(binary, data, SETTINGS)
    delay = random.uniform(0, 0.06)
    time.sleep(delay)
    harness.kill(server)
    return f", again {delay * 1e3:.0f} ms into a start"


def main() -> int:
    """Runs one round after the other on one folder."""
    parser = harness.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="how often the server is killed (20)")
    options = parser.parse_args()
    binary = harness.need_binary(options.binary)
    folder = Path(tempfile.mkdtemp(prefix="accountd-crash-"))
    data = folder / "data"
    writers = [Writer(number) for number in range(WRITERS)]
    acknowledged: Counter = Counter()
    checked: Counter = Counter()
    known_orphans: set[str] = set()
    faults: list[str] = []
    server = harness.start(binary, data, SETTINGS)
    key = harness.registration_key(data)
    try:
        for round_ in range(1, options.rounds + 1):
            for writer in writers:
                writer.acknowledged, writer.faults, writer.touched = Counter(), [], set()
            delay = run_round(server, writers, round_)
            done = sum((writer.acknowledged for writer in writers), Counter())
            pending = Counter(user.pending[0] for writer in writers for user in writer.users if user.pending[0])
            acknowledged += done
            again = kill_while_starting(binary, data)
            users = {user.name: user for writer in writers for user in writer.users}
            found = [fault for writer in writers for fault in writer.faults]
            found += check_database(data, users)
            for writer in writers:
                writer.users = [user for user in writer.users if user.registered]
            users = {name: user for name, user in users.items() if user.registered}
            before_start = len(orphans(data, users))

            server = harness.start(binary, data, SETTINGS)
            if harness.registration_key(data) != key:
                found.append("config.json has another registration key")
            touched = set().union(*(writer.touched for writer in writers))
            last = round_ == options.rounds
            serve = [user for user in users.values() if last or user.name in touched]
            found += check_served(server, serve)
            left = wait_for_cleaning(data, users)
            if left - known_orphans:
                names = ", ".join(sorted(left - known_orphans))
                found.append(f"{len(left - known_orphans)} new files that no user has stay in avatars/: {names}")
            known_orphans |= left

            checked += Counter({"rows compared": len(users), "users served": len(serve)})
            checked["pictures served"] += sum(user.avatar != FIRST_PICTURE for user in serve)
            print(
                f"round {round_:>2}: killed after {delay:.2f} s{again}; {sum(done.values())} changes acknowledged,"
                f" pending: {', '.join(f'{count} {what}' for what, count in pending.items()) or 'none'};"
                f" {len(users)} users compared, {len(serve)} served;"
                f" orphans {before_start} before the start, {len(left)} after it: {'FAILED' if found else 'ok'}",
                flush=True,
            )
            for fault in found:
                print(f"          {fault}", flush=True)
            faults += found
            if last:
                errors = harness.errors_in(harness.log_since(server, 0))
                for line, count in Counter(line.split(" ", 2)[2] for line in errors).most_common(5):
                    print(f"in the log, {count} times: {line}")
    finally:
        harness.kill(server)
        shutil.rmtree(folder)
    print(f"\n{sum(acknowledged.values())} acknowledged changes checked: {dict(acknowledged)}")
    print(f"in all rounds together: {dict(checked)}")
    print(f"FAILED: {len(faults)} faults" if faults else "PASSED")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
