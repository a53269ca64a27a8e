"""Real HTTP clients with one interface: `ask` sends a request with a client and returns the
response that it saw.

A client in another language is a program (drive.mjs, Drive.java, drive.go, drive.py). It reads
requests from its standard input and writes responses to its standard output, a line each, so that
it can keep its connections:

    METHOD <tab> URL <tab> WAY <tab> FILE [<tab> NAME: VALUE]…    a request; FILE has the body, and is empty without one
    STATUS <tab> BODY [<tab> NAME: VALUE]…                         the response; BODY in Base64
    error <tab> TEXT                                               no response

The way is how a body is sent: `plain` with Content-Length, `stream` without it (in chunks over
HTTP/1.1), `expect` after 100 Continue, `form` as a picture in a multipart body that the client
makes.
"""

import base64
import json
import os
import re
import selectors
import shutil
import subprocess
import sys
import time
from pathlib import Path

from harness import Answer

HERE = Path(__file__).resolve().parent
DEADLINE = 13.0  # Longer than the clients' own, which is 10 seconds.


class Lost(Exception):
    """A client got no response; the text is the client's."""


def read(status: int, headers: list[str], body: bytes) -> Answer:
    """The response with this head and body."""
    names = {name.lower(): value.strip() for name, _, value in (header.partition(":") for header in headers)}
    answer = Answer(status, names, body)
    if names.get("content-type") == "application/json":
        try:
            members = json.loads(body)
        except ValueError:
            members = {}  # HEAD, or cut off, which the missing code shows.
        answer.code, answer.message = members.get("code", 0), members.get("message")
    return answer


class Client:
    """A client: the ways that it knows, and those that `again` sends over one connection."""

    def __init__(self, name: str, ways: str, keeps: str, methods: str = "GET HEAD POST OPTIONS") -> None:
        self.name, self.ways, self.keeps, self.methods = name, ways.split(), keeps.split(), methods.split()

    def ask(self, method: str, url: str, way: str, file: Path | None, headers: dict[str, str]) -> Answer:
        raise NotImplementedError

    def again(self, times: int, url: str, way: str, file: Path, headers: dict[str, str]) -> list[Answer]:
        """Sends the same POST `times` times."""
        return [self.ask("POST", url, way, file, headers) for _ in range(times)]

    def end(self) -> None:
        """Ends the client's program."""


class Driven(Client):
    """A client that is a program, started with its first request."""

    def __init__(self, name: str, ways: str, command: list, environment: dict[str, str], keeps: str = "plain stream") -> None:
        super().__init__(name, ways, keeps)
        self.command, self.environment = command, os.environ | environment
        self.process: subprocess.Popen | None = None

    def ask(
        self, method: str, url: str, way: str, file: Path | None, headers: dict[str, str], deadline: float = DEADLINE
    ) -> Answer:
        if self.process is None:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            self.process = subprocess.Popen(self.command, env=self.environment, bufsize=0, **pipes)
        order = [method, url, way, str(file or ""), *(f"{name}: {value}" for name, value in headers.items())]
        self.process.stdin.write(("\t".join(order) + "\n").encode())
        fields = self.line(deadline).split("\t")
        if fields[0] == "error":
            raise Lost(fields[1])
        return read(int(fields[0]), fields[2:], base64.b64decode(fields[1]))

    def line(self, deadline: float) -> str:
        """Reads a line from the program; ends a program that hangs."""
        line, end = b"", time.monotonic() + deadline
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, end - time.monotonic())):
                    self.end()
                    raise Lost("the client hangs")
                data = os.read(self.process.stdout.fileno(), 1 << 20)
                if not data:
                    said = self.process.stderr.read().decode(errors="replace").strip()
                    self.end()
                    raise Lost(f"the client ended: {said[-300:]}")
                line += data
        return line[:-1].decode()

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


class Curl(Client):
    """curl, a process per request."""

    def __init__(self, name: str, ways: str, *options: str) -> None:
        super().__init__(name, ways, keeps="" if "--http1.0" in options else "plain")
        self.options = options

    def run(self, way: str, file: Path | None, headers: dict[str, str], arguments: list[str]) -> list[Answer]:
        """Runs curl with these arguments; returns the responses in order."""
        command = ["curl", "--silent", "--show-error", "--max-time", "10", "--include", *self.options, *arguments]
        if way == "expect":
            headers = headers | {"Expect": "100-continue"}
        for name, value in headers.items():
            command += ["--header", f"{name}: {value}"]
        if file is not None:
            command += {
                "plain": ["--data-binary", f"@{file}"],
                "expect": ["--data-binary", f"@{file}"],
                "stream": ["--upload-file", "-"],
                "form": ["--form", f"file=@{file};type=image/png"],
            }[way]
        body = file.read_bytes() if file and way == "stream" else b""
        done = subprocess.run(command, input=body, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        statuses = re.findall(rb"(?m)^HTTP/[0-9.]+ (\d{3})", done.stdout)
        if done.returncode != 0:
            raise Lost(f"{done.stderr.decode().strip()} {statuses}")
        # curl sends Expect by itself before a body from standard input. It may then get 100 twice:
        # one from Caddy and the server's, which Caddy forwards.
        answers = parse(done.stdout)
        if any(answer.status < 200 for answer in answers) and way not in ("expect", "stream"):
            raise Lost(f"an interim response that it did not ask for: {statuses}")
        return [answer for answer in answers if answer.status >= 200]

    def ask(self, method: str, url: str, way: str, file: Path | None, headers: dict[str, str]) -> Answer:
        # With --request HEAD curl would wait for a body.
        how = ["--head"] if method == "HEAD" else ["--request", method]
        answers = self.run(way, file, headers, [*how, url])
        if len(answers) != 1:
            raise Lost(f"{len(answers)} responses: {[answer.status for answer in answers]}")
        return answers[0]

    def again(self, times: int, url: str, way: str, file: Path, headers: dict[str, str]) -> list[Answer]:
        return self.run(way, file, headers, ["--request", "POST", *[url] * times])


def parse(raw: bytes) -> list[Answer]:
    """The responses in the output of curl --include."""
    answers = []
    while raw:
        head, _, raw = raw.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        status = re.fullmatch(r"HTTP/[0-9.]+ (\d{3}).*", lines[0])
        if not status:
            raise Lost(f"no status line: {lines[0][:100]}")
        length = re.search(r"(?im)^content-length: *(\d+)$", "\n".join(lines))
        body = raw[: int(length[1]) if length else 0 if int(status[1]) in (100, 101, 204) else len(raw)]
        answers.append(read(int(status[1]), lines[1:], body))
        raw = raw[len(body) :]
    return answers


class Wget(Client):
    """BusyBox wget, which shows only the status of an error."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name, "plain", keeps="", methods="GET POST")
        self.folder = folder

    def ask(self, method: str, url: str, way: str, file: Path | None, headers: dict[str, str]) -> Answer:
        shown = self.folder / "wget"
        shown.unlink(missing_ok=True)
        command = ["busybox", "wget", "-S", "-O", str(shown)]
        for name, value in headers.items():
            command += ["--header", f"{name}: {value}"]
        if file is not None:
            command += ["--post-file", str(file)]
        done = subprocess.run([*command, url], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=DEADLINE)
        said = done.stderr.decode(errors="replace")
        statuses = re.findall(r"HTTP/1\.[01] (\d{3})", said)
        if not statuses:
            raise Lost(said.strip())
        lines = [line.strip() for line in said.splitlines() if line.startswith("  ")]
        return read(int(statuses[0]), lines, shown.read_bytes() if done.returncode == 0 else b"")


def node_clients() -> list[str]:
    """Installs undici; returns the names of Node's clients."""
    clients = ["fetch", "http"]
    version = subprocess.run(["node", "--version"], stdout=subprocess.PIPE, check=True).stdout.decode().strip()
    if tuple(map(int, version.lstrip("v").split("."))) < (20, 18, 1) or not shutil.which("npm"):
        print(f"SKIPPED undici: it needs npm and node 20.18.1 or newer; this is node {version}")
        return clients
    installed = HERE / "node_modules" / ".package-lock.json"
    if not installed.is_file() or installed.stat().st_mtime < (HERE / "package-lock.json").stat().st_mtime:
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=HERE, check=True)
    return [*clients, "undici-request", "undici-stream"]


def build(source: str, product: Path, command: list, environment: dict[str, str] | None = None) -> None:
    """Compiles a program, unless the product is newer than the source."""
    product.parent.mkdir(parents=True, exist_ok=True)
    if not product.is_file() or product.stat().st_mtime < (HERE / source).stat().st_mtime:
        subprocess.run([*command, HERE / source], env=os.environ | (environment or {}), check=True)


def all_clients(built: Path, folder: Path, certificate: Path) -> list[Client]:
    """Every installed client. Compiled programs stay in `built`; `folder` is temporary."""
    clients: list[Client] = []

    def there(*programs: str) -> bool:
        missing = [program for program in programs if not shutil.which(program)]
        if missing:
            print(f"SKIPPED {programs[0]}: not installed: {', '.join(missing)}")
        return not missing

    if there("curl"):
        trust = ["--cacert", str(certificate)]
        clients.append(Curl("curl", "plain stream expect form", *trust))
        clients.append(Curl("curl --http1.0", "plain form", "--http1.0", *trust))
        clients.append(Curl("curl --http2", "plain stream form", "--http2", *trust))
    if there("busybox"):
        clients.append(Wget("busybox wget", folder))
    if there("node"):
        for name in node_clients():
            ways = "plain stream expect" if name == "http" else "plain stream form"
            command = ["node", HERE / "drive.mjs", name]
            clients.append(Driven(f"node {name}", ways, command, {"NODE_EXTRA_CA_CERTS": str(certificate)}))
    if there("go"):
        # Independent of the machine's GOFLAGS and modules.
        settings = {"GO111MODULE": "off", "GOFLAGS": "", "GOCACHE": str(built / "go-cache")}
        build("drive.go", built / "drive-go", ["go", "build", "-o", built / "drive-go"], settings)
        trust = {"SSL_CERT_FILE": str(certificate)}
        clients.append(Driven("go", "plain stream expect form", [built / "drive-go"], trust))
    if there("java", "javac"):
        build("Drive.java", built / "Drive.class", ["javac", "-d", built])
        command = ["java", "-XX:TieredStopAtLevel=1", "-cp", built, "Drive", certificate]
        clients.append(Driven("java", "plain stream expect", command, {}))
    for name, ways in [
        ("urllib", "plain stream"),
        ("requests", "plain stream form"),
        ("httpx", "plain stream form"),
        ("aiohttp", "plain stream expect form"),
    ]:
        trust = {"SSL_CERT_FILE": str(certificate), "REQUESTS_CA_BUNDLE": str(certificate), "NO_PROXY": "127.0.0.1"}
        command = [sys.executable, "-B", HERE / "drive.py", name]
        clients.append(Driven(name, ways, command, trust, "" if name == "urllib" else "plain stream"))
    return clients
