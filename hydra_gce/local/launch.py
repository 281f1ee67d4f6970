"""Find the server of a home, or start it. Imported by `ensure`, which has to be quick."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from typing import Any

from hydra_gce.local.home import Home, Running

_READY_WITHIN_S = 30.0
_GONE_WITHIN_S = 120.0


class LaunchError(Exception):
    """The server could not be started, or did not answer; the sentence says where its log lies."""


def ensure_server(home: Home, idle_exit_s: float) -> Running:
    """The running server; a detached one is started where there is none. Safe to call from many processes at once."""
    running = find_server(home)
    if running is not None:
        return running
    with home.starting():
        running = find_server(home)  # somebody else may have started it while we waited for our turn
        return running if running is not None else _start(home, idle_exit_s)


def find_server(home: Home) -> Running | None:
    """The server that lives and answers; None where there is none."""
    if not home.path.exists() or not home.served():
        return None
    deadline = time.monotonic() + _READY_WITHIN_S
    while home.served():
        running = home.last()
        if running is not None and _answers(running):
            return running
        if time.monotonic() > deadline:
            raise LaunchError(f"The embedded Compute Engine does not answer; its log: {home.log}")
        time.sleep(0.01)
    return None


def wait_until_gone(home: Home) -> None:
    """Return when the server has ended. Raises `LaunchError` after a while."""
    deadline = time.monotonic() + _GONE_WITHIN_S
    while home.served():
        if time.monotonic() > deadline:
            raise LaunchError(
                f"The embedded Compute Engine did not end within {_GONE_WITHIN_S:.0f} s; its log: {home.log}"
            )
        time.sleep(0.02)


def call(
    running: Running, verb: str, path: str, body: dict[str, Any] | None = None
) -> tuple[int, dict[str, Any]]:
    """One request to the server's own `/hydra-gce/` part. A plain socket: http.client alone takes 30 ms to import."""
    data = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{verb} /hydra-gce/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", running.compute_port), timeout=30) as connection:
        connection.sendall(head.encode() + data)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    status, _, rest = answer.partition(b"\r\n")
    content = rest.partition(b"\r\n\r\n")[2]
    return int(status.split()[1]), json.loads(content)


def _start(home: Home, idle_exit_s: float) -> Running:
    command = [sys.executable, "-m", "hydra_gce.local", "serve", "--idle-exit", str(idle_exit_s)]
    environment = {**os.environ, "HYDRA_GCE_HOME": str(home.path.parent)}
    with home.log.open("ab") as log:
        start = log.tell()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=home.path,
            env=environment,
        )
    deadline = time.monotonic() + _READY_WITHIN_S
    while time.monotonic() < deadline:
        running = home.last()
        if running is not None and running.pid == process.pid and _answers(running):
            return running
        if process.poll() is not None:
            raise LaunchError(
                f"The embedded Compute Engine did not start (exit code {process.returncode}). "
                f"{_last_line(home, start)} Its log: {home.log}"
            )
        time.sleep(0.005)
    raise LaunchError(
        f"The embedded Compute Engine did not answer within {_READY_WITHIN_S:.0f} s; its log: {home.log}"
    )


def _answers(running: Running) -> bool:
    try:
        socket.create_connection(("127.0.0.1", running.compute_port), timeout=1).close()
    except OSError:
        return False
    return True


def _last_line(home: Home, start: int) -> str:
    with home.log.open("rb") as log:
        log.seek(start)
        lines = log.read().decode(errors="replace").strip().splitlines()
    return f"It said: {lines[-1]}." if lines else ""
