"""A flag that a signal's handler may set."""

from __future__ import annotations

import errno
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

        :raises OSError: one of the others is closed.
        """
        if not self.is_set:
            readable(seconds, self._read, *others)
        return self.is_set


def readable(seconds: float, *descriptors: int) -> bool:
    """Waits so long, or until one of the file descriptors can be read or is at its end; whether one is.

    Not by ``select``, which knows no descriptors above 1023: a launch with many connections has such.

    :raises OSError: one of them is closed.
    """
    waiting = select.poll()
    for descriptor in descriptors:
        waiting.register(descriptor, select.POLLIN)
    found = waiting.poll(max(0.0, seconds) * 1000)
    if any(event & select.POLLNVAL for _, event in found):
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return bool(found)
