#!/usr/bin/env -S python3 -B
"""Tries a container image with podman and runc, as `scripts/image.sh --try` calls it.

    scripts/container.py IMAGE [OPTION OF PODMAN]...

Each container has a read-only root, no capabilities, no new privileges, a seccomp profile that
refuses pidfd_getfd as Docker's does, 256 processes and 32 MB of memory. Needs root; a machine that
starts no container is SKIPPED. Linux, Python 3.11.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import harness
from harness import check

PROFILE = Path("/usr/share/containers/seccomp.json")
# The image's own user, and another one.
USER = 65532
OTHER = 12345
NAME = f"accountd-{os.getpid()}"
# Seconds until a container must have stopped: more than the server gives its workers.
GRACE = 45


class Podman:
    """Podman with its storage, and the options that every container here gets."""

    def __init__(self, image: str, options: list[str], folder: Path):
        self.image = image
        # Runc also works beside cgroups of the first version.
        self.base = ["podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs", *options]
        self.limits = ["--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges", "--pids-limit", "256"]
        self.limits += ["--memory", "32m", "--ulimit", "nofile=1024:4096", "--ulimit", "nproc=4096:4096"]
        if PROFILE.exists():
            self.limits += ["--security-opt", f"seccomp={without_pidfd_getfd(folder)}"]

    def call(self, *words: str) -> subprocess.CompletedProcess:
        """Runs a command of podman and returns its result."""
        return subprocess.run([*self.base, *words], capture_output=True, text=True, timeout=120)

    def run(self, *words: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
        """Runs a container until it ends."""
        return self.call("run", "--rm", *self.limits, *options, self.image, *words)

    def start(self, log: Path, *words: str, options: tuple[str, ...] = ()) -> harness.Server:
        """Starts a container and waits until its server listens."""
        command = [*self.base, "run", "--rm", "--name", NAME, *self.limits, *options, self.image, *words]
        return harness.wait_until_listening(harness.spawn_command(command, log.parent, log))

    def stop(self, server: harness.Server) -> int:
        """Stops the container as `docker stop` does; returns the exit code of its server."""
        self.call("stop", "--time", str(GRACE), NAME)
        return server.process.wait(GRACE)


def without_pidfd_getfd(folder: Path) -> Path:
    """A copy of podman's seccomp profile that refuses pidfd_getfd."""
    profile = json.loads(PROFILE.read_text())
    for group in profile["syscalls"]:
        group["names"] = [name for name in group["names"] if name != "pidfd_getfd"]
    path = folder / "seccomp.json"
    path.write_text(json.dumps(profile))
    return path


def owned(folder: Path, user: int) -> Path:
    """A new data folder of this user."""
    folder.mkdir(mode=0o700)
    os.chown(folder, user, user)
    return folder


def try_volume(podman: Podman, folder: Path) -> None:
    """The image's defaults on a new volume: start, health, commands, signals, stop."""
    log = folder / "volume.log"
    server = podman.start(log, options=("--network", "none", "--volume", f"{NAME}:/data"))
    check("it listens on all addresses", server.address[1] == 9999, server.address)
    warned = [line for line in harness.log_since(server, 0) if "trusts no proxy" in line]
    check("it warns that it trusts no proxy", len(warned) == 1)
    for words in (["health"], ["user", "list"], ["check"], ["reload"]):
        done = podman.call("exec", NAME, "/accountd", *words)
        check(f"accountd {' '.join(words)} in the container", done.returncode == 0, done.stderr.strip())
    wait_for(log, "info reloaded", 1)
    podman.call("kill", "--signal", "HUP", NAME)
    wait_for(log, "info reloaded", 2)
    check("podman kill -s HUP reloads it", True)
    state = podman.call("inspect", "--format", "{{json .Config.Healthcheck}}", NAME).stdout
    check("the image has a health check", '"/accountd","health"' in state.replace(" ", ""))
    check("podman stop ends it with code 0", podman.stop(server) == 0)
    podman.call("volume", "rm", NAME)


def try_without_ipv6(podman: Podman, folder: Path) -> None:
    """Without IPv6, [::] becomes 0.0.0.0."""
    sysctl = "net.ipv6.conf.all.disable_ipv6=1"
    data = owned(folder / "ipv4", USER)
    options = ("--network", "none", "--sysctl", sysctl, "--volume", f"{data}:/data")
    server = podman.start(folder / "ipv4.log", options=options)
    healthy = podman.call("exec", NAME, "/accountd", "health")
    check("without IPv6 it listens and is healthy", healthy.returncode == 0, healthy.stdout.strip())
    podman.stop(server)


def try_users(podman: Podman, folder: Path) -> None:
    """Any user that owns the folder may run it, and another one gets a sentence."""
    data = owned(folder / "other", OTHER)
    options = ("--network", "none", "--volume", f"{data}:/data")
    server = podman.start(folder / "other.log", options=(*options, "--user", f"{OTHER}:{OTHER}"))
    check(f"it runs as user {OTHER}, who owns the folder", podman.stop(server) == 0)
    refused = podman.run(options=options)
    lines = refused.stderr.splitlines()
    told = len(lines) == 1 and all(word in lines[0] for word in (str(OTHER), str(USER), f"chown -R {USER} "))
    check("the folder of another user is refused with both ids and a command", refused.returncode == 1 and told, refused.stderr)


def try_clients(podman: Podman, folder: Path) -> None:
    """Every interface, then 16 log-ins with Argon2id at once, all within 32 MB."""
    data = owned(folder / "clients", USER)
    settings = {"password_hash": "argon2id", "throttle": False, "sessions_per_user": 100, "forgot_password_function_status": True}
    (data / "config.json").write_text(json.dumps(settings | {"secret_key_required_for_account_registration": "key"}))
    os.chown(data / "config.json", USER, USER)
    words = ["serve", "--listen", "127.0.0.1:0", "--captcha-answer", harness.CAPTCHA]
    options = ("--network", "host", "--volume", f"{data}:/data")
    server = podman.start(folder / "clients.log", *words, options=options)
    server.data = data
    smoke = subprocess.run(["scripts/smoke.sh", server.url, "key", harness.CAPTCHA], capture_output=True, text=True)
    check("scripts/smoke.sh passes", smoke.returncode == 0, (smoke.stdout + smoke.stderr).strip().splitlines()[-1:])
    harness.register(server, "rei")
    with ThreadPoolExecutor(16) as pool:
        codes = [answer.code for answer in pool.map(lambda _: harness.login(server, "rei"), range(16))]
    check("16 log-ins with Argon2id at once are answered", codes == [200] * 16, sorted(set(codes)))
    lost = [line for line in harness.log_since(server, 0) if "restart" in line]
    check("no worker was lost", lost == [], lost[:1] or "")
    check("it stops with code 0", podman.stop(server) == 0)


def wait_for(log: Path, text: str, count: int) -> None:
    """Waits until the log has this text so often."""
    with subprocess.Popen(["tail", "-n", "+1", "-F", log], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as tail:
        for line in tail.stdout:
            count -= text in line
            if count == 0:
                break
        tail.kill()


def main() -> int:
    image, *options = sys.argv[1:]
    if os.geteuid() != 0 or not shutil.which("podman") or not shutil.which("runc"):
        print("SKIPPED: needs root, podman and runc")
        return 0
    with tempfile.TemporaryDirectory(prefix="accountd-container-") as name:
        folder = Path(name)
        os.chmod(folder, 0o755)
        podman = Podman(image, options, folder)
        first = podman.run("--version", options=("--network", "none"))
        if first.returncode != 0:
            print(f"SKIPPED: this machine starts no container: {first.stderr.strip()}")
            return 0
        check("accountd --version", first.stdout.startswith("accountd "), first.stdout.strip())
        try:
            for attempt in (try_volume, try_without_ipv6, try_users, try_clients):
                attempt(podman, folder)
        finally:
            podman.call("rm", "--force", NAME)
    return harness.verdict()


if __name__ == "__main__":
    sys.exit(main())
