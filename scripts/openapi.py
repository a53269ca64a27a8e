#!/usr/bin/env -S python3 -B
"""Checks /openapi.json against its own specification, and the server against /openapi.json.

    scripts/openapi.py [--binary PATH] [--examples N]

openapi-spec-validator reads the document. schemathesis makes up requests from it, right ones and wrong ones, N for each
interface beside those for each limit (50 unless given), and finds no fault of the server and no answer that the document
does not have. A person's way through all interfaces follows, for the answers that nobody makes up by chance.

Exit code 1 if anything was not so. Half a minute. The packages of scripts/openapi.txt come into target/openapi with pip,
once. Linux, Python 3.11 with venv.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import harness
from harness import Answer, Server

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ROOT / "scripts" / "openapi.txt"
ROOM = ROOT / "target" / "openapi"
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance"
)
RESET_KEY = "a reset key"
failures: list[str] = []


def check(what: str, wrong: str = "") -> None:
    """Says what holds and takes note of what does not."""
    print(f"{'FAILED' if wrong else 'ok    '} {what}" + (f": {wrong}" if wrong else ""), flush=True)
    if wrong:
        failures.append(what)


def undocumented(document: dict, method: str, path: str, answer: Answer) -> str:
    """What the document does not have of this answer; nothing, if it has it all."""
    from openapi_schema_validator import OAS31Validator

    response = document["paths"][path][method]["responses"].get(str(answer.status))
    if response is None:
        return f"no status {answer.status}"
    if "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rsplit("/", 1)[1]]
    kind = answer.headers.get("content-type", "")
    if kind not in response.get("content", {}):
        return f"no {kind or 'answer without a body'} of status {answer.status}"
    required = [name for name, header in response.get("headers", {}).items() if header.get("required")]
    missing = [name for name in required if name.lower() not in answer.headers]
    if missing:
        return f"{missing} should be there"
    if kind != "application/json":
        return ""
    found = OAS31Validator(response["content"][kind]["schema"]).iter_errors(json.loads(answer.body))
    return "; ".join(f"{error.json_path} {error.message[:300]}" for error in found)


def walk(server: Server, document: dict) -> None:
    """Uses every interface as it is meant to be used."""
    seen: set[str] = set()

    def step(method: str, path: str, answer: Answer, code: int = 200) -> Answer:
        wrong = undocumented(document, method, path, answer)
        if answer.code != code and answer.headers.get("content-type") == "application/json":
            wrong = wrong or f"code {answer.code} and not {code}"
        check(f"{method} {path}: code {code}", wrong)
        seen.add(path)
        return answer

    def get(path: str, name: str = "", code: int = 200) -> None:
        step("get", path, harness.exchange(server.address, harness.request("GET", path.replace("{name}", name))), code)

    def post(path: str, members: dict, solved: bool = False, code: int = 200) -> None:
        send = harness.post_solved if solved else harness.post
        step("post", path, send(server.address, path, members), code)

    get("/health")
    get("/openapi.json", code=0)
    get("/api/get_verification_code")
    step("post", "/api/registered", harness.register(server, "rei"))
    step("post", "/api/registered", harness.register(server, "rei"), 604)
    token = str(step("post", "/api/login", harness.login(server, "rei")).message)
    step("post", "/api/login", harness.login(server, "rei", "wrong"), 604)
    post("/api/update_show_name", {"token": token, "new_show_name": "阿巴阿巴"})
    post("/api/update_key", {"token": token})
    avatar = step("post", "/api/upload_avatar", harness.upload(server, token, harness.png(110, 110, "rei")))
    step("post", "/api/upload_avatar", harness.upload(server, token, harness.png(10, 10, "rei")), 603)
    get("/s/{name}", str(avatar.message))
    get("/s/{name}", "nothing.png", 404)
    post("/api/user_info", {"token": token})
    post("/api/logout", {"token": token, "everywhere": True})
    post("/api/user_info", {"token": token}, code=403)
    names = {"username": "rei", "old_passwd": harness.PASSWORD, "new_passwd": "another"}
    post("/api/update_password", names, solved=True)
    post("/api/update_password", names, solved=True, code=404)
    names = {"name": "rei", "email": "rei@example.org", "new_passwd": "a third", "key": RESET_KEY}
    post("/api/forget_password", names, solved=True)
    post("/api/forget_password", names | {"key": "wrong"}, solved=True, code=404)
    left = sorted(set(document["paths"]) - seen)
    check("no path was left out", f"{left}" if left else "")


def run(name: str, *arguments: object) -> None:
    """A program of the virtual environment, whose exit code says whether all is well."""
    shown = subprocess.run(
        [ROOM / "bin" / name, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    summary = [line.strip() for line in shown.stdout.splitlines() if "generated" in line]
    check(" ".join([name, *summary]), f"\n{shown.stdout}" if shown.returncode else "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=harness.BINARY)
    parser.add_argument("--examples", type=int, default=50)
    options = parser.parse_args()
    binary = harness.need_binary(options.binary)
    harness.enter_room(ROOM, PACKAGES)
    # Everything that can be asked for is on, and nobody is slowed down.
    os.environ |= {
        "ACCOUNTD_THROTTLE": "false",
        "ACCOUNTD_FORGOT_PASSWORD_FUNCTION_STATUS": "true",
        "ACCOUNTD_FORGET_PASSWORD_KEY": RESET_KEY,
    }
    with tempfile.TemporaryDirectory(prefix="accountd-openapi-") as folder:
        os.chdir(folder)
        server = harness.start(binary, Path(folder) / "data")
        try:
            answer = harness.exchange(server.address, harness.request("GET", "/openapi.json"))
            Path("openapi.json").write_bytes(answer.body)
            document = json.loads(answer.body)
            run("openapi-spec-validator", "openapi.json")
            url = "http://{}:{}".format(*server.address)
            limits = ["--max-examples", options.examples, "--phases", "examples,coverage,fuzzing", "--seed", 1]
            run("schemathesis", "run", "openapi.json", "--url", url, "--checks", CHECKS, *limits)
            walk(server, document)
            lines = [line for line in harness.log_since(server, 0) if " error " in line]
            check("no fault in the server's log", "\n".join(lines[:10]))
        finally:
            harness.kill(server)
    print(f"{len(failures)} failures" if failures else "all is as documented")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
