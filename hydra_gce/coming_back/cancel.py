"""Jobs of a sweep that are ended from outside the process that watches it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from hydra_gce import claims
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.cloud.backend import Backend
from hydra_gce.coming_back.rejoin import known
from hydra_gce.follow import background
from hydra_gce.found import check_job
from hydra_gce.owner import owner_here
from hydra_gce.watch import wishes

_PATIENCE_S = 300.0
_PAUSE_S = 1.0
_AT_ONCE = 8


def cancel(
    backend: Backend,
    bucket: Bucket,
    sweep: str,
    jobs: Sequence[int],
    tell: Callable[[str], None],
    patience_s: float = _PATIENCE_S,
) -> list[int]:
    """Asks whoever watches the sweep to end ``jobs``, or all; where nobody does, a process in the background.

    :returns: those that have not ended within ``patience_s``.
    :raises UnknownName: there is no such job.
    :raises ConfigError: there is no such sweep.
    """
    plan, identity = known(backend, bucket, sweep)
    names, there = identity.names, [point.num for point in plan.points]
    for num in jobs:
        check_job(sweep, num, there)
    open_ = _not_ended(bucket, names, list(jobs or there))
    if not open_:
        tell(f"sweep {sweep}: nothing to cancel: {'they have' if len(there) > 1 else 'it has'} ended")
        return []
    wishes.cancel(bucket, names, open_, owner_here())
    background.start(backend, bucket.name, sweep)  # it leaves again where somebody watches
    deadline = time.monotonic() + patience_s
    while open_ and time.monotonic() < deadline:
        left = _not_ended(bucket, names, open_)
        for num in open_:
            if num not in left:
                tell(f"job {num} has ended")
        open_ = left
        if open_:
            time.sleep(_PAUSE_S)
    if open_:
        tell(f"not ended so far: {', '.join(map(str, open_))}. See: hydra-gce attach {sweep}")
    return open_


def _not_ended(bucket: Bucket, names: SweepNames, nums: Sequence[int]) -> list[int]:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        done = list(pool.map(lambda num: claims.is_done(bucket, names, num), nums))
    return [num for num, ended in zip(nums, done, strict=True) if not ended]
