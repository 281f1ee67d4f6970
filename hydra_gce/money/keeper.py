"""Keeps a sweep's ledger in the bucket: what its VMs cost is known whatever becomes of the laptop."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from hydra_gce.bucket import ROOT, Bucket
from hydra_gce.cloud.unreachable import AWAY
from hydra_gce.errors import ConfigError, ObjectMissing
from hydra_gce.machines import Candidate
from hydra_gce.money.ledger import Ledger

log = logging.getLogger(__name__)


def restored(bucket: Bucket, name: str, candidates: Sequence[Candidate]) -> Ledger:
    """The ledger as it was written last; a new one where there is none."""
    try:
        return Ledger.from_json(bucket.read(name), candidates)
    except ObjectMissing:
        return Ledger()
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"gs://{bucket.name}/{ROOT}{name}, the bill of a sweep, cannot be read ({error}): another version of"
            " hydra-gce-launcher has written it, or somebody has changed it. Use that version, or delete the object:"
            " what was spent before is then not known"
        ) from error


class Keeper:
    """Writes the ledger whenever it has changed, beside what its owner does. What it holds at first is written."""

    def __init__(self, bucket: Bucket, name: str, ledger: Ledger) -> None:
        self._bucket = bucket
        self._name = name
        self._ledger = ledger
        self._pool = ThreadPoolExecutor(1, "ledger")
        self._writing: Future[int] | None = None
        self._written = ledger.version

    def tick(self) -> None:
        if self._writing is not None:
            if not self._writing.done():
                return
            self._settle()
        if self._ledger.version != self._written:
            self._writing = self._pool.submit(self._write)

    def close(self, is_ours: bool = True) -> None:
        """What is not written yet is written now, if the ledger is ours to write still."""
        self._pool.shutdown(wait=True)
        if self._writing is not None:
            self._settle()
        if is_ours and self._ledger.version != self._written:
            self._writing = None
            try:
                self._written = self._write()
            except AWAY:
                log.warning(
                    "the ledger could not be written: hydra-gce cost lacks the last moments of this sweep"
                )

    def _settle(self) -> None:
        assert self._writing is not None
        writing, self._writing = self._writing, None
        try:
            self._written = writing.result()
        except AWAY:
            log.debug("the ledger could not be written; the next tick tries again")

    def _write(self) -> int:
        version = self._ledger.version
        self._bucket.write(self._name, self._ledger.to_json())
        return version
