"""MLflow's own server over a store, as somebody starts it who has only MLflow."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.error import URLError

_START_S = 120


def free_port() -> int:
    """One that nobody else looks for: MLflow's own, 5000, may be another server's by the time this one is up."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@contextmanager
def mlflow_server(store: str) -> Iterator[str]:
    """MLflow's server over ``store`` on a free port of this machine; its address."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen(
            command, env={**os.environ, **quiet}, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _wait_for_server(server, address)
            yield address
        except (TimeoutError, ChildProcessError):
            log.seek(0)
            print(log.read()[-4000:], file=sys.stderr)
            raise
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()


def _wait_for_server(server: subprocess.Popen[bytes], address: str) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise ChildProcessError(f"mlflow server ended with {server.returncode} before it answered")
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.3)
    raise TimeoutError(f"mlflow server did not answer at {address} within {_START_S} s")
