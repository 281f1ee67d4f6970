"""Comes back to a sweep, from the machine that launched it or from any other: only its name and bucket are needed."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.cloud.backend import Backend
from hydra_gce.compute.process import ComputeProcess
from hydra_gce.errors import ConfigError
from hydra_gce.follow.follower import Follower
from hydra_gce.follow.watching import Watching
from hydra_gce.found import described
from hydra_gce.home import sweep_records
from hydra_gce.identity import Identity, keep_record, taken_up
from hydra_gce.keys import sweep_key
from hydra_gce.launch import plan as plans
from hydra_gce.launch.batch import Batch
from hydra_gce.launch.compose import Point
from hydra_gce.launch.plan import Plan
from hydra_gce.machines import resolve
from hydra_gce.money.keeper import restored
from hydra_gce.request import vm_request
from hydra_gce.watch import Track, Watch


def attach(
    backend: Backend,
    bucket: Bucket,
    sweep: str,
    environ: Mapping[str, str],
    to: Path | None = None,
    in_background: bool = False,
    stream: IO[str] | None = None,
) -> Watch:
    """Follows the sweep to its end, as its launch would.

    :param to: where the jobs' output directories go, instead of where the launch would have them.
    :raises ConfigError: there is no such sweep, or it cannot be opened here.
    :raises interrupt.Detached: it goes on without us.
    """
    with ComputeProcess() as beside, ThreadPoolExecutor(1) as aside:
        compute = beside.use(backend)
        reading = aside.submit(compute.quotas)
        plan, identity = known(backend, bucket, sweep)
        candidates = resolve(vm_request(plan.settings.vm))
        if to is not None:
            plan = replace(plan, points=[moved(point, to) for point in plan.points])
        ledger = restored(bucket, identity.names.ledger, candidates)
        follower = Follower(
            replace(plan.settings, wait=True), environ, ledger, in_background, stream or sys.stdout
        )
        batch = Batch(backend, compute, bucket, identity, plan, candidates, reading.result())
        return Watching(follower, batch).to_the_end()


def known(backend: Backend, bucket: Bucket, sweep: str) -> tuple[Plan, Identity]:
    """All that the sweep's launches have settled; this laptop has a record of it from now on."""
    names = SweepNames(sweep)
    description = described(bucket, names)
    if not description and next(iter(bucket.list(names.prefix)), None) is None:
        raise ConfigError(f"there is no sweep {sweep!r} in gs://{bucket.name}")
    key = sweep_key(backend, sweep, of_project=description.get("key") != "its own")
    batches = plans.read(bucket, names, key)
    if not batches:
        raise ConfigError(
            f"sweep {sweep} has no jobs in gs://{bucket.name}: its launch ended before it had sent them."
            " Launch it anew."
        )
    plan = plans.joined(batches)
    for record in sweep_records():
        if record.sweep == sweep:
            return plan, taken_up(record)
    identity = Identity(names, key, description.get("started", time.time()), taken_up=True)
    keep_record(identity, backend, bucket, plan.sweep_dir)
    return plan, identity


def returns(watch: Watch) -> list[dict[str, Any]]:
    """What each job has come to, as JSON has it."""
    return [_return(track) for track in watch.tracks.values()]


def _return(track: Track) -> dict[str, Any]:
    assert track.collected is not None
    result = track.collected.result
    return {
        "job": track.num,
        "overrides": track.point.overrides,
        "state": result.state.value,
        "return_value": _as_json(track.collected.value),
        "failure": result.failure.value if result.failure else None,
        "message": result.message.strip(),
        "output_dir": str(track.point.output_dir),
    }


def _as_json(value: object) -> object:
    """What JSON cannot say is written as Python does."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        item = getattr(value, "item", None)  # a number of numpy's
        return _as_json(item()) if callable(item) else repr(value)
    return value


def moved(point: Point, to: Path) -> Point:
    """The point with its outputs below ``to`` instead of where its launch would have them.

    A directory that was not below the sweep's has the job's number there.
    """
    to = to.absolute()
    below = point.output_dir.is_relative_to(point.sweep_dir)
    output_dir = to / (point.output_dir.relative_to(point.sweep_dir) if below else str(point.num))
    return Point.restored(point.num, point.overrides, point.packed, to, output_dir)
