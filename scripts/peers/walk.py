"""The requests that each client sends over one route to the server."""

import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path

import harness
from harness import Answer, check
from peers import ask
from peers.ask import Client, Lost
from peers.relay import Relay, unrequested

tags = itertools.count()


class Bodies:
    """The files that clients send."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.picture = self.put("small.png", harness.png(150, 150, "small"))
        self.large = self.put("large.png", harness.png(1200, 1300, "large"))
        self.form = self.put("form", self.filled(self.picture))
        self.large_form = self.put("large-form", self.filled(self.large))
        self.stranger = self.put("stranger", json.dumps({"token": "x" * 250}).encode())
        # JSON of 100 KB (the limit is 64 KiB); pictures of 300 KB and 200 KB, sent without a token.
        self.long = self.put("long", json.dumps({"token": "x" * 100_000}).encode())
        self.unwanted = self.put("unwanted", harness.upload_start() + harness.png(550, 550, "unwanted"))
        self.smaller = self.put("smaller", harness.upload_start() + harness.png(450, 450, "unwanted"))

    def put(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    def filled(self, picture: Path) -> bytes:
        return harness.multipart(picture.read_bytes())


def differs(answer: Answer, status: int, code: int = 0) -> str:
    """How a response differs from the expected one; "" if it does not. Every response has CORS
    headers."""
    if (answer.status, answer.code) != (status, code):
        return f"HTTP {answer.status} {answer.body[:120]!r}, not HTTP {status}" + (f" with code {code}" if code else "")
    if answer.headers.get("access-control-allow-origin") != "*":
        return f"no Access-Control-Allow-Origin: {answer.headers}"
    return ""


class Walk:
    """Sends all requests of one client over one route. `watched` is the same route through a relay."""

    def __init__(self, client: Client, route: str, base: str, bodies: Bodies, relay: Relay | None = None) -> None:
        self.client, self.base, self.bodies, self.relay = client, base, bodies, relay
        self.who = f"{client.name}, {route}"
        # Caddy 2.6.2 sometimes resets an HTTP/1.1 client that is still sending when the response
        # comes, whatever the server does: of 480 such requests to a server that reads everything,
        # 36 were lost.
        self.cuts_off = route == "caddy HTTP/1.1"
        self.watched = "http://{}:{}".format(*relay.address) if relay else base
        self.right, self.began = 0, time.monotonic()

    def case(self, what: str, judge: Callable[[], str]) -> None:
        """Checks that `judge` returns no fault. After 30 seconds the remaining cases fail untried."""
        try:
            wrong = judge() if time.monotonic() < self.began + 30 else "not tried, since the others took too long"
        except Lost as error:
            wrong = f"no response: {error}"
        check(f"{self.who}: {what}", not wrong, wrong[:300], quiet=True)
        self.right += not wrong

    def send(self, method: str, path: str, way: str = "plain", file: Path | None = None, direct: bool = False, **headers):
        url = (self.base if direct else self.watched) + path
        return self.client.ask(method, url, way, file, {name.replace("_", "-"): text for name, text in headers.items()})

    def differs(self, answer: Answer, status: int, code: int) -> str:
        """Like `differs` for an error, of which BusyBox wget shows only the status."""
        if isinstance(self.client, ask.Wget) and status != 200:
            return "" if answer.status == status else f"HTTP {answer.status}, not HTTP {status}"
        return differs(answer, status, code)

    def run(self, name: str, times: int) -> None:
        """Sends all requests as this user; refused ones `times` times."""
        before = len(harness.failures)
        recordings = len(self.relay.recordings) if self.relay else 0
        token = self.log_in(name)
        self.read_account(name, token)
        # BusyBox wget sends a body only up to the first zero byte.
        if not isinstance(self.client, ask.Wget):
            self.upload(token)
        self.refused(times)
        self.other_methods()
        self.keep(token)
        self.case("user_info at the end", lambda: self.account(name, "plain", token))
        self.client.end()
        if self.relay:
            # A client may hide an interim response that it did not ask for.
            wrong = [text for text in map(unrequested, self.relay.recordings[recordings:]) if text]
            self.case("interim responses", lambda: f"on {len(wrong)} connections: {wrong[0]}" if wrong else "")
        faults = len(harness.failures) - before
        took = f"{time.monotonic() - self.began:.1f} s"
        print(f"{'FAILED' if faults else 'ok    '} {self.who}: {self.right} of {self.right + faults} cases, {took}", flush=True)

    def log_in(self, name: str) -> str:
        token = ""

        def judge() -> str:
            nonlocal token
            captcha = self.send("GET", "/api/get_verification_code")
            key = captcha.headers.get("verificationcodekey", "")
            members = harness.solved({"username": name, "passwd": harness.PASSWORD}, key)
            answer = self.send("POST", "/api/login", file=self.bodies.put("log-in", json.dumps(members).encode()))
            token = str(answer.message)
            return differs(captcha, 200) or differs(answer, 200, 200)

        self.case("login", judge)
        return token

    def account(self, name: str, way: str, token: str) -> str:
        file = self.bodies.put("account", json.dumps({"token": token}).encode())
        answer = self.send("POST", "/api/user_info", way, file)
        return differs(answer, 200, 200) or ("" if f'"{name}"'.encode() in answer.body else f"{answer.body[:120]!r}")

    def read_account(self, name: str, token: str) -> None:
        for way in self.ways():
            self.case(f"user_info, {way}", lambda: self.account(name, way, token))
            stranger = self.bodies.stranger
            self.case(f"a bad token, {way}", lambda: differs(self.send("POST", "/api/user_info", way, stranger), 200, 403))

    def ways(self) -> list[str]:
        """The ways in which the client sends a given body. Through proxies only curl sends Expect:
        over HTTP/2 proxies differ, Caddy sends HTTP 100 twice, which Java rejects, and after a
        refusal instead of HTTP 100 Go 1.19 sends its next request while HAProxy still waits for the
        body."""
        asks = self.relay is not None or (isinstance(self.client, ask.Curl) and not self.base.startswith("https"))
        return [way for way in self.client.ways if way != "form" and (asks or way != "expect")]

    def upload(self, token: str) -> None:
        kind = harness.MULTIPART

        def judge(way: str, picture: Path, form: Path) -> str:
            headers = {"token": token} if way == "form" else {"token": token, "Content_Type": kind}
            answer = self.send("POST", "/api/upload_avatar", way, picture if way == "form" else form, **headers)
            if wrong := differs(answer, 200, 200):
                return wrong
            there = self.send("GET", f"/s/{answer.message}")
            if wrong := differs(there, 200):
                return wrong
            same = there.body == picture.read_bytes() and there.headers.get("content-type") == "image/png"
            if same and "HEAD" in self.client.methods:
                head = self.send("HEAD", f"/s/{answer.message}")
                same = not differs(head, 200) and not head.body
                same = same and head.headers.get("content-length") == str(picture.stat().st_size)
            return "" if same else f"another picture of {len(there.body)} bytes, or HEAD is wrong"

        small = self.bodies.picture, self.bodies.form
        for way in [*self.ways(), *(["form"] if "form" in self.client.ways else [])]:
            # With Expect a large one: curl sends it by itself from 1 MB on.
            large = (self.bodies.large, self.bodies.large_form) if way == "expect" else small
            self.case(f"upload, {way}", lambda: judge(way, *large))

    def refused(self, times: int) -> None:
        """Requests that are refused before the body is read; repeated, since seeing the response
        may be luck."""
        # After a response Caddy reads up to 256 KiB of the remaining body, and resets a client that
        # sends more.
        unwanted, long = self.bodies.unwanted if self.relay else self.bodies.smaller, self.bodies.long
        kind = harness.MULTIPART

        def judge(path: str, way: str, file: Path, status: int, code: int) -> str:
            for turn in range(times + 1):
                answer = self.send("POST", path, way, file, direct=turn > 0, Content_Type=kind)
                if wrong := self.differs(answer, status, code):
                    return f"the {turn + 1}. time: {wrong}"
            return ""

        for way in self.ways():
            if self.cuts_off and way != "plain":
                continue
            # Java before 17.0.17 hangs if the response to Expect is not 100 (JDK-8286171).
            if (self.client.name, way) == ("java", "expect"):
                continue
            self.case(f"100 KB of JSON, {way}", lambda: judge("/api/user_info", way, long, 413, 413))
            # curl before 8.2 keeps waiting to send over HTTP/2 unless the response is an error
            # (curl issue 11157).
            if isinstance(self.client, ask.Curl) and self.base.startswith("https"):
                continue
            self.case(f"a picture without token, {way}", lambda: judge("/api/upload_avatar", way, unwanted, 200, 404))

    def other_methods(self) -> None:
        def preflight(path: str) -> str:
            ask = {"Origin": "https://a.example", "Access_Control_Request_Method": "POST"}
            answer = self.send("OPTIONS", path, **ask)
            return differs(answer, 204) or ("a body" if answer.body else "")

        def head() -> str:
            answer = self.send("HEAD", "/api/user_info")
            return differs(answer, 200) or ("a body" if answer.body else "")

        if "HEAD" in self.client.methods:
            self.case("HEAD", head)
        if "OPTIONS" in self.client.methods:
            self.case("a preflight", lambda: preflight("/api/login"))
            self.case("a preflight to an unknown path", lambda: preflight("/nothing/there"))
        self.case("an unknown path", lambda: self.differs(self.send("GET", "/nothing/there"), 404, 404))

    def keep(self, token: str) -> None:
        """Five requests on one connection."""
        file = self.bodies.put("account", json.dumps({"token": token}).encode())
        for way in ["plain", "stream"]:
            if way not in self.client.keeps:
                continue
            tag = f"again-{next(tags)}"

            def judge() -> str:
                answers = self.client.again(5, f"{self.watched}/api/user_info", way, file, {"X-Tag": tag})
                wrong = [text for text in (differs(answer, 200, 200) for answer in answers) if text]
                if wrong or len(answers) != 5:
                    return f"{len(answers)} answers, {wrong[:1]}"
                used = sum(tag.encode() in recording.request for recording in self.relay.recordings) if self.relay else 1
                return f"{used} connections" if used != 1 else ""

            self.case(f"five on one connection, {way}", judge)
