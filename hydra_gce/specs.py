"""The sealed spec of each job, and its first status."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from hydra_gce.bucket import Bucket
from hydra_gce.cargo.pack import Cargo, Sent
from hydra_gce.compose import Point, Program, import_paths, script
from hydra_gce.identity import Identity
from hydra_gce.jobs import JobSpec, JobStatus, seal_spec
from hydra_gce.settings import Settings

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
) -> None:
    """Writes them side by side: from here on a VM may claim the jobs."""
    names = identity.names
    below = (str(packed.root / path) for path in packed.resolution.paths)
    paths = list(dict.fromkeys([*import_paths(packed.root), *below]))
    variables = {name: environ[name] for name in settings.env.pass_variables}

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
            tracking=settings.tracking.mode != "none",
            experiment=experiment(settings, environ),
            sys_path=paths,
        )
        bucket.write(names.spec(point.num), seal_spec(identity.key, spec, program.with_config(point.config)))
        bucket.write(names.status(point.num), b"", metadata=JobStatus(point.num).to_metadata())

    with ThreadPoolExecutor(_PARALLEL_UPLOADS) as pool:
        list(pool.map(write, points))


def experiment(settings: Settings, environ: Mapping[str, str]) -> str | None:
    """MLflow's experiment for programs that do not choose one themselves."""
    return settings.tracking.experiment or environ.get("MLFLOW_EXPERIMENT_NAME")
