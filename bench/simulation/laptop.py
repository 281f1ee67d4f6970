"""The launcher's processes, started in a terminal of their own and looked at from outside."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_LOOK_EVERY_S = 0.2
_ROWS, _COLUMNS = 50, 160


@dataclass(frozen=True)
class Usage:
    """What the launcher and the processes it started took.

    start_s: processor seconds until it asked for the first VM; watch_s: from then to its end. memory_bytes: the peak of
    the sum of their resident sets (what processes share is counted in each).
    """

    start_s: float
    watch_s: float
    memory_bytes: int
    said: str


class Laptop:
    """A launcher that runs. ``asks`` marks the moment from which on its processor time counts as watching."""

    def __init__(self, command: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> None:
        terminal, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        self._process = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(environ),
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
        )
        os.close(inner)
        self._terminal = terminal
        self._said = b""
        self._start_s: float | None = None
        self._peak = 0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._listen), threading.Thread(target=self._look)]
        for thread in self._threads:
            thread.start()

    def asks(self) -> None:
        """The first VM is asked for."""
        self._start_s = sum(map(_processor_s, self._tree()))

    def wait(self) -> Usage:
        """Until it has ended.

        :raises RuntimeError: it failed; with the last that it said.
        """
        _, status, usage = os.wait4(self._process.pid, 0)  # with its descendants, for which it has waited
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self._over.set()
        for thread in self._threads:
            thread.join()
        os.close(self._terminal)
        said = self._said.decode(errors="replace")
        if self._process.returncode != 0 or self._start_s is None:
            raise RuntimeError(f"the launcher ended with {self._process.returncode}:\n{said[-3000:]}")
        whole_s = usage.ru_utime + usage.ru_stime
        return Usage(self._start_s, whole_s - self._start_s, self._peak, said)

    def end(self) -> None:
        """At once, where it has not ended by itself."""
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()
            self._over.set()

    def _tree(self) -> list[psutil.Process]:
        try:
            launcher = psutil.Process(self._process.pid)
            return [launcher, *launcher.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _look(self) -> None:
        while not self._over.wait(_LOOK_EVERY_S):
            self._peak = max(self._peak, sum(map(_resident, self._tree())))

    def _listen(self) -> None:
        """Takes what it draws, so that it need not wait for its terminal."""
        while True:
            try:
                drawn = os.read(self._terminal, 1 << 16)
            except OSError:  # nobody holds the other side any more
                return
            self._said = (self._said + drawn)[-(1 << 20) :]


def _processor_s(process: psutil.Process) -> float:
    """Its own and that of its children that have ended."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
