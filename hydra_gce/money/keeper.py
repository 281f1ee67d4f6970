"""Keeps a sweep's ledger in the bucket: what its VMs cost is known whatever becomes of the laptop."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from hydra_gce.bucket import Bucket
from hydra_gce.errors import ObjectMissing
from hydra_gce.machines import Candidate
from hydra_gce.money.ledger import Ledger
from hydra_gce.unreachable import UNREACHABLE

log = logging.getLogger(__name__)


def restored(bucket: Bucket, name: str, candidates: Sequence[Candidate]) -> Ledger:
    """The ledger as it was written last; a new one where there is none."""
    try:
        return Ledger.from_json(bucket.read(name), candidates)
    except ObjectMissing:
        return Ledger()


class Keeper:
    """Writes the ledger whenever it has changed, beside what its owner does."""

    def __init__(self, bucket: Bucket, name: str, ledger: Ledger) -> None:
        self._bucket = bucket
        self._name = name
        self._ledger = ledger
        self._pool = ThreadPoolExecutor(1, "ledger")
        self._writing: Future[int] | None = None
        self._written = 0

    def tick(self) -> None:
        if self._writing is not None:
            if not self._writing.done():
                return
            self._settle()
        if self._ledger.version != self._written:
            self._writing = self._pool.submit(self._write)

    def close(self) -> None:
        """What is not written yet is written now."""
        self._pool.shutdown(wait=True)
        if self._writing is not None:
            self._settle()
        if self._ledger.version != self._written:
            self._writing = None
            try:
                self._written = self._write()
            except UNREACHABLE:
                log.warning(
                    "the ledger could not be written: hydra-gce cost lacks the last moments of this sweep"
                )

    def _settle(self) -> None:
        assert self._writing is not None
        writing, self._writing = self._writing, None
        try:
            self._written = writing.result()
        except UNREACHABLE:
            log.debug("the ledger could not be written; the next tick tries again")

    def _write(self) -> int:
        version = self._ledger.version
        self._bucket.write(self._name, self._ledger.to_json())
        return version
