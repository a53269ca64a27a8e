"""Requests as bytes, for what a client would hide: interim answers, and requests that a client would not send."""

import json
import re
import socket
import time

import harness
from harness import Address, check

CHUNKED = "Transfer-Encoding: chunked"
H2C = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"
STAYS = b" (and the connection stays open)"


def talk(address: Address, raw: bytes, deadline: float = 3) -> tuple[list[int], bytes]:
    """What comes back until the connection ends: the statuses of its answers, and all of it."""
    end, received = time.monotonic() + deadline, b""
    with socket.create_connection(address, timeout=deadline) as connection:
        try:
            connection.sendall(raw)
            while data := harness.receive(connection, end):
                received += data
        except TimeoutError:
            received += STAYS
        except OSError:
            pass  # Ended.
    return statuses_of(received), received


def statuses_of(received: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3})", received)]


def judge(what: str, right: bool, seen: object) -> None:
    check(f"raw: {what}", right, seen, quiet=True)


def ends(connection: socket.socket) -> bool:
    try:
        return not connection.recv(1)
    except TimeoutError:
        return False


def chunks(body: bytes, extension: str = "", trailers: str = "") -> bytes:
    middle = len(body) // 2
    parts = [f"{len(part):x}{extension}\r\n".encode() + part + b"\r\n" for part in (body[:middle], body[middle:])]
    return b"".join(parts) + f"0\r\n{trailers}\r\n".encode()


def answered(address: Address, token: str) -> None:
    """Requests that are right in unusual ways: one answer each, and no interim one."""
    body = json.dumps({"token": token}).encode()

    def head(*lines: str, version: str = "1.1", host: str = "Host: localhost") -> bytes:
        return "\r\n".join([f"POST /api/user_info HTTP/{version}", *filter(None, [host]), *lines, "", ""]).encode()

    length, close = f"Content-Length: {len(body)}", "Connection: close"
    h2c = H2C.replace("Upgrade,", "close, Upgrade,")
    for what, raw in [
        ("chunks", head(CHUNKED, close) + chunks(body)),
        ("chunks with extensions", head(CHUNKED, close) + chunks(body, ';a=b;c="d"')),
        ("chunks with trailers", head(CHUNKED, close) + chunks(body, trailers="X-Sum: abc\r\nX-More: d\r\n")),
        ("h2c beside a length", head(length, h2c) + body),
        ("h2c beside chunks", head(CHUNKED, h2c) + chunks(body)),
        ("h2c beside chunks with trailers", head(CHUNKED, h2c) + chunks(body, trailers="X-Sum: abc\r\n")),
        ("HTTP/1.0 with a length", head(length, version="1.0") + body),
        ("HTTP/1.0 without Host", head(length, version="1.0", host="") + body),
        ("HTTP/1.0 with Expect", head(length, "Expect: 100-continue", version="1.0") + body),
        ("a UTF-8 cookie", head(length, close, "Cookie: name=阿巴") + body),
    ]:
        statuses, received = talk(address, raw)
        judge(what, statuses == [200] and received.endswith(b'"code":200}'), f"{statuses} {received[-120:]!r}")

    # A client of HTTP/1.0 waits for the end, unless it is told that there will be none.
    raw = head(length, "Connection: Keep-Alive", version="1.0") + body
    with socket.create_connection(address, timeout=3) as connection:
        connection.sendall(raw)
        received, end = b"", time.monotonic() + 3
        while not received.endswith(b'"code":200}'):
            received += harness.receive(connection, end)
        right = b"\r\nconnection: keep-alive\r\n" in received.lower() or ends(connection)
    judge("HTTP/1.0 that would keep the connection", right, f"neither kept nor ended: {received[:300]!r}")

    for what, path, expected in [
        ("Expect", "/api/user_info", [100, 200]),
        ("Expect of what is refused", "/api/upload_avatar", [200]),
    ]:
        raw = head("Expect: 100-continue", length, close).replace(b"/api/user_info", path.encode())
        with socket.create_connection(address, timeout=3) as connection:
            received = b""
            try:
                connection.sendall(raw)
                received = connection.recv(1 << 16)
                if b" 100 " in received:
                    connection.sendall(body)
                while data := connection.recv(1 << 16):
                    received += data
            except OSError as error:
                received += f" ({error})".encode()
        statuses = statuses_of(received)
        judge(what, statuses == expected, f"{statuses}, not {expected}: {received[-120:]!r}")

    for path in ["/", "/api/login", "/api/nothing", "/s/nothing.png", "//", "/health", "/openapi.json"]:
        ask = "Origin: https://a.example\r\nAccess-Control-Request-Method: POST\r\nConnection: close"
        statuses, received = talk(address, f"OPTIONS {path} HTTP/1.1\r\nHost: a\r\n{ask}\r\n\r\n".encode())
        right = statuses == [204] and b"\r\nAccess-Control-Allow-Origin: *\r\n" in received and received.endswith(b"\r\n\r\n")
        judge(f"a preflight to {path}", right, f"{statuses} {received[-120:]!r}")
    statuses, received = talk(address, "GET /阿巴 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    judge("a UTF-8 target", statuses == [404] and received.endswith(b'"code":404}'), f"{statuses} {received[-120:]!r}")
    statuses, received = talk(address, b"OPTIONS / HTTP/1.0\r\n\r\n")
    judge("OPTIONS / HTTP/1.0", len(statuses) == 1 and statuses[0] in range(200, 400), f"{statuses}")


def refused(address: Address) -> None:
    """HTTP 400 in the shape of every other answer, as the only one, at once, and the end of the connection."""
    host = "Host: localhost"
    for what, lines in [
        ("no Host", ["GET /health HTTP/1.1", "Accept: */*"]),
        ("two Hosts", ["GET /health HTTP/1.1", host, host]),
        ("two other Hosts", ["GET /health HTTP/1.1", "Host: a", "Host: b"]),
        ("a Host with a space", ["GET /health HTTP/1.1", "Host: a b"]),
        ("a Host with a path", ["GET /health HTTP/1.1", "Host: a/b"]),
        ("a Host with a user", ["GET /health HTTP/1.1", "Host: a@b"]),
        ("a Host with a wrong port", ["GET /health HTTP/1.1", "Host: a:b"]),
        ("a Host with half a bracket", ["GET /health HTTP/1.1", "Host: [::1"]),
        ("a list of Hosts", ["GET /health HTTP/1.1", "Host: a, b"]),
        ("a method that is no token", ["G(T /health HTTP/1.1", host]),
        ("a field name that is no token", ["GET /health HTTP/1.1", host, "X(Y: z"]),
        ("a space before the colon", ["GET /health HTTP/1.1", host, "X-Y : z"]),
        ("a line that begins with a space", ["GET /health HTTP/1.1", host, "X-Y: z", " more"]),
        ("a first line that begins with a space", ["GET /health HTTP/1.1", " X: y", host]),
        ("a vertical tab before a value", ["GET /health HTTP/1.1", host, "X-Y: \x0bz"]),
        ("a form feed behind a value", ["GET /health HTTP/1.1", host, "X-Y: z\x0c"]),
        ("a line without a colon", ["GET /health HTTP/1.1", host, "X-Y"]),
        ("two lengths", ["POST /api/login HTTP/1.1", host, "Content-Length: 2", "Content-Length: 3"]),
        ("two lengths and no body", ["POST /api/login HTTP/1.1", host, "Content-Length: 20", "Content-Length: 30"]),
        ("a length beside chunks", ["POST /api/login HTTP/1.1", host, "Content-Length: 2", CHUNKED]),
        ("HTTP/1.2", ["GET /health HTTP/1.2", host]),
        ("HTTP/2.0", ["GET /health HTTP/2.0", host]),
        ("HTTP/2 without asking", ["PRI * HTTP/2.0", "", "SM"]),
        ("no version", ["GET /health", host]),
        ("two spaces", ["GET  /health HTTP/1.1", host]),
        ("a bare line feed", ["GET /health HTTP/1.1", "Host: localhost\nX-Y: z"]),
        ("a chunk without a size", ["POST /api/user_info HTTP/1.1", host, CHUNKED, "", "zz"]),
        ("a length that is none", ["POST /api/login HTTP/1.1", host, "Content-Length: x"]),
        ("another coding", ["POST /api/login HTTP/1.1", host, "Transfer-Encoding: gzip, chunked"]),
    ]:
        # Without "Connection: close": the server ends it by itself.
        statuses, received = talk(address, "\r\n".join([*lines, "", ""]).encode())
        head, _, body = received.partition(b"\r\n\r\n")
        members = json.loads(body) if body.startswith(b"{") and body.endswith(b"}") else {}
        shape = set(members) == {"message", "code"} and members["code"] == 400
        named = b"\r\naccess-control-allow-origin: *" in head.lower() and b"\r\nx-content-type-options: nosniff" in head.lower()
        judge(what, statuses == [400] and shape and named, f"{statuses} {received[-120:]!r}")
