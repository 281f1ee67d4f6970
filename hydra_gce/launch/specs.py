"""The sealed spec of each job, and its first status."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from hydra_gce.bucket import Bucket
from hydra_gce.cargo.pack import Cargo, Sent
from hydra_gce.errors import GenerationMismatch
from hydra_gce.identity import Identity
from hydra_gce.jobs import JobSpec, JobStatus, heartbeat_s, seal_spec
from hydra_gce.launch.compose import Point, Program, import_paths, script
from hydra_gce.launch.tracked import experiment
from hydra_gce.settings import Settings
from hydra_gce.tracking.mode import Mode, Way
from hydra_gce.tracking.relay.runs import TrackedSweep

_PARALLEL_UPLOADS = 8


def send(
    bucket: Bucket,
    identity: Identity,
    settings: Settings,
    points: Sequence[Point],
    program: Program,
    packed: Cargo,
    sent: Sent,
    environ: Mapping[str, str],
    way: Way,
    tracked: TrackedSweep | None = None,
    fresh_after: Mapping[int, int] | None = None,
) -> None:
    """Writes them side by side: from here on a VM may claim the jobs. What lies there already is left as it is.

    :param tracked: what VMs have to know that play their journals themselves.
    :param fresh_after: jobs that are written anew, and up to which attempt nothing is restored for them.
    """
    anew = fresh_after or {}
    names = identity.names
    below = (str(packed.root / path) for path in packed.resolution.paths)
    paths = list(dict.fromkeys([*import_paths(packed.root), *below]))
    passed = {name: environ[name] for name in settings.env.pass_variables}
    variables = {**_switches(settings, way.mode), **(way.variables or {}), **passed}

    def write(point: Point) -> None:
        spec = JobSpec(
            sweep=names.sweep,
            num=point.num,
            overrides=point.overrides,
            code=sent.code,
            cwd=os.getcwd(),
            script=script(),
            data=sent.data,
            sweep_dir=str(point.sweep_dir),
            output_dir=str(point.output_dir),
            variables=variables,
            preempt_grace_s=settings.preempt_grace_s,
            tracking=way.mode.value,
            experiment=experiment(settings, environ),
            sys_path=paths,
            heartbeat_s=heartbeat_s(settings.max_vms or len(points)),
            tracked=_told(tracked, point) if tracked else None,
            fresh_after=anew.get(point.num, 0),
        )
        sealed = seal_spec(identity.key, spec, program.of(point))
        with suppress(GenerationMismatch):  # a launch before this one has written it
            bucket.write(names.spec(point.num), sealed, if_generation=None if point.num in anew else 0)
        with suppress(GenerationMismatch):  # its agent has written it since
            status = JobStatus(point.num).to_metadata()
            bucket.write(names.status(point.num), b"", metadata=status, if_generation=0)

    with ThreadPoolExecutor(_PARALLEL_UPLOADS) as pool:
        list(pool.map(write, points))


def _switches(settings: Settings, mode: Mode) -> dict[str, str]:
    """MLflow's own, for programs that say nothing of it."""
    if mode is Mode.NONE or not settings.tracking.system_metrics:
        return {}
    return {"MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "true"}


def _told(tracked: TrackedSweep, point: Point) -> dict[str, Any]:
    return asdict(replace(tracked, job_overrides={point.num: point.overrides}, changes=""))
