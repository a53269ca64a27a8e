"""Sends the requests on standard input, one per line, with one of Python's HTTP clients. See
scripts/peers/ask.py.

    python drive.py urllib|requests|httpx|aiohttp
"""

import asyncio
import base64
import io
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

TIMEOUT = 10
# The file of a multipart body: name of the part, file name, content, type.
Form = dict[str, tuple[str, bytes, str]]
Result = tuple[int, list[tuple[str, str]], bytes]


def pieces(body: bytes) -> Iterator[bytes]:
    """A body in at least three pieces of at most 16 KiB."""
    size = min(16384, len(body) // 3 + 1)
    return (body[at : at + size] for at in range(0, len(body), size))


def form(picture: bytes) -> Form:
    return {"file": ("a.png", picture, "image/png")}


def urllib_client() -> Callable[..., Result]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(method: str, url: str, way: str, body: bytes | None, headers: dict[str, str]) -> Result:
        content = pieces(body) if way == "stream" and body is not None else body
        request = urllib.request.Request(url, content, headers, method=method)
        try:
            answer = opener.open(request, timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.status, answer.headers.items(), answer.read()

    return ask


def requests_client() -> Callable[..., Result]:
    import requests

    session = requests.Session()

    def ask(method: str, url: str, way: str, body: bytes | None, headers: dict[str, str]) -> Result:
        contents = {"files": form(body)} if way == "form" else {"data": pieces(body) if way == "stream" else body}
        answer = session.request(method, url, headers=headers, timeout=TIMEOUT, **contents)
        return answer.status_code, list(answer.headers.items()), answer.content

    return ask


def httpx_client() -> Callable[..., Result]:
    import httpx

    client = httpx.Client(timeout=TIMEOUT)

    def ask(method: str, url: str, way: str, body: bytes | None, headers: dict[str, str]) -> Result:
        contents = {"files": form(body)} if way == "form" else {"content": pieces(body) if way == "stream" else body}
        answer = client.request(method, url, headers=headers, **contents)
        return answer.status_code, list(answer.headers.items()), answer.content

    return ask


def aiohttp_client() -> Callable[..., Result]:
    import aiohttp

    loop = asyncio.new_event_loop()

    async def open_session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT))

    session = loop.run_until_complete(open_session())

    async def stream(body: bytes):
        for piece in pieces(body):
            yield piece
            await asyncio.sleep(0)

    async def send(method: str, url: str, way: str, body: bytes | None, headers: dict[str, str]) -> Result:
        content = stream(body) if way == "stream" else body
        if way == "form":
            content = aiohttp.FormData()
            content.add_field("file", io.BytesIO(body), filename="a.png", content_type="image/png")
        async with session.request(method, url, headers=headers, data=content, expect100=way == "expect") as answer:
            return answer.status, list(answer.headers.items()), await answer.read()

    return lambda *arguments: loop.run_until_complete(send(*arguments))


CLIENTS = {"urllib": urllib_client, "requests": requests_client, "httpx": httpx_client, "aiohttp": aiohttp_client}


def main() -> None:
    ask = CLIENTS[sys.argv[1]]()
    for line in sys.stdin:
        method, url, way, file, *headers = line.rstrip("\n").split("\t")
        body = Path(file).read_bytes() if file else None
        try:
            status, received, content = ask(method, url, way, body, dict(header.split(": ", 1) for header in headers))
            fields = [str(status), base64.b64encode(content).decode(), *(": ".join(header) for header in received)]
        except Exception as error:
            fields = ["error", " ".join(f"{type(error).__name__}: {error}".split())]
        print("\t".join(fields), flush=True)


if __name__ == "__main__":
    main()
