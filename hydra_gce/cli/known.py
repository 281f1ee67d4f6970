"""What is known here without asking anybody: for a shell that completes a line, and may not keep a person waiting."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

_MOST = 50


def sweeps() -> Sequence[tuple[str, str]]:
    """The sweeps of this machine, the newest first, each with its directory."""
    from hydra_gce.home import sweep_records

    return [(record.sweep, record.sweep_dir) for record in sweep_records()[:_MOST]]


def jobs_of(sweep: str) -> Sequence[int]:
    """The numbers of a sweep's jobs, as some command of this machine saw them last; asked for where none has."""
    from hydra_gce.home import sweep_records

    name = next((record.sweep for record in sweep_records()), "") if sweep == "last" else sweep
    try:
        return [int(num) for num in json.loads(_file(name).read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return _asked(name)


def note_jobs(sweep: str, nums: Iterable[int]) -> None:
    """Writes them down for the next time. Only a comfort: that it fails is no error."""
    file = _file(sweep)
    part = file.with_suffix(f".{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(sorted(nums)), encoding="utf-8")
        part.replace(file)
    except OSError:
        part.unlink(missing_ok=True)


def _asked(sweep: str) -> Sequence[int]:
    from hydra_gce.bucket import Bucket
    from hydra_gce.cli.common import connect_to, record_of
    from hydra_gce.errors import HydraGCEError
    from hydra_gce.found import FoundSweep

    try:
        record = record_of(sweep)
        backend = connect_to(record)
        bucket = Bucket(backend.storage.bucket(record.bucket), try_for_s=lambda: 2.0)
        nums = list(FoundSweep(sweep, backend, bucket, record).statuses())
    except HydraGCEError:
        return []
    note_jobs(sweep, nums)
    return nums


def _file(sweep: str) -> Path:
    from hydra_gce.home import cache

    return cache() / "jobs" / f"{Path(sweep).name}.json"
