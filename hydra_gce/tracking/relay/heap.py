"""Python's garbage collector while a pile of records is played: it looks at what is new only.

A store makes some objects for each record, so a full collection comes every few thousand. With Hydra, MLflow and
Google's clients loaded it goes through half a million objects that have nothing to do with that, and takes a third of
all the time.
"""

from __future__ import annotations

import gc
import threading
from types import TracebackType

_changes = threading.Lock()
_resting = 0


class Heap:
    """While entered, ``rest`` sets aside all objects that there are; at the end they are the collector's again.

    Several threads may do so side by side. Objects that somebody else has frozen for good (``gc.freeze``) stay frozen.
    """

    def __init__(self) -> None:
        self._rests = False

    def __enter__(self) -> Heap:
        return self

    def rest(self) -> None:
        """Again is nothing."""
        global _resting
        if self._rests:
            return
        with _changes:
            if _resting == 0 and gc.get_freeze_count():
                return
            gc.freeze()
            _resting += 1
        self._rests = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _resting
        if not self._rests:
            return
        with _changes:
            _resting -= 1
            if _resting == 0:
                gc.unfreeze()
