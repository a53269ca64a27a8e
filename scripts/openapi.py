#!/usr/bin/env -S python3 -B
"""Validates /openapi.json, and the server's responses against it.

    scripts/openapi.py [--binary PATH] [--examples N]

openapi-spec-validator checks the document. schemathesis generates valid and invalid requests from
it, N per interface (default: 50) in addition to those for each limit, and fails on HTTP 500 and on
undocumented responses. Then every interface is called in order, for the responses that generated
requests do not reach.

Half a minute. pip installs the packages of scripts/openapi.txt into target/openapi the first time.
Linux, Python 3.11 with venv.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import harness
from harness import Answer, Server, check

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ROOT / "scripts" / "openapi.txt"
VENV = ROOT / "target" / "openapi"
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance"
)
RESET_KEY = "a reset key"
# Every function is enabled and nothing is throttled.
SETTINGS = {"throttle": False, "forgot_password_function_status": True, "forget_password_key": RESET_KEY, "totp_key": "a key"}


def undocumented(document: dict, method: str, path: str, answer: Answer) -> str:
    """How this response differs from the document; "" if it does not."""
    from openapi_schema_validator import OAS31Validator

    response = document["paths"][path][method]["responses"].get(str(answer.status))
    if response is None:
        return f"no status {answer.status}"
    if "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rsplit("/", 1)[1]]
    kind = answer.headers.get("content-type", "")
    if kind not in response.get("content", {}):
        return f"no {kind or 'response without a body'} of status {answer.status}"
    required = [name for name, header in response.get("headers", {}).items() if header.get("required")]
    missing = [name for name in required if name.lower() not in answer.headers]
    if missing:
        return f"the headers {missing} are missing"
    if kind != "application/json":
        return ""
    found = OAS31Validator(response["content"][kind]["schema"]).iter_errors(json.loads(answer.body))
    return "; ".join(f"{error.json_path} {error.message[:300]}" for error in found)


def walk(binary: Path, server: Server, document: dict) -> None:
    """Calls every interface as a client would."""
    seen: set[str] = set()

    def step(method: str, path: str, answer: Answer, code: int = 200) -> Answer:
        wrong = undocumented(document, method, path, answer)
        if answer.code != code and answer.headers.get("content-type") == "application/json":
            wrong = wrong or f"code {answer.code}, not {code}"
        check(f"{method} {path}: code {code}", not wrong, wrong)
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
    bearer = harness.request("GET", "/api/forward_auth", {"Authorization": f"Bearer {token}"})
    answer = harness.exchange(server.address, bearer)
    documented = document["paths"]["/api/forward_auth"]["get"]["responses"]["200"]["headers"]
    absent = [name for name in documented if name.lower() not in answer.headers]
    check("get /api/forward_auth: status 200 and the documented headers", answer.status == 200 and not absent, absent)
    seen.add("/api/forward_auth")
    invite = [binary, "invite", "--json", "--data", server.data]
    invitation = json.loads(subprocess.run(invite, stdout=subprocess.PIPE, check=True).stdout)
    post("/api/link_info", {"key": invitation["key"]})
    post("/api/link_info", {"key": "wrong"}, code=404)
    post("/api/sessions", {"token": token})
    post("/api/sessions", {"token": "wrong"}, code=403)
    own = {"token": token, "passwd": harness.PASSWORD}
    post("/api/update_email", own | {"new_email": "new@example.org"})
    post("/api/update_email", own | {"passwd": "wrong", "new_email": "a"}, code=604)
    post("/api/update_email", own | {"new_email": "rei@example.org"})
    harness.register(server, "asuka")
    other = str(harness.login(server, "asuka").message)
    post("/api/delete_account", {"token": other, "passwd": harness.PASSWORD})
    password = {"token": token, "passwd": harness.PASSWORD}
    begun = step("post", "/api/totp_begin", harness.post(server.address, "/api/totp_begin", password))
    confirm = password | {"otp": harness.otp(begun.message["secret"])}
    codes = step("post", "/api/totp_confirm", harness.post(server.address, "/api/totp_confirm", confirm)).message
    post("/api/totp_info", {"token": token})
    step("post", "/api/login", harness.login(server, "rei"), 605)
    post("/api/totp_end", confirm, code=605)
    post("/api/totp_end", password | {"otp": codes[0]})
    post("/api/totp_end", password | {"otp": codes[0]}, code=606)
    post("/api/logout", {"token": token, "everywhere": True})
    post("/api/user_info", {"token": token}, code=403)
    names = {"username": "rei", "old_passwd": harness.PASSWORD, "new_passwd": "another"}
    post("/api/update_password", names, solved=True)
    post("/api/update_password", names, solved=True, code=404)
    names = {"name": "rei", "email": "rei@example.org", "new_passwd": "a third", "key": RESET_KEY}
    post("/api/forget_password", names, solved=True)
    post("/api/forget_password", names | {"key": "wrong"}, solved=True, code=404)
    left = sorted(set(document["paths"]) - seen)
    check("every path was called", not left, left or "")


def run(name: str, *arguments: object) -> None:
    """Runs a program of the virtual environment and checks its exit code."""
    done = subprocess.run(
        [VENV / "bin" / name, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    summary = [line.strip() for line in done.stdout.splitlines() if "generated" in line]
    check(" ".join([name, *summary]), done.returncode == 0, f"\n{done.stdout}" if done.returncode else "")


def main() -> int:
    parser = harness.parser(__doc__)
    parser.add_argument("--examples", type=int, default=50, help="generated requests per interface (50)")
    options = parser.parse_args()
    binary = harness.need_binary(options.binary)
    harness.enter_venv(VENV, PACKAGES)
    with tempfile.TemporaryDirectory(prefix="accountd-openapi-") as folder:
        os.chdir(folder)
        server = harness.start(binary, Path(folder) / "data", SETTINGS)
        try:
            answer = harness.exchange(server.address, harness.request("GET", "/openapi.json"))
            Path("openapi.json").write_bytes(answer.body)
            document = json.loads(answer.body)
            run("openapi-spec-validator", "openapi.json")
            limits = ["--max-examples", options.examples, "--phases", "examples,coverage,fuzzing", "--seed", 1]
            run("schemathesis", "run", "openapi.json", "--url", server.url, "--checks", CHECKS, *limits)
            walk(binary, server, document)
            errors = harness.errors_in(harness.log_since(server, 0))
            # Made-up groups are reported as a mistake in the proxy's configuration.
            errors = [line for line in errors if "/api/forward_auth: the parameter" not in line]
            check("no error in the server's log", not errors, "\n".join(errors[:10]))
        finally:
            harness.kill(server)
    return harness.verdict()


if __name__ == "__main__":
    sys.exit(main())
