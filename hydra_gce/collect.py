"""A finished job, brought home: its output directory, and the ``JobReturn`` that Hydra gets."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import open_dict, read_write

from hydra_gce import claims
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.errors import BucketError, CollectError, HydraGCEError, JobFailed
from hydra_gce.jobs import Failure, JobResult, JobState, seal_result, unseal_result
from hydra_gce.launch.compose import Point
from hydra_gce.mirror import read_manifest, restore
from hydra_gce.paths import translate


class RemoteTraceback(Exception):
    """The cause that a job's exception gets on the laptop: where it was raised on the VM."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


@dataclass(frozen=True)
class Collected:
    """``value`` is what the program returned, None where it failed. ``uncollected`` is why the outputs are not here,
    though they are safe in the bucket.

    ``unpack`` makes what Hydra gets: with its configs it is ten times as large as packed, for each of thousands.
    """

    result: JobResult
    unpack: Callable[[], JobReturn]
    value: object = None
    uncollected: CollectError | None = field(default=None)

    @classmethod
    def of(
        cls, result: JobResult, unpack: Callable[[], JobReturn], uncollected: CollectError | None = None
    ) -> Collected:
        value = unpack()._return_value
        return cls(result, unpack, None if isinstance(value, BaseException) else value, uncollected)

    @property
    def job_return(self) -> JobReturn:
        """Unpacked anew each time."""
        return self.unpack()


def collect(bucket: Bucket, names: SweepNames, key: bytes, point: Point) -> Collected | None:
    """What the job's claim says was its result; None if it has none yet."""
    claim = claims.read(bucket, names, point.num)
    if claim is None or claim.state != "done":
        return None
    try:
        envelope = bucket.read(names.result(point.num, claim.attempt))
        result, pickled = unseal_result(key, names.sweep, point.num, envelope)
    except BucketError as error:  # missing, cut short, or not ours: nothing of it is opened
        uncollected = _outputs(bucket, names, key, point, claim.attempt)
        return _unreadable(names, point, claim.attempt, error, uncollected)
    uncollected = _outputs(bucket, names, key, point, claim.attempt)
    return Collected.of(result, lambda: _job_return(names, point, result, pickled), uncollected)


def _outputs(
    bucket: Bucket, names: SweepNames, key: bytes, point: Point, attempt: int
) -> CollectError | None:
    """Brings the outputs here, or says why they are not."""
    try:
        fetch_outputs(bucket, names, key, point, attempt)
    except CollectError as error:
        return CollectError(
            f"{error}. Nothing is lost: the outputs of job {point.num} stay in gs://{bucket.name}."
            f" Make room, then: hydra-gce collect {names.sweep} (or elsewhere: --to DIRECTORY)"
        )
    except BucketError as error:  # one job's outputs were tampered with: its siblings go on
        return CollectError(
            f"{error}. The outputs of job {point.num} were not brought here; what there is of them stays in"
            f" gs://{bucket.name}."
        )
    return None


def fetch_outputs(bucket: Bucket, names: SweepNames, key: bytes, point: Point, attempt: int) -> None:
    """The output directory as the attempt, or the last one before it, left it.

    :raises CollectError: it cannot be written here.
    """
    manifest = read_manifest(bucket, names, key, point.num, attempt)
    if manifest is None:
        return
    try:
        point.output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CollectError(f"{point.output_dir} cannot be made: {error.strerror}") from error
    restore(bucket, manifest, point.output_dir)


def conclude(
    bucket: Bucket,
    names: SweepNames,
    key: bytes,
    point: Point,
    state: JobState,
    failure: Failure | None,
    message: str,
    at: float,
) -> Collected | None:
    """The end of a job that its program does not bring to one, written down as its result; what its attempts had saved
    is brought here. None where somebody else is about to say how it ended: the next look tells.
    """
    claim = claims.read(bucket, names, point.num)
    if claim is not None and claim.state == "done":
        return collect(bucket, names, key, point)
    held = claim or claims.nobodys(point.num)
    result = JobResult(names.sweep, point.num, held.attempt, state, at, at, failure=failure, message=message)
    bucket.write(names.result(point.num, held.attempt), seal_result(key, result, b""))
    # In nobody's name: an attempt that finishes at this very moment sees that it came too late.
    if claims.finish(bucket, names, replace(held, instance="")) is None:
        return None
    return collect(bucket, names, key, point)


def _unreadable(
    names: SweepNames, point: Point, attempt: int, error: HydraGCEError, uncollected: CollectError | None
) -> Collected:
    now = time.time()  # when it ended on its VM stands in what cannot be read
    message = f"its result cannot be read: {error}. hydra-gce retry {names.sweep} {point.num} runs it again"
    result = JobResult(names.sweep, point.num, attempt, JobState.FAILED, now, now, message=message)
    return Collected.of(result, lambda: _failed(point, error), uncollected)


def _job_return(names: SweepNames, point: Point, result: JobResult, pickled: bytes) -> JobReturn:
    if not pickled and not result.log_tail:
        return _failed(point, JobFailed(f"job {point.num}: {result.message}"))
    if not pickled:
        tail = "".join(f"\n    {line}" for line in result.log_tail)
        where = f"hydra-gce logs {names.sweep} --job {point.num}"
        error = JobFailed(f"job {point.num}: {result.message}. Its last lines ({where}):{tail}")
        return _failed(point, error)
    try:
        job_return: JobReturn = pickle.loads(pickled)
    except Exception as error:  # a class that this machine does not have: the traceback still came as text
        return _failed(
            point,
            JobFailed(f"job {point.num}: what came back cannot be read here ({error}). {result.message}"),
        )
    _bring_home(job_return, result)
    value: Any = job_return._return_value
    if isinstance(value, BaseException) and not hasattr(job_return, "_remote_traceback"):
        value.__cause__ = RemoteTraceback(result.message)
    return job_return


def _bring_home(job_return: JobReturn, result: JobResult) -> None:
    """Paths of the VM become the laptop's, where they are not the same anyway."""
    if not result.translate:
        return
    home = sorted(((here, laptop) for laptop, here in result.translate), key=lambda pair: -len(pair[0]))
    job_return.working_dir = translate(str(job_return.working_dir), home)
    if job_return.hydra_cfg is not None:
        runtime = job_return.hydra_cfg.hydra.runtime
        with read_write(runtime):
            runtime.output_dir = translate(str(runtime.output_dir), home)
            runtime.cwd = translate(str(runtime.cwd), home)


def _failed(point: Point, error: Exception) -> JobReturn:
    """As ``run_job`` would have returned it."""
    job_return = JobReturn()
    job_return.overrides = point.overrides
    config = point.config.copy()
    with open_dict(config):
        hydra = config.pop("hydra")
    job_return.cfg = config
    job_return.hydra_cfg = type(point.config)({"hydra": hydra})
    job_return.working_dir = str(point.output_dir)
    job_return.task_name = hydra.job.name
    job_return.return_value = error
    job_return.status = JobStatus.FAILED
    return job_return
