"""Ctrl-C, and what becomes of the VMs then."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any

from hydra_gce.display import Display


class Interrupts:
    """While entered, the first Ctrl-C asks what to do with the VMs, and SIGTERM does what was settled beforehand.

    Afterwards ``keep`` tells whether they go on. Unless somebody says so they are deleted: a forgotten VM costs.
    """

    def __init__(self, settled: str, display: Display) -> None:
        self._settled = settled
        self._display = display
        self._before: Any = None  # what signal() gave
        self.keep = False

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, _interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._before)
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self.keep = self._ask() == "keep"

    def _ask(self) -> str:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            return self._settled
        with self._display.paused():
            try:
                answer = input("Interrupted. [D]elete the VMs (default) or [k]eep them running? ")
            except (EOFError, KeyboardInterrupt):
                return "delete"
        return "keep" if answer.strip().lower().startswith("k") else "delete"


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
