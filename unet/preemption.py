"""SIGTERM, the word with which a machine that will soon be gone, or a person, asks a training to end."""

import logging
import signal
import threading
from types import FrameType, TracebackType

log = logging.getLogger(__name__)


class TerminationSignal:
    """While entered, SIGTERM no longer ends the process: it is noted in `received`, for the loop to act on.

    Python lets only the main thread set signal handlers; in another thread the signal keeps what it meant.
    """

    def __init__(self) -> None:
        self.received = False
        self._before: signal._HANDLER = None

    def __enter__(self) -> "TerminationSignal":
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)
        else:
            log.warning("This training is not in the main thread: SIGTERM will end it without a checkpoint.")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = True
