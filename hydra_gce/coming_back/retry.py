"""Jobs of a sweep that are begun again after they have ended."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from hydra_gce import claims
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.cloud.backend import Backend
from hydra_gce.coming_back.rejoin import known
from hydra_gce.errors import BucketError, ConfigError
from hydra_gce.found import check_job
from hydra_gce.identity import note_end
from hydra_gce.jobs import JobState, unseal_result
from hydra_gce.watch.reopen import reopen

_AT_ONCE = 8


def retry(backend: Backend, bucket: Bucket, sweep: str, jobs: Sequence[int]) -> list[int]:
    """Gives back those of ``jobs``, or of all, that have failed or were cancelled; whoever watches next begins them.

    :returns: their numbers.
    :raises UnknownName: there is no such job.
    :raises ConfigError: there is no such sweep, or a job that was named has not failed.
    """
    plan, identity = known(backend, bucket, sweep)
    there = [point.num for point in plan.points]
    for num in jobs:
        check_job(sweep, num, there)

    def state(num: int) -> JobState | None:
        return ended_as(bucket, identity.names, identity.key, num)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        wanted = list(jobs or there)
        states = dict(zip(wanted, pool.map(state, wanted), strict=True))
    again = [num for num, state in states.items() if state in (JobState.FAILED, JobState.CANCELLED)]
    for num in jobs:
        if num not in again:
            how = "has completed" if states[num] else "has not ended"
            raise ConfigError(f"hydra-gce retry: job {num} of sweep {sweep} {how}; nothing was begun again")
    for num in again:
        reopen(bucket, identity.names, num)
    if again:
        note_end(identity, None)
    return again


def ended_as(bucket: Bucket, names: SweepNames, key: bytes, num: int) -> JobState | None:
    """How the job has ended; None where it has not. A result that cannot be read is none that counts: FAILED."""
    claim = claims.read(bucket, names, num)
    if claim is None or claim.state != "done":
        return None
    try:
        result, _ = unseal_result(key, names.sweep, num, bucket.read(names.result(num, claim.attempt)))
    except BucketError:
        return JobState.FAILED
    return result.state
