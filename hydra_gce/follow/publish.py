"""Writes down what the watcher of a sweep shows, for all who look at the sweep from elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from hydra_gce.bucket import Bucket
from hydra_gce.cloud.unreachable import AWAY
from hydra_gce.errors import ObjectMissing
from hydra_gce.view import SweepView, from_json, to_json

log = logging.getLogger(__name__)

# An object may be written over once a second: https://cloud.google.com/storage/quotas#objects
_PAUSE_S = 2.0


def published(bucket: Bucket, name: str) -> SweepView | None:
    """What was written last; None where nothing was, or what this version cannot read."""
    try:
        return from_json(bucket.read(name))
    except ObjectMissing:
        return None
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        log.debug("%s cannot be read: %s", name, error)
        return None


class Publisher:
    """Beside what its owner does; no oftener than every two seconds, and only what has changed."""

    def __init__(self, bucket: Bucket, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._bucket = bucket
        self._name = name
        self._clock = clock
        self._pool = ThreadPoolExecutor(1, "publish")
        self._writing: Future[int] | None = None
        self._written: SweepView | None = None
        self._again_at = 0.0

    def tick(self, view: SweepView) -> None:
        if self._writing is not None and not self._writing.done():
            return
        if self._writing is not None and self._writing.exception() is not None:
            self._written = None  # it is not there: once more
        if self._clock() < self._again_at or replace(view, now=0.0) == self._written:
            return
        self._written = replace(view, now=0.0)
        self._again_at = self._clock() + _PAUSE_S
        self._writing = self._pool.submit(self._bucket.write, self._name, to_json(view))

    def close(self, view: SweepView | None) -> None:
        """``view``: the last word; None where that is somebody else's."""
        self._pool.shutdown(wait=True)
        if view is None:
            return
        try:
            self._bucket.write(self._name, to_json(view))
        except AWAY:
            log.warning("hydra-gce show lacks the last moments of this sweep: the bucket cannot be reached")
