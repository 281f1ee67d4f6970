"""Outputs brought to the laptop once more: after a full disk, or into another directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hydra_gce import claims
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.home import SweepRecord
from hydra_gce.jobs import JobStatus, unseal_spec
from hydra_gce.mirror import restore_newest


def recollect(bucket: Bucket, record: SweepRecord, to: Path | None) -> Iterator[str]:
    """Writes each job's output directory where Hydra would have it, or below ``to``; a line for each job.

    :raises CollectError: it cannot be written.
    :raises SealBroken: something in the bucket is not the sweep's own.
    """
    names, key = SweepNames(record.sweep), bytes.fromhex(record.key)
    for entry in bucket.list(names.statuses):
        num = JobStatus.from_metadata(entry.metadata).num
        claim = claims.read(bucket, names, num)
        spec, _ = unseal_spec(key, record.sweep, num, bucket.read(names.spec(num)))
        target = to / Path(spec.output_dir).relative_to(spec.sweep_dir) if to else Path(spec.output_dir)
        restored = restore_newest(bucket, names, key, num, claim.attempt, target) if claim else None
        if restored is None:
            yield f"job {num}: nothing yet"
            continue
        manifest, fetched = restored
        yield f"job {num}: {len(manifest.files)} files in {target} ({fetched:,} bytes fetched)"
