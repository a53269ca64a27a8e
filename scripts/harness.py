"""What the other scripts in Python share: a server over a folder, and a client that sends bytes as told.

Not to be run by itself. Python 3.11 or newer, nothing but its standard library, Linux.
"""

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
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

BINARY = Path(__file__).resolve().parent.parent / "target" / "release" / "accountd"
CAPTCHA = "k7m3xp"
PASSWORD = "a password"
BOUNDARY = "----XyZ"
# Host and port, or the path of a unix socket.
Address = tuple[str, int] | str


@dataclass
class Server:
    """A running server; it leads a process group of its own, so that everything it starts can be ended with it."""

    process: subprocess.Popen
    address: Address
    data: Path
    log: Path


@dataclass
class Answer:
    """What a client got. `code` and `message` are of a JSON body, `headers` have lower-case names."""

    status: int
    headers: dict[str, str]
    body: bytes
    code: int = 0
    message: object = None


# What `check` found to be wrong.
failures: list[str] = []


def check(what: str, right: bool, seen: object = "", quiet: bool = False) -> None:
    """Prints a line, if something is wrong or `quiet` is not asked for, and remembers what is wrong."""
    if not right:
        failures.append(what)
    if not (right and quiet):
        print(f"{'ok    ' if right else 'FAILED'} {what}{f': {seen}' if seen != '' else ''}", flush=True)


def verdict() -> int:
    """Says what came of all checks; the exit code."""
    print(f"\nFAILED: {len(failures)}" if failures else "\nPASSED")
    return 1 if failures else 0


def need_binary(path: str) -> Path:
    """The binary, or a hint and the end."""
    binary = Path(path).resolve()
    if not binary.is_file():
        sys.exit(f"{binary} is not there: cargo build --release makes it, --binary names another")
    return binary


def spawn(
    binary: Path,
    data: Path,
    nofile: int | None = None,
    log: Path | None = None,
    listen: str = "127.0.0.1:0",
    confine: Callable[[], None] | None = None,
) -> Server:
    """Starts a server on a folder, and does not wait for it. Its log is DATA.log unless told; `confine` is called in its
    process before it is the server's."""
    log = log or data.with_name(data.name + ".log")

    def limit() -> None:
        if nofile is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))
        if confine is not None:
            confine()

    arguments = [binary, "--data", data, "--listen", listen, "--captcha-answer", CAPTCHA]
    with open(log, "ab") as sink:
        process = subprocess.Popen(arguments, stderr=sink, start_new_session=True, preexec_fn=limit)
    return Server(process, ("127.0.0.1", 0), data, log)


def start(
    binary: Path,
    data: Path,
    nofile: int | None = None,
    log: Path | None = None,
    listen: str = "127.0.0.1:0",
    confine: Callable[[], None] | None = None,
) -> Server:
    """Starts a server on a folder and waits until it listens."""
    log = log or data.with_name(data.name + ".log")
    before = log.stat().st_size if log.exists() else 0
    server = spawn(binary, data, nofile, log, listen, confine)
    end = time.monotonic() + 15
    while time.monotonic() < end and server.process.poll() is None:
        for line in log_since(server, before):
            if line.startswith("listening on "):
                server.address = address_in(line.removeprefix("listening on "))
                return server
        time.sleep(0.01)
    kill(server)
    raise RuntimeError(f"the server did not start: {log_since(server, before)[-3:]}")


def address_in(text: str) -> Address:
    """The address in a line of the log."""
    if text.startswith("unix:"):
        return text.removeprefix("unix:")
    host, port = text.removeprefix("http://").rsplit(":", 1)
    return host, int(port)


def log_since(server: Server, offset: int) -> list[str]:
    """The complete lines that the log has from this offset on."""
    with open(server.log, "rb") as file:
        file.seek(offset)
        lines = file.read().decode(errors="replace").split("\n")
    return lines[:-1]


def log_of(server: Server, offset: int) -> list[str]:
    """The lines from this offset on of every request that has been answered."""
    # Lines are written in their order, and this request's line is the last.
    marker = "/this-is-the-end"
    exchange(server.address, request("GET", marker))
    end = time.monotonic() + 5
    while marker not in "".join(log_since(server, offset)) and time.monotonic() < end:
        time.sleep(0.005)
    return log_since(server, offset)


def kill(server: Server) -> None:
    """SIGKILL for the server and everything that it started."""
    try:
        os.killpg(server.process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    server.process.wait()


def request(method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"") -> bytes:
    """The bytes of a request that is the only one of its connection."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines + ["", ""]).encode() + body


def connect(address: Address, deadline: float = 10, source: str = "") -> socket.socket:
    """A connection within so many seconds, from this address of the machine if one is given."""
    if isinstance(address, str):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(deadline)
        connection.connect(address)
        return connection
    connection = socket.create_connection(address, deadline, (source, 0) if source else None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def exchange(address: Address, raw: bytes, deadline: float = 10, source: str = "") -> Answer:
    """Sends bytes on a new connection and reads one whole answer within so many seconds, or raises an OSError."""
    end = time.monotonic() + deadline
    with connect(address, deadline, source) as connection:
        connection.sendall(raw)
        return read_answer(connection, end)


def read_answer(connection: socket.socket, end: float) -> Answer:
    """One whole answer before `end`, or an OSError. What follows it is lost."""
    body, status = b"", 100
    while status == 100:  # An interim answer; the one that counts follows.
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
    """Some bytes before `end`, or an OSError."""
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError("no whole answer in time")
    connection.settimeout(left)
    data = connection.recv(1 << 16)
    if not data:
        raise ConnectionError("the connection ended within an answer")
    return data


def post(address: Address, path: str, members: dict, deadline: float = 10) -> Answer:
    """Posts JSON."""
    return exchange(address, request("POST", path, body=json.dumps(members).encode()), deadline)


def post_solved(address: Address, path: str, members: dict, deadline: float = 10) -> Answer:
    """Posts JSON with a captcha that is right."""
    captcha = exchange(address, request("GET", "/api/get_verification_code"), deadline)
    key = captcha.headers["verificationcodekey"]
    return post(address, path, members | {"verification_code_key": key, "verification_code": CAPTCHA}, deadline)


def registration_key(data: Path) -> str:
    """The key that the first start wrote into config.json."""
    return json.loads((data / "config.json").read_text())["secret_key_required_for_account_registration"]


def register(server: Server, name: str, password: str = PASSWORD) -> Answer:
    """Registers NAME with the display name and email that this name stands for."""
    members = {"username": name, "passwd": password, "show_name": f"{name} 阿巴", "email": f"{name}@example.org"}
    return post_solved(server.address, "/api/registered", members | {"key": registration_key(server.data)})


def login(server: Server, name: str, password: str = PASSWORD) -> Answer:
    """Logs in; the token is the message."""
    return post_solved(server.address, "/api/login", {"username": name, "passwd": password})


def upload(server: Server, token: str, picture: bytes) -> Answer:
    """Uploads an avatar; its name is the message."""
    headers = {"token": token, "Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    raw = request("POST", "/api/upload_avatar", headers, upload_start() + picture + f"\r\n--{BOUNDARY}--\r\n".encode())
    return exchange(server.address, raw, 30)


def upload_start() -> bytes:
    """What stands before the picture in a form."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n'
    return (head + "Content-Type: image/png\r\n\r\n").encode()


def png(width: int, height: int, seed: object) -> bytes:
    """A grey PNG of noise, a little more than width * height bytes; another one for each seed."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    noise = random.Random(str(seed)).randbytes(width * height)
    rows = b"".join(b"\0" + noise[at : at + width] for at in range(0, len(noise), width))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(rows, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def enter_room(room: Path, packages: Path) -> None:
    """Goes on in a virtual environment that has these packages; they come with pip, once."""
    python = room / "bin" / "python"
    installed = room / packages.name
    if not installed.is_file() or installed.read_bytes() != packages.read_bytes():
        subprocess.run([sys.executable, "-m", "venv", "--clear", room], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", packages]
        subprocess.run(pip, check=True)
        shutil.copy(packages, installed)
    if Path(sys.prefix) != room:
        os.execv(python, [python, "-B", *sys.argv])


def nginx_command(folder: Path, http: str) -> list[str]:
    """The command of an nginx that writes to this folder alone, with this text in its `http`."""
    paths = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"])
    user = "user root;" if os.getuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {folder}/pid; error_log stderr; events {{}}\nhttp {{ access_log off; {paths} {http} }}\n"
    )
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def start_proxy(command: list[str], folder: Path, ports: list[int]) -> subprocess.Popen:
    """Starts a proxy, whose log is in this folder, and waits until it listens on these ports of 127.0.0.1."""
    places = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    # Where Debian has programs that are meant for services.
    environment = os.environ | places | {"PATH": f"{os.environ['PATH']}:/usr/sbin"}
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
                    raise SystemExit(f"FAILED: {command[0]} does not start: {log.read_text()}") from None
                time.sleep(0.02)
    return proxy
