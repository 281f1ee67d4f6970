"""Requests that change something, at a rate that Compute Engine bears."""

from __future__ import annotations

import threading
from collections.abc import Callable

# Google allows 1,500 such requests a minute and project: https://cloud.google.com/compute/api-quota
PER_SECOND = 10.0
BURST = 20


class Pace:
    """A token bucket. Threads share it."""

    def __init__(
        self,
        clock: Callable[[], float],
        pause: Callable[[float], None],
        per_second: float = PER_SECOND,
        burst: int = BURST,
    ) -> None:
        self._clock = clock
        self._pause = pause
        self._gap = 1.0 / per_second
        self._slack = burst * self._gap
        self._next = clock() - self._slack
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Returns when the next request may go."""
        with self._lock:
            now = self._clock()
            self._next = max(self._next, now - self._slack) + self._gap
            ahead = self._next - now
        if ahead > 0:
            self._pause(ahead)
