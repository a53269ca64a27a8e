#!/usr/bin/env -S python3 -B
"""The helper of all scripts: starts servers and proxies, sends requests byte by byte, counts failed
checks.

    scripts/harness.py serve [--binary PATH] [--data DIR] [--set NAME=VALUE]... [-- COMMAND...]

`serve` is for shell scripts and the browser tests. It starts a server on a free port of 127.0.0.1,
over a fresh folder unless --data names one, with these settings of config.json. It runs COMMAND
with URL, DATA, KEY (for registration), RESET_KEY and CAPTCHA in its environment, stops the server
and exits with COMMAND's code. Without COMMAND it prints these values as one line of JSON and serves
until its standard input ends.

Linux, Python 3.11, standard library only.
"""

import argparse
import base64
import hmac
import json
import os
import random
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

BINARY = Path(__file__).resolve().parent.parent / "target" / "release" / "accountd"
CAPTCHA = "k7m3xp"
PASSWORD = "a password"
BOUNDARY = "----XyZ"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"
# Host and port, or the path of a unix socket.
Address = tuple[str, int] | str
# What the server logs in front of its address.
LISTENING = "listening on "


@dataclass
class Server:
    """A running server. It leads its own process group, so `kill` ends everything that it started."""

    process: subprocess.Popen
    address: Address
    data: Path
    log: Path

    @property
    def url(self) -> str:
        """The base URL of a server that listens on TCP."""
        return "http://{}:{}".format(*self.address)


@dataclass
class Answer:
    """A response. `code` and `message` come from a JSON body; the names in `headers` are
    lower-case."""

    status: int
    headers: dict[str, str]
    body: bytes
    code: int = 0
    message: object = None


# The names of failed checks.
failures: list[str] = []


def check(what: str, right: bool, seen: object = "", quiet: bool = False) -> None:
    """Prints the result of a check and records a failure. If `quiet`, prints failures only."""
    if not right:
        failures.append(what)
    if not (right and quiet):
        print(f"{'ok    ' if right else 'FAILED'} {what}{f': {seen}' if seen != '' else ''}", flush=True)


def verdict() -> int:
    """Prints the result of all checks; returns the exit code."""
    print(f"\nFAILED: {len(failures)}" if failures else "\nPASSED")
    return 1 if failures else 0


def parser(description: str) -> argparse.ArgumentParser:
    """A parser with --binary, which all scripts have."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--binary", default=BINARY, help="the server (default: target/release/accountd)")
    return made


def need_binary(path: str) -> Path:
    """The path of the binary; exits with a hint if it does not exist."""
    binary = Path(path).resolve()
    if not binary.is_file():
        sys.exit(f"{binary} does not exist: run `cargo build --release`, or name another binary with --binary")
    return binary


def spawn(
    binary: Path,
    data: Path,
    settings: dict | None = None,
    nofile: int | None = None,
    log: Path | None = None,
    listen: str = "127.0.0.1:0",
    confine: Callable[[], None] | None = None,
) -> Server:
    """Starts a server over a folder without waiting for it.

    `settings` are members of config.json. The log goes to DATA.log by default. `confine` is called
    in the new process before it becomes the server.
    """

    def limit() -> None:
        if nofile is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))
        if confine is not None:
            confine()

    command = [binary, "--data", data, "--listen", listen, "--captcha-answer", CAPTCHA]
    return spawn_command(command, data, log or data.with_name(data.name + ".log"), variables(settings or {}), limit)


def spawn_command(
    command: list,
    data: Path,
    log: Path,
    environment: dict[str, str] | None = None,
    confine: Callable[[], None] | None = None,
) -> Server:
    """Starts any program that logs its address as accountd does, without waiting for it."""
    environment = os.environ | (environment or {})
    with open(log, "ab") as sink:
        process = subprocess.Popen(command, stderr=sink, env=environment, start_new_session=True, preexec_fn=confine)
    return Server(process, ("127.0.0.1", 0), data, log)


def start(binary: Path, data: Path, settings: dict | None = None, **options) -> Server:
    """Like `spawn`, and waits until the server listens."""
    log = options.get("log") or data.with_name(data.name + ".log")
    before = log.stat().st_size if log.exists() else 0
    return wait_until_listening(spawn(binary, data, settings, **options), before)


def wait_until_listening(server: Server, offset: int = 0) -> Server:
    """Waits for the line with the address in the log after this offset; ends a server that does not
    write it."""
    end = time.monotonic() + 15
    while time.monotonic() < end and server.process.poll() is None:
        for line in log_since(server, offset):
            if line.startswith(LISTENING):
                server.address = address_in(line.removeprefix(LISTENING))
                return server
        time.sleep(0.01)
    kill(server)
    raise RuntimeError(f"{server.process.args[0]} did not start: {log_since(server, offset)[-3:]}")


def variables(settings: dict) -> dict[str, str]:
    """Settings as environment variables, which win over config.json."""

    def text(value: object) -> str:
        if isinstance(value, bool):
            return "true" if value else "false"
        return ",".join(value) if isinstance(value, list) else str(value)

    return {f"ACCOUNTD_{name.upper()}": text(value) for name, value in settings.items()}


def stop(server: Server) -> int:
    """Stops a server as a service manager does; returns its exit code."""
    server.process.terminate()
    return server.process.wait(30)


def address_in(text: str) -> Address:
    """The address in a log line."""
    if text.startswith("unix:"):
        return text.removeprefix("unix:")
    host, port = text.removeprefix("http://").rsplit(":", 1)
    return host, int(port)


def log_since(server: Server, offset: int) -> list[str]:
    """The complete lines in the log after this offset."""
    with open(server.log, "rb") as file:
        file.seek(offset)
        lines = file.read().decode(errors="replace").split("\n")
    return lines[:-1]


def log_of(server: Server, offset: int) -> list[str]:
    """The log after this offset, including the lines of every request answered so far."""
    # The server writes lines in order, so this request's line comes last.
    marker = "/end-of-log"
    exchange(server.address, request("GET", marker))
    end = time.monotonic() + 5
    while marker not in "".join(log_since(server, offset)) and time.monotonic() < end:
        time.sleep(0.005)
    return log_since(server, offset)


def errors_in(lines: Iterable[str]) -> list[str]:
    """The log lines of level error."""
    return [line for line in lines if " error " in line]


def kill(server: Server) -> None:
    """Sends SIGKILL to the server and everything that it started."""
    try:
        os.killpg(server.process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    server.process.wait()


def request(method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"") -> bytes:
    """The bytes of a request that asks the server to close the connection."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines + ["", ""]).encode() + body


def connect(address: Address, deadline: float = 10, source: str = "") -> socket.socket:
    """Connects within `deadline` seconds, from the local address `source` if it is given."""
    if isinstance(address, str):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(deadline)
        connection.connect(address)
        return connection
    connection = socket.create_connection(address, deadline, (source, 0) if source else None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def exchange(address: Address, raw: bytes, deadline: float = 10, source: str = "") -> Answer:
    """Sends bytes on a new connection and reads one response within `deadline` seconds, or raises
    an OSError."""
    end = time.monotonic() + deadline
    with connect(address, deadline, source) as connection:
        connection.sendall(raw)
        return read_answer(connection, end)


def read_answer(connection: socket.socket, end: float) -> Answer:
    """Reads one response before `end`, or raises an OSError. Bytes after it are dropped."""
    body, status = b"", 100
    while status == 100:  # The final response follows an interim one.
        received = body
        while b"\r\n\r\n" not in received:
            received += receive(connection, end)
        head, body = received.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    parts, left = [body], int(headers.get("content-length", 0)) - len(body)
    while left > 0:
        parts.append(receive(connection, end))
        left -= len(parts[-1])
    answer = Answer(status, headers, b"".join(parts))
    if headers.get("content-type") == "application/json":
        members = json.loads(answer.body)
        answer.code, answer.message = members.get("code", 0), members.get("message")
    return answer


def receive(connection: socket.socket, end: float) -> bytes:
    """Receives at least one byte before `end`, or raises an OSError."""
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError("no complete response in time")
    connection.settimeout(left)
    data = connection.recv(1 << 16)
    if not data:
        raise ConnectionError("the connection closed within a response")
    return data


def post(address: Address, path: str, members: dict, deadline: float = 10) -> Answer:
    """Posts JSON."""
    return exchange(address, request("POST", path, body=json.dumps(members).encode()), deadline)


def captcha(address: Address, headers: dict[str, str] | None = None, deadline: float = 10, source: str = "") -> str:
    """Fetches a captcha and returns its key; "" if the server refused."""
    raw = request("GET", "/api/get_verification_code", headers)
    return exchange(address, raw, deadline, source).headers.get("verificationcodekey", "")


def solved(members: dict, key: str) -> dict:
    """These members with the correct answer to the captcha of this key."""
    return members | {"verification_code_key": key, "verification_code": CAPTCHA}


def post_solved(address: Address, path: str, members: dict, deadline: float = 10) -> Answer:
    """Posts JSON with a fresh captcha, answered correctly."""
    return post(address, path, solved(members, captcha(address, deadline=deadline)), deadline)


def registration_key(data: Path) -> str:
    """The registration key that the first start wrote to config.json."""
    return json.loads((data / "config.json").read_text())["secret_key_required_for_account_registration"]


def register(server: Server, name: str, password: str = PASSWORD) -> Answer:
    """Registers a user; display name and email are derived from the name."""
    members = {"username": name, "passwd": password, "show_name": f"{name} 阿巴", "email": f"{name}@example.org"}
    return post_solved(server.address, "/api/registered", members | {"key": registration_key(server.data)})


def login(server: Server, name: str, password: str = PASSWORD) -> Answer:
    """Logs in; the message of the answer is the token."""
    return post_solved(server.address, "/api/login", {"username": name, "passwd": password})


def otp(secret: str) -> str:
    """The code of a second factor now (RFC 6238), from its secret in base32."""
    digest = hmac.digest(base64.b32decode(secret), struct.pack(">Q", int(time.time()) // 30), "sha1")
    at = digest[-1] & 15
    number = struct.unpack(">I", digest[at : at + 4])[0] & 0x7FFF_FFFF
    return f"{number % 1_000_000:06}"


def upload(server: Server, token: str, picture: bytes) -> Answer:
    """Uploads an avatar; the message of the answer is its name."""
    headers = {"token": token, "Content-Type": MULTIPART}
    return exchange(server.address, request("POST", "/api/upload_avatar", headers, multipart(picture)), 30)


def multipart(picture: bytes) -> bytes:
    """The multipart body of an upload."""
    return upload_start() + picture + f"\r\n--{BOUNDARY}--\r\n".encode()


def upload_start() -> bytes:
    """The part of a multipart body before the picture."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n'
    return (head + "Content-Type: image/png\r\n\r\n").encode()


def png(width: int, height: int, seed: object) -> bytes:
    """A greyscale PNG of noise, slightly larger than width * height bytes; each seed gives another
    picture."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    noise = random.Random(str(seed)).randbytes(width * height)
    rows = b"".join(b"\0" + noise[at : at + width] for at in range(0, len(noise), width))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(rows, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def free_port() -> int:
    """A port of 127.0.0.1 that is free at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def enter_venv(venv: Path, packages: Path) -> None:
    """Restarts the script in a virtual environment with these packages; pip installs them the first
    time."""
    python = venv / "bin" / "python"
    installed = venv / packages.name
    if not installed.is_file() or installed.read_bytes() != packages.read_bytes():
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", packages]
        subprocess.run(pip, check=True)
        shutil.copy(packages, installed)
    if Path(sys.prefix) != venv:
        os.execv(python, [python, "-B", *sys.argv])


def nginx_command(folder: Path, http: str) -> list[str]:
    """The command that starts nginx with this text in its `http` block; nginx writes to this folder
    only."""
    paths = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"])
    user = "user root;" if os.getuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {folder}/pid; error_log stderr; events {{}}\nhttp {{ access_log off; {paths} {http} }}\n"
    )
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def start_proxy(command: list[str], folder: Path, ports: list[int]) -> subprocess.Popen:
    """Starts a proxy that logs to this folder, and waits until it listens on these ports of
    127.0.0.1."""
    folders = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    # Debian installs some of the proxies in /usr/sbin.
    environment = os.environ | folders | {"PATH": f"{os.environ['PATH']}:/usr/sbin"}
    log = folder / "proxy.log"
    with open(log, "wb") as sink:
        proxy = subprocess.Popen(command, stdout=sink, stderr=sink, env=environment)
    end = time.monotonic() + 20
    for port in ports:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                if proxy.poll() is not None or time.monotonic() > end:
                    proxy.kill()
                    raise SystemExit(f"FAILED: {command[0]} did not start: {log.read_text()}") from None
                time.sleep(0.02)
    return proxy


def serve(options: argparse.Namespace) -> int:
    """Runs a command beside a server, or serves until standard input ends; returns the exit code."""
    # So that the server ends with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="accountd-serve-") as folder:
        data = Path(options.data or f"{folder}/data").resolve()
        binary = need_binary(options.binary)
        server = start(binary, data, dict(pair.split("=", 1) for pair in options.set), log=Path(folder) / "log")
        try:
            config = json.loads((data / "config.json").read_text())
            given = {
                "URL": server.url,
                "DATA": str(data),
                "KEY": registration_key(data),
                "RESET_KEY": config.get("forget_password_key", ""),
                "CAPTCHA": CAPTCHA,
            }
            if options.command:
                code = subprocess.run(options.command, env=os.environ | given).returncode
            else:
                print(json.dumps(given), flush=True)
                sys.stdin.read()
                code = 0
            ended = stop(server)
            if code == 0 and ended != 0:
                print(f"FAILED: the server exited with code {ended}", file=sys.stderr)
                code = 1
            return code
        except BaseException:
            kill(server)
            raise


def main() -> int:
    """Parses the command line; `serve` is the only command."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = made.add_subparsers(required=True)
    serving = commands.add_parser("serve", help="run a command beside a server")
    serving.add_argument("--binary", default=BINARY, help="the server (default: target/release/accountd)")
    serving.add_argument("--data", help="the data folder (default: a fresh one, removed at the end)")
    serving.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of config.json")
    serving.add_argument("command", nargs="*", metavar="COMMAND")
    return serve(made.parse_args())


if __name__ == "__main__":
    sys.exit(main())
