"""Proxies in front of the server: nginx, Caddy and HAProxy in common configurations, and HAProxy's
health checks."""

import os
import random
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import harness
from harness import Address


# A certificate and its key.
Files = tuple[Path, Path]


@dataclass
class Route:
    """A port of a proxy; over TLS, clients speak HTTP/2."""

    name: str
    port: int
    tls: bool = False

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"


@dataclass
class Proxy:
    """A running proxy and its ports."""

    name: str
    process: subprocess.Popen
    routes: list[Route]
    folder: Path


def certificate(folder: Path, name: str = "IP:127.0.0.1") -> Files:
    """A self-signed certificate for this name, and its key."""
    files = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-out", files[0], "-keyout", files[1], "-days", "2", "-subj", "/CN=accountd's proxy"]
    command += ["-addext", f"subjectAltName={name}"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return files


def nginx(folder: Path, upstream: str, files: Files) -> tuple[list[str], list[Route]]:
    """nginx with and without buffering, over HTTP/1.1 and HTTP/2, and with proxy_pass alone
    (HTTP/1.0 to the server)."""
    routes, servers = [], ""
    tls = f"ssl_certificate {files[0]}; ssl_certificate_key {files[1]};"
    for version in ["HTTP/1.1", "HTTP/2"]:
        for buffers in ["on", "off"]:
            route = Route(f"nginx {version} buffering {buffers}", harness.free_port(), version == "HTTP/2")
            routes.append(route)
            servers += f"""
server {{
    listen 127.0.0.1:{route.port} {'ssl http2' if route.tls else ''}; {tls if route.tls else ''}
    location / {{
        proxy_pass http://accountd; proxy_http_version 1.1; proxy_set_header Connection "";
        proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
        proxy_buffering {buffers}; proxy_request_buffering {buffers};
    }}
}}"""
    routes.append(Route("nginx with proxy_pass alone", harness.free_port()))
    servers += f"server {{ listen 127.0.0.1:{routes[-1].port}; location / {{ proxy_pass http://{upstream}; }} }}"
    keep = f"upstream accountd {{ server {upstream}; keepalive 16; keepalive_timeout 15s; }}"
    # By default nginx closes a connection after 1,000 requests, which HTTP/2 clients notice.
    limits = "client_max_body_size 11m; keepalive_requests 1000000;"
    return harness.nginx_command(folder, f"{limits} {keep} {servers}"), routes


def caddy(folder: Path, upstream: str, files: Files) -> tuple[list[str], list[Route]]:
    """Caddy over HTTP/1.1 and HTTP/2, without buffering."""
    routes = [Route("caddy HTTP/1.1", harness.free_port()), Route("caddy HTTP/2", harness.free_port(), True)]
    text = "{\n\tadmin off\n\tauto_https off\n\tservers {\n\t\tprotocols h1 h2\n\t}\n}\n"
    for route in routes:
        tls = f"\ttls {files[0]} {files[1]}\n" if route.tls else ""
        proxy = f"\treverse_proxy {upstream} {{\n\t\tflush_interval -1\n\t\ttransport http {{\n\t\t\tkeepalive 15s\n\t\t}}\n\t}}\n"
        text += f"{route.url} {{\n{tls}{proxy}}}\n"
    (folder / "Caddyfile").write_text(text)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")], routes


def haproxy(folder: Path, upstream: str, files: Files) -> tuple[list[str], list[Route]]:
    """HAProxy with its default health check, over HTTP/1.1 and HTTP/2, and with few source ports."""
    routes = [
        Route("haproxy HTTP/1.1", harness.free_port()),
        Route("haproxy HTTP/2", harness.free_port(), True),
        Route("haproxy from few ports", harness.free_port()),
    ]
    (folder / "both.pem").write_bytes(files[0].read_bytes() + files[1].read_bytes())
    # Below the kernel's range of ephemeral ports.
    first = random.randrange(20_000, 32_000)
    text = f"""
global
    stats socket {folder}/stats
defaults
    mode http
    timeout connect 5s
    timeout client 20s
    timeout server 20s
    option httpchk
    option forwardfor
    http-reuse always
    default-server check inter 200ms
backend accountd
    server accountd {upstream}
backend few
    server few {upstream} source 127.0.0.1:{first}-{first + 31}
"""
    for number, route in enumerate(routes):
        tls = f"ssl crt {folder}/both.pem alpn h2,http/1.1" if route.tls else ""
        backend = "few" if number == 2 else "accountd"
        text += f"frontend f{number}\n    bind 127.0.0.1:{route.port} {tls}\n    default_backend {backend}\n"
    (folder / "haproxy.cfg").write_text(text)
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")], routes


PROXIES = {"nginx": nginx, "caddy": caddy, "haproxy": haproxy}


def start(name: str, folder: Path, server: Address, files: Files) -> Proxy | None:
    """Starts a proxy in front of this server; returns None if it is not installed."""
    if not shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin"):
        print(f"SKIPPED {name}: not installed")
        return None
    folder.mkdir()
    command, routes = PROXIES[name](folder, "{}:{}".format(*server), files)
    process = harness.start_proxy(command, folder, [route.port for route in routes])
    return Proxy(name, process, routes, folder)


def health(proxy: Proxy) -> dict[str, str]:
    """The result of HAProxy's first health check for each of its servers, for example UP L7OK/204."""
    end = time.monotonic() + 5
    while True:
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(proxy.folder / "stats"))
            control.sendall(b"show stat\n")
            lines = control.makefile().read().strip().splitlines()
        names = lines[0].removeprefix("# ").split(",")
        rows = [dict(zip(names, line.split(","))) for line in lines[1:]]
        rows = [row for row in rows if row["svname"] not in ("FRONTEND", "BACKEND")]
        # A server counts as up before its first check.
        made = all(row["check_status"].strip("* ") not in ("", "INI") for row in rows)
        if made or time.monotonic() > end:
            return {row["svname"]: f"{row['status']} {row['check_status']}/{row['check_code']}" for row in rows}
        time.sleep(0.05)
