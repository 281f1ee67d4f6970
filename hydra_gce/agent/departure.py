"""When this VM goes, and why: the one clock that all who save something before it look at."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from enum import Enum


class Cause(str, Enum):
    """Why a VM goes before its job has ended, in the words of a job's status."""

    PREEMPTED = "preempted"
    MAINTENANCE = "host maintenance"
    SHUT_DOWN = "shut down"


class Departure:
    """Announced at most once or twice: the first cause stays, the earliest end counts."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` in seconds, from any beginning."""
        self._clock = clock
        self._lock = threading.Lock()
        self._announced = threading.Event()
        self._end = math.inf
        self.cause: Cause | None = None

    def announce(self, cause: Cause, notice_s: float) -> None:
        """The VM is gone in ``notice_s`` seconds."""
        with self._lock:
            self.cause = self.cause or cause
            self._end = min(self._end, self._clock() + notice_s)
        self._announced.set()

    def is_announced(self) -> bool:
        return self._announced.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Waits for the announcement, and says whether it has come."""
        return self._announced.wait(timeout_s)

    def left_s(self) -> float:
        """Seconds that the VM has left; infinite while it stays."""
        return self._end - self._clock()
