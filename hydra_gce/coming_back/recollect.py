"""Outputs brought to the laptop once more: after a full disk, or into another directory."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from hydra_gce import claims
from hydra_gce.found import FoundSweep, check_job
from hydra_gce.jobs import unseal_spec
from hydra_gce.mirror import restore_newest


@dataclass(frozen=True)
class Brought:
    """A job's outputs, now here. ``directory`` is None where it has none yet."""

    job: int
    directory: str | None
    files: int
    fetched_bytes: int

    @property
    def line(self) -> str:
        if self.directory is None:
            return f"job {self.job}: nothing yet"
        return (
            f"job {self.job}: {self.files} files in {self.directory} ({self.fetched_bytes:,} bytes fetched)"
        )


def recollect(found: FoundSweep, to: Path | None, jobs: Collection[int] | None = None) -> Iterator[Brought]:
    """Writes each job's output directory where Hydra would have it, or below ``to``.

    :param jobs: only these.
    :raises UnknownName: one of them does not exist.
    :raises CollectError: it cannot be written.
    :raises SealBroken: something in the bucket is not the sweep's own.
    """
    names, bucket = found.names, found.bucket
    statuses = found.statuses()
    for num in jobs or ():
        check_job(found.sweep, num, statuses)
    key = found.key()
    for num in sorted(jobs) if jobs else statuses:
        claim = claims.read(bucket, names, num)
        spec, _ = unseal_spec(key, found.sweep, num, bucket.read(names.spec(num)))
        target = to / Path(spec.output_dir).relative_to(spec.sweep_dir) if to else Path(spec.output_dir)
        restored = restore_newest(bucket, names, key, num, claim.attempt, target) if claim else None
        if restored is None:
            yield Brought(num, None, 0, 0)
            continue
        manifest, fetched = restored
        yield Brought(num, str(target), len(manifest.files), fetched)
