"""A job's heartbeat: says every few seconds how the job is, and hears whether it is this attempt's still."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from hydra_gce import claims
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.claims import Claim
from hydra_gce.errors import GenerationMismatch
from hydra_gce.jobs import JobStatus

log = logging.getLogger(__name__)

BEAT_S = 3.0
_SAY_EVERY_S = 60.0
_LEAST_S = 1.5
"""Between two beats for news that can wait: a bucket takes one write a second of an object.

https://cloud.google.com/storage/quotas#objects
"""
_WRITES = 5


class StatusLine:
    """The status object of a job, as one attempt writes it: never over what a later attempt has written."""

    def __init__(self, bucket: Bucket, names: SweepNames, claim: Claim) -> None:
        self._bucket = bucket
        self._name = names.status(claim.num)
        self._attempt = claim.attempt
        self._generation: int | None = None
        self._closed = threading.Event()

    def close(self) -> None:
        """A write that hangs somewhere is not repeated from now on."""
        self._closed.set()

    def known(self) -> JobStatus | None:
        """What stands there; the next write replaces this and nothing newer."""
        entry = self._bucket.find(self._name)
        self._generation = entry.generation if entry else 0
        return JobStatus.from_metadata(entry.metadata) if entry else None

    def write(self, status: JobStatus) -> bool:
        """One request, as long as nobody else writes. False: a later attempt has, and this one has to be silent."""
        for _ in range(_WRITES):
            if self._generation is None:
                known = self.known()
                if known is not None and known.attempt > self._attempt:
                    return False
            try:
                self._generation = self._bucket.write(
                    self._name, b"", metadata=status.to_metadata(), if_generation=self._generation
                )
                return True
            except GenerationMismatch:  # another's, or our own whose answer was lost
                self._generation = None
                if self._closed.is_set():
                    return True
        log.warning("the status of job %d is written by several at once", status.num)
        return True


class Pulse:
    """Works in a thread of its own, so that a bucket that is away delays neither the program nor its end.

    ``lost`` is set once the job is another's: whoever comes back from a long sleep must stop before he disturbs.
    """

    def __init__(
        self,
        bucket: Bucket,
        names: SweepNames,
        claim: Claim,
        look: Callable[[], JobStatus],
        every_s: float = BEAT_S,
    ) -> None:
        """``bucket`` is one that gives up soon: the next beat follows anyway."""
        self._bucket = bucket
        self._names = names
        self._claim = claim
        self._look = look
        self._every_s = every_s
        self._line = StatusLine(bucket, names, claim)
        self._wake = threading.Event()
        self._urgent = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="pulse", daemon=True)
        self._said = -_SAY_EVERY_S
        self.lost = threading.Event()

    def start(self) -> None:
        self._thread.start()

    def now(self) -> None:
        """There is news: the next beat comes at once."""
        self._urgent.set()
        self._wake.set()

    def soon(self) -> None:
        """There is news that may wait a moment, where the last beat has only just been."""
        self._wake.set()

    def stop(self, within_s: float) -> None:
        """No beat comes after this one, and none is repeated; waits ``within_s`` seconds for one that is under way."""
        self._stop.set()
        self._line.close()
        self.now()
        self._thread.join(within_s)

    def is_held(self, bucket: Bucket | None = None) -> bool:
        """Asks whether the job is this attempt's still, by way of ``bucket`` where the answer must not fail to come."""
        if not self.lost.is_set() and not claims.is_held(bucket or self._bucket, self._names, self._claim):
            log.warning("job %d was given to another VM", self._claim.num)
            self.lost.set()
        return not self.lost.is_set()

    def _work(self) -> None:
        while not self._stop.is_set() and not self.lost.is_set():
            self._wake.clear()
            self._urgent.clear()
            began = time.monotonic()
            self._beat()
            self._wake.wait(self._every_s)
            self._urgent.wait(max(0.0, began + min(_LEAST_S, self._every_s) - time.monotonic()))

    def _beat(self) -> None:
        try:
            if self.is_held() and not self._line.write(self._look()):
                self.lost.set()
        except Exception as error:  # whatever it is: the program goes on without it
            if time.monotonic() - self._said >= _SAY_EVERY_S:
                log.warning("no heartbeat of job %d: %s: %s", self._claim.num, type(error).__name__, error)
                self._said = time.monotonic()
