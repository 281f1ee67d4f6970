"""MLflow's tracking server on this machine, to be measured and tested with: with users, and stopped for a while."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

_ANSWERS_WITHIN_S = 300.0
_ADMIN = "admin"


@dataclass(frozen=True)
class User:
    """Somebody whom a server with users lets in: she may make experiments, and all within those."""

    name: str
    password: str


def free_port(host: str = "127.0.0.1") -> int:
    """One that nobody else looks for: MLflow's own, 5000, may be another server's by the time this one is up."""
    with socket.socket() as free:
        free.bind((host, 0))
        port: int = free.getsockname()[1]
    return port


class MLflowServer:
    """``mlflow server``, for as long as the context lasts. It keeps its address when it is started again.

    Everything of it lies in ``directory``. ``store`` is its database, SQLite there if None; ``user`` is the one whom
    it lets in (MLflow's basic authentication), anybody if None. ``python`` has the MLflow that serves.
    """

    def __init__(
        self,
        directory: Path,
        host: str = "127.0.0.1",
        store: str | None = None,
        user: User | None = None,
        python: str = sys.executable,
        workers: int = 1,
    ) -> None:
        self.directory = directory
        self.user = user
        self._host = host
        self._python = python
        self._workers = workers
        self._store = store or f"sqlite:///{directory / 'server.db'}"
        self._admin = User(_ADMIN, secrets.token_urlsafe(16))
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port(host)

    @property
    def uri(self) -> str:
        return f"http://{self._host}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a shell sets that works with it."""
        chosen = {"MLFLOW_TRACKING_URI": self.uri}
        if self.user is not None:
            chosen["MLFLOW_TRACKING_USERNAME"] = self.user.name
            chosen["MLFLOW_TRACKING_PASSWORD"] = self.user.password
        return chosen

    def __enter__(self) -> MLflowServer:
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            self.start()
            if self.user is not None:
                self._let_in(self.user)
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Returns when it answers.

        :raises RuntimeError: it ended instead, or does not answer; with the end of its log.
        """
        command = [self._python, "-m", "mlflow", "server", "--host", self._host, "--port", str(self.port)]
        command += ["--workers", str(self._workers), "--artifacts-destination", str(self.directory / "files")]
        environment = {
            **os.environ,
            "MLFLOW_BACKEND_STORE_URI": self._store,
            "MLFLOW_SERVER_ALLOWED_HOSTS": f"{self._host}:{self.port}",  # as an option, MLflow 2 has it not
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # four processes more, for what nobody here asks
        }
        for name in [name for name in environment if name.startswith("MLFLOW_TRACKING_")]:
            del environment[name]
        if self.user is not None:
            command += ["--app-name", "basic-auth"]
            environment.update(self._authentication())
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.directory, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + _ANSWERS_WITHIN_S
        while not self._answers():
            if time.monotonic() > until or self._process.poll() is not None:
                end = (self.directory / "log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"MLflow's server does not answer at {self.uri}:\n{end}")
            time.sleep(0.1)

    def kill(self) -> None:
        """Whoever asks now is refused a connection."""
        if self._process is not None:
            self._signal(signal.SIGCONT)
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Whoever asks now waits, as for a machine that hangs, until it thaws."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        """To it and to its workers, which are processes of their own."""
        assert self._process is not None
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return

    def _authentication(self) -> dict[str, str]:
        path = self.directory / "basic_auth.ini"
        path.write_text(
            f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{self.directory / 'users.db'}\n"
            f"admin_username = {self._admin.name}\n"
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
            "auth_cache_ttl_seconds = 60\n"  # else the password is hashed at each request
        )
        return {
            "MLFLOW_AUTH_CONFIG_PATH": str(path),
            "MLFLOW_AUTH_ADMIN_PASSWORD": self._admin.password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": self._admin.password,
        }

    def _answers(self) -> bool:
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
                f"{self.uri}/health", timeout=5
            ):
                return True
        except OSError:
            return False

    def _let_in(self, user: User) -> None:
        """https://mlflow.org/docs/latest/self-hosting/security/basic-http-auth/"""
        request = urllib.request.Request(
            f"{self.uri}/api/2.0/mlflow/users/create",
            json.dumps({"username": user.name, "password": user.password}).encode(),
            {"Content-Type": "application/json", "Authorization": _basic(self._admin)},
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60):
            return


def _basic(user: User) -> str:
    return f"Basic {b64encode(f'{user.name}:{user.password}'.encode()).decode()}"


def address_seen_by_vms() -> str | None:
    """An address of this machine that is not its loopback, None where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("203.0.113.1", 9))  # of a network for examples (RFC 5737): nothing is sent
        except OSError:
            return None
        address: str = probe.getsockname()[0]
    return None if address.startswith("127.") else address
