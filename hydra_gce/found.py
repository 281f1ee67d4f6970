"""A sweep that somebody asks for: by this machine's record, or, where there is none, as it lies in the bucket.

All that a sweep is lies in its bucket; the record only knows in which. So whoever names project and bucket finds it
from anywhere.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.errors import ConfigError, ObjectMissing, UnknownName
from hydra_gce.jobs import JobStatus

if TYPE_CHECKING:
    from hydra_gce.cloud.backend import Backend
    from hydra_gce.home import SweepRecord

LAST = "last"
SWEEPS = "sweeps/"
_NAME = re.compile(r"[a-z0-9_-]{1,63}")
_AT_ONCE = 16


@dataclass(frozen=True)
class FoundSweep:
    """``record`` is what this machine knows of it, None where it was begun elsewhere."""

    sweep: str
    backend: Backend
    bucket: Bucket
    record: SweepRecord | None = None

    @property
    def names(self) -> SweepNames:
        return SweepNames(self.sweep)

    @property
    def said(self) -> str:
        """How the sweep is named on the command line, so that another command finds it, too."""
        if self.record is not None:
            return self.sweep
        words = [self.sweep, "--project", self.backend.project]
        if self.bucket.name != self.backend.default_bucket:
            words += ["--bucket", self.bucket.name]
        return " ".join(words)

    def key(self) -> bytes:
        """What the sweep's specs, results and manifests are sealed with."""
        key = getattr(self.record, "key", None)
        if key:
            return bytes.fromhex(key)
        from hydra_gce.keys import sweep_key

        return sweep_key(self.backend, self.sweep)

    def description(self) -> dict[str, Any]:
        """What was asked for: the content of ``sweep.json``; empty where it is gone, or half written."""
        return described(self.bucket, self.names)

    def statuses(self) -> dict[int, JobStatus]:
        """How each job is by its own agent's words, by number: one listing."""
        return read_statuses(self.bucket, self.names)

    def job(self, num: int, statuses: dict[int, JobStatus] | None = None) -> JobStatus:
        """:raises UnknownName: there is none of that number; the message has those there are."""
        known = self.statuses() if statuses is None else statuses
        check_job(self.sweep, num, known)
        return known[num]


def described(bucket: Bucket, names: SweepNames) -> dict[str, Any]:
    """The content of ``sweep.json``; empty where it is gone, half written, or somebody has written over it."""
    try:
        content = json.loads(bucket.read(names.description))
    except (ObjectMissing, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def check_job(sweep: str, num: int, known: Iterable[int]) -> None:
    """:raises UnknownName: it is not among those that are known, which are said."""
    numbers = set(known)
    if num not in numbers:
        raise UnknownName(f"sweep {sweep} has no job {num}; it has {in_runs(numbers) or 'none yet'}")


def read_statuses(bucket: Bucket, names: SweepNames) -> dict[int, JobStatus]:
    """Objects that no agent and no launcher of ours wrote are passed over."""
    found = {}
    for entry in bucket.list(names.statuses):
        try:
            status = JobStatus.from_metadata(entry.metadata)
        except (KeyError, ValueError):
            continue
        found[status.num] = status
    return dict(sorted(found.items()))


def find(name: str, records: Sequence[SweepRecord], backend: Backend, bucket: Bucket) -> FoundSweep:
    """The sweep in this bucket. ``last`` is the one that was begun last.

    :raises UnknownName: there is none of that name; the message has the nearest.
    """
    from google.api_core.exceptions import Forbidden, NotFound

    try:
        if name == LAST:
            return FoundSweep(_newest(bucket), backend, bucket)
        if _NAME.fullmatch(name) and _lies_in(bucket, SweepNames(name)):
            return FoundSweep(name, backend, bucket)
        there = bucket.folders(SWEEPS)
    except NotFound:  # the bucket itself
        raise UnknownName(
            _no_sweep(name, [one.sweep for one in records], f"nor a bucket gs://{bucket.name}")
        ) from None
    except Forbidden as error:
        raise ConfigError(
            f"gs://{bucket.name} may not be read by the account that you use here ({error.message})."
            " Another bucket: --bucket=<name>"
        ) from error
    known = [*(one.sweep for one in records), *there]
    raise UnknownName(_no_sweep(name, known, f"nor in gs://{bucket.name}"))


def _no_sweep(name: str, known: Iterable[str], elsewhere: str) -> str:
    return f"there is no sweep {name!r} here, {elsewhere}.{did_you_mean(name, known)}"


def did_you_mean(
    name: str, known: Iterable[str], else_: str = " hydra-gce ls --all shows those there are."
) -> str:
    """`` Did you mean calm-otter?``, with up to three names; else what to do instead."""
    near = difflib.get_close_matches(name, sorted(set(known)), n=3, cutoff=0.4)
    return f" Did you mean {' or '.join(near)}?" if near else else_


def _lies_in(bucket: Bucket, names: SweepNames) -> bool:
    """Whether there is anything of it: its description may have been deleted."""
    return bucket.find(names.description) is not None or any(True for _ in bucket.list(names.prefix))


def _newest(bucket: Bucket) -> str:
    names = bucket.folders(SWEEPS)
    if not names:
        raise UnknownName(f"there is no sweep here, nor in gs://{bucket.name}")
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(lambda name: bucket.find(SweepNames(name).description), names))
    begun = [entry.updated if entry else 0.0 for entry in found]
    return max(zip(begun, names, strict=True))[1]


def in_runs(numbers: Iterable[int]) -> str:
    """``0-11, 14``"""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
