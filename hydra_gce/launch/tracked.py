"""What the MLflow runs of a sweep say about it, put together from what is known when it is launched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hydra_gce.cargo.pack import Cargo
from hydra_gce.cargo.worktree import git_state, uncommitted
from hydra_gce.cloud.backend import Backend
from hydra_gce.identity import Identity
from hydra_gce.launch.compose import Point
from hydra_gce.settings import Settings
from hydra_gce.tracking.relay.runs import TrackedSweep


def tracked_sweep(
    identity: Identity,
    backend: Backend,
    points: Sequence[Point],
    packed: Cargo,
    settings: Settings,
    environ: Mapping[str, str],
) -> TrackedSweep:
    """Of the jobs of one batch."""
    commit, dirty = git_state(packed.root)
    return TrackedSweep(
        name=identity.names.sweep,
        created=identity.started,
        project=backend.project,
        backend=backend.kind,
        job_overrides={point.num: point.overrides for point in points},
        git_commit=commit,
        git_dirty=dirty,
        changes=uncommitted(packed.root) if dirty else "",
        experiment=experiment(settings, environ),
    )


def experiment(settings: Settings, environ: Mapping[str, str]) -> str | None:
    """MLflow's experiment for programs that do not choose one themselves."""
    return settings.tracking.experiment or environ.get("MLFLOW_EXPERIMENT_NAME")
