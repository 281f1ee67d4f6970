"""A flag that a signal's handler may set."""

from __future__ import annotations

import os
import select
import weakref
from contextlib import suppress


class Wake:
    """For the thread that is interrupted by the very signal. A ``threading.Event`` may not be set there: where the
    signal comes while that thread holds the event's lock, the handler waits for it for ever. A byte in a pipe needs no
    lock (https://docs.python.org/3/library/signal.html#signal.set_wakeup_fd does the same).
    """

    def __init__(self) -> None:
        self.is_set = False
        self._read, self._write = os.pipe()
        for end in (self._read, self._write):
            os.set_blocking(end, False)
            # Not at the process's end: until then a signal may come.
            weakref.finalize(self, os.close, end).atexit = False

    def set(self) -> None:
        self.is_set = True
        with suppress(BlockingIOError):  # full: it will be read all the same
            os.write(self._write, b"\0")

    def clear(self) -> None:
        self.is_set = False
        with suppress(BlockingIOError):
            while os.read(self._read, 4096):
                pass

    def wait(self, seconds: float, *others: int) -> bool:
        """Waits so long, or until it is set or one of the file descriptors ``others`` can be read; whether it is set.

        :raises OSError, ValueError: one of the others is closed.
        """
        if not self.is_set:
            select.select([self._read, *others], [], [], seconds)
        return self.is_set
