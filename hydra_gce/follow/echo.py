"""What a single job prints, printed here as it comes into the bucket."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import IO

from hydra_gce import logs
from hydra_gce.bucket import Bucket
from hydra_gce.cloud.unreachable import UNREACHABLE
from hydra_gce.errors import Unreachable

_LAST_LOOK_S = 30.0


class Echo:
    """While entered, beside what its owner does. ``stream`` None: nothing is printed."""

    def __init__(self, bucket: Bucket, sweep: str, num: int, stream: IO[str] | None) -> None:
        self._bucket = bucket
        self._sweep = sweep
        self._num = num
        self._stream = stream
        self._over = threading.Event()
        self._looked_again = False
        self._thread = threading.Thread(target=self._print, name="echo", daemon=True)

    def __enter__(self) -> Echo:
        if self._stream is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """All that the job has printed is there, unless something was in the way."""
        self._over.set()
        if self._stream is not None:
            self._thread.join(_LAST_LOOK_S)

    def _print(self) -> None:
        assert self._stream is not None
        try:
            for line in logs.follow(self._bucket, self._sweep, self._num, None, True, self._pause):
                print(line, file=self._stream, flush=True)
        except (_Over, BrokenPipeError):
            return
        except (Unreachable, *UNREACHABLE) as error:
            why = type(error).__name__
            print(
                f"hydra-gce  the log cannot be followed any more ({why}): hydra-gce logs {self._sweep} has all of it",
                file=self._stream,
                flush=True,
            )

    def _pause(self, seconds: float) -> None:
        """Once more when all is over: the last lines come with the job's end."""
        if self._looked_again:
            raise _Over
        self._looked_again = self._over.wait(seconds)


class _Over(Exception):
    pass
