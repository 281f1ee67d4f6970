"""Ctrl-C while a sweep is watched: to leave it, to end it, or to go on."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from enum import Enum
from types import FrameType, TracebackType
from typing import Any

from hydra_gce.display import Display
from hydra_gce.wake import Wake, readable

INTERRUPTED = 130
"""The exit code of who was interrupted, as shells have it."""
_QUESTION = "Interrupted: [d]etach (the VMs go on), [c]ancel all jobs, [k]eep watching? "


class Wish(Enum):
    """What the person wants to become of the sweep."""

    DETACH = "detach"
    CANCEL = "cancel"


class Detached(Exception):
    """The sweep goes on without us. ``wish``: by Ctrl-C or SIGTERM; None where ``wait=false`` said so beforehand."""

    def __init__(self, wish: Wish | None) -> None:
        super().__init__()
        self.wish = wish


class Interrupts:
    """While entered, Ctrl-C asks what to do and SIGTERM does what was settled beforehand; nothing is torn off in the
    middle. Ctrl-C at the question detaches, and so does a terminal that is closed. Once a wish is made, a further
    Ctrl-C is Python's own.

    :param settled: "detach" or "cancel", where nobody can be asked.
    """

    def __init__(self, settled: str, display: Display) -> None:
        self._settled = Wish(settled)
        self._display = display
        self._before: dict[int, Any] = {}  # what signal() gave
        self._heard = Wake()
        self._wish: Wish | None = None
        self._given = False
        self.asking = False

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number, handler in ((signal.SIGINT, self._interrupt), (signal.SIGTERM, self._terminate)):
                self._before[number] = signal.signal(number, handler)
            if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
                self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._hang_up)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def wait(self, seconds: float) -> Wish | None:
        """Waits so long, or until the person wants something; asks where that is not clear."""
        if self._given:
            time.sleep(seconds)
            return self._wish
        if self.asking:
            self._listen(seconds)
        elif self._heard.wait(seconds) and self._wish is None:
            self._ask()
        if self._wish is not None:
            self._given = True
            self._restore()
        return self._wish

    def _ask(self) -> None:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            self._wish = self._settled
            return
        self.asking = True  # from here on Ctrl-C is an answer
        self._heard.clear()
        with self._display.paused():
            print(_QUESTION, end="", flush=True)

    def _listen(self, seconds: float) -> None:
        try:
            keys = sys.stdin.fileno()
            if self._heard.wait(seconds, keys):  # a signal has answered
                self.asking = False
                print(flush=True)
                return
            if not readable(0, keys):
                return
            line = os.read(keys, 4096).decode(errors="replace")
        except OSError:
            line = ""
        answer = line.strip().lower()[:1]
        if not line:  # the terminal is gone
            self._wish = self._wish or self._settled
        elif answer in ("d", "c"):
            self._wish = Wish.DETACH if answer == "d" else Wish.CANCEL
        elif answer == "k":
            print("Still watching.", flush=True)
        else:
            print(_QUESTION, end="", flush=True)
            return
        self.asking = False

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.asking:
            self._wish = Wish.DETACH
        self._heard.set()

    def _terminate(self, number: int, frame: FrameType | None) -> None:
        self._wish = self._settled
        self._heard.set()

    def _hang_up(self, number: int, frame: FrameType | None) -> None:
        self._wish = Wish.DETACH
        self._heard.set()

    def _restore(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())
