"""The lives of a sweep's runs: one for the sweep, below it one for each point, made before there is any VM.

A point's run waits (MLflow's SCHEDULED) until its program starts one: the first that is nested in no other is the
point's, and takes over the waiting one. A program that names another experiment gets its run there, since MLflow cannot
move one; the waiting run is deleted then.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hydra_gce.jobs import JobState
from hydra_gce.tracking.relay.calls import Forbidden, NotOurTurn
from hydra_gce.tracking.relay.destination import (
    JOB_TAG,
    PARENT_TAG,
    ROLE_TAG,
    RUN_TAG,
    SWEEP_TAG,
    Destination,
    KnownRun,
)

log = logging.getLogger(__name__)

STATUS = {
    JobState.PENDING: "SCHEDULED",
    JobState.PROVISIONING: "SCHEDULED",
    JobState.BOOTING: "SCHEDULED",
    JobState.PREEMPTED: "SCHEDULED",
    JobState.RUNNING: "RUNNING",
    JobState.COMPLETED: "FINISHED",
    JobState.FAILED: "FAILED",
    JobState.CANCELLED: "KILLED",
}
"""MLflow's status of a run by the state of its job."""

_ENDS = ("FINISHED", "FAILED", "KILLED")
_LONGEST_NAME = 250
_NUMBERS = ("cost_usd", "usd_per_hour", "vm_seconds", "attempts", "preemptions", "queue_s", "boot_s")
_OVERRIDES = "hydra_gce.overrides"
_OUR_ARTIFACTS = "hydra_gce"


@dataclass(frozen=True)
class TrackedSweep:
    """What the runs of a sweep say about it. ``created`` is in seconds since the epoch.

    ``experiment`` is the one that the launcher or the laptop's environment names: the runs are made there, and
    without it in MLflow's default, to follow the first program that names one. ``job_overrides`` are by the job's
    number, ``changes`` what of the code differs from the commit. ``makes_points`` is false for a VM that plays its own
    journal: they are the laptop's to make.
    """

    name: str
    created: float
    project: str
    backend: str
    job_overrides: Mapping[int, list[str]]
    common_overrides: list[str] = field(default_factory=list)
    git_commit: str | None = None
    git_dirty: bool = False
    changes: str = ""
    experiment: str | None = None
    makes_points: bool = True


class Runs:
    """Of one sweep in one store."""

    def __init__(self, to: Destination, sweep: TrackedSweep) -> None:
        self._to = to
        self._sweep = sweep
        self._told: dict[str, dict[str, str]] = {}
        self._status: dict[str, str] = {}

    def make(self) -> None:
        """Those that are not there yet: the sweep's, and one for each point.

        MLflow's default experiment may be closed to this user. Where nobody has named it, they come with the first run
        of a program that names another one.
        """
        self._to.tidy()
        if not self._sweep.makes_points:
            return
        try:
            self._make_points(self._sweep.experiment or self._default())
        except Forbidden:
            if self._sweep.experiment:
                raise

    def _make_points(self, experiment: str) -> None:
        for num, overrides in self._sweep.job_overrides.items():
            if self._to.point(num) is None:
                tags = {RUN_TAG: waiting_id(num), JOB_TAG: str(num), ROLE_TAG: "point"}
                run = self._create(experiment, tags, _point_name(self._sweep.name, num, overrides), num)
                self._to.set_status(run.run_id, "SCHEDULED")
        self.keep_changes()

    def keep_changes(self) -> None:
        """Beside the sweep's run: what of the code is in no commit. Where that fails, nothing else waits for it."""
        parent, changes = self._to.parent, self._sweep.changes
        if parent is None or not changes:
            return
        place = f"{_OUR_ARTIFACTS}/uncommitted.diff"

        def keep() -> None:
            there = self._to.artifacts(parent.run_id).list_artifacts(_OUR_ARTIFACTS)
            if place not in {info.path for info in there}:
                self._to.log_text(parent.run_id, changes, place)

        try:
            self._to.call("take what is in no commit", keep)
        except NotOurTurn:
            raise
        except Exception as error:  # an artifact store has errors of its own kind
            log.warning("MLflow has not taken %s of the sweep's run: %s", place, error)

    def begin(self, num: int, record: Mapping[str, Any], own: Mapping[str, str]) -> None:
        """A program has started a run; ``own`` are its tags, with the store's ids in the place of the program's."""
        waiting = self._to.point(num)
        nested = own.get(PARENT_TAG) in {run.run_id for run in self._to.of_job(num)}
        is_point = not nested and (waiting is None or waiting.is_waiting)
        if is_point and waiting and self._to.experiment(record["experiment"]) == waiting.experiment_id:
            self._adopt(waiting, record, own)
            return
        tags = {RUN_TAG: record["run"], JOB_TAG: str(num), ROLE_TAG: "point" if is_point else "run"}
        name = record["name"] or None
        if is_point and name is None:
            name = _point_name(self._sweep.name, num, self._sweep.job_overrides.get(num, []))
        self._move_parent(record["experiment"])
        parent = {PARENT_TAG: own[PARENT_TAG]} if nested else {}
        self._create(record["experiment"], {**own, **tags}, name, num, record["start_time"], parent)
        if is_point and waiting:
            self._to.discard(waiting)

    def take_in(self) -> None:
        """Runs that programs made on the server themselves stand below the sweep's, and replace the waiting ones."""
        self._to.refresh()
        for run in sorted(self._to.runs.values(), key=lambda run: run.started):
            if run.role == "sweep" or run.has_parent or run.job is None:
                continue
            point = self._to.point(run.job)
            if point is None or point.is_waiting:  # the first that is nested in no other
                self._to.set_tags(run.run_id, {ROLE_TAG: "point"})
                run.role = "point"
            name: str = self._to.call(
                "show an experiment",
                partial(self._to.client.get_experiment, run.experiment_id),
            ).name
            self._move_parent(name)
            described = {**self._common(), PARENT_TAG: self._parent(name).run_id}
            if overrides := self._sweep.job_overrides.get(run.job, []):
                described[_OVERRIDES] = " ".join(overrides)
            self._to.set_tags(run.run_id, described)
            run.has_parent = True
        self._to.tidy()

    def news(self, num: int, tags: Mapping[str, str]) -> dict[str, str]:
        """Those of ``tags`` that the job's point was not told before, as they are to be written.

        A point whose program's own run has taken the waiting one's place was told nothing.
        """
        point = self._to.point(num)
        if point is None:
            return {}
        mine = {key: value for key, value in prefixed(tags).items() if value}
        told = self._told.get(point.run_id, {})
        self._told[point.run_id] = mine
        return {key: value for key, value in mine.items() if told.get(key) != value}

    def follow(self, num: int, state: JobState, attempt: int) -> None:
        """The job is in another state: so is its run, unless its program has ended that.

        A run that ended with an attempt before this one goes on, where the job was begun again.
        """
        status, point = STATUS[state], self._to.point(num)
        if point is None or self._status.get(point.run_id) == status or state.final:
            return
        info = self._to.call("show a run", lambda: self._to.client.get_run(point.run_id)).info
        again = point.ended_attempt is not None and attempt > point.ended_attempt
        if info.status != status and (again or info.status not in _ENDS):
            self._to.set_status(point.run_id, status)
        self._status[point.run_id] = status

    def go_on(self) -> None:
        """Jobs are at work: so is the sweep, whatever an earlier launch came to."""
        parent = self._to.parent
        if parent is None:
            return
        info = self._to.call("show a run", lambda: self._to.client.get_run(parent.run_id)).info
        if info.status in _ENDS:
            self._to.set_status(parent.run_id, "RUNNING")

    def end(self, run: KnownRun, state: JobState, ended: float) -> None:
        """A run that its program ended keeps its end; that its job failed all the same, its point says."""
        status = STATUS[state]
        info = self._to.call("show a run", lambda: self._to.client.get_run(run.run_id)).info
        is_open = info.status not in _ENDS
        if run.role != "sweep" and not is_open and (status == "FINISHED" or run.role == "run"):
            return
        end_time = int(ended * 1000) if is_open or not info.end_time else info.end_time
        self._to.end_run(run.run_id, status, end_time)

    def account(self, point: KnownRun, tags: Mapping[str, str], ended: float) -> None:
        """What the job took: as tags to be read, and as metrics to be sorted and drawn by."""
        from mlflow.entities import Metric

        self._to.set_tags(point.run_id, prefixed(tags))
        metrics = [
            Metric(f"hydra_gce/{name}", float(tags[name]), int(ended * 1000), 0)
            for name in _NUMBERS
            if name in tags
        ]
        if metrics:
            self._to.call("take a batch", lambda: self._to.client.log_batch(point.run_id, metrics))

    def _adopt(self, waiting: KnownRun, record: Mapping[str, Any], own: Mapping[str, str]) -> None:
        """``RUN_TAG`` last: whoever finds it there finds all the rest."""
        if record["name"]:
            self._to.rename(waiting.run_id, record["name"])
        self._to.set_status(waiting.run_id, "RUNNING")
        ours = {PARENT_TAG, *self._common()}
        self._to.set_tags(waiting.run_id, {key: value for key, value in own.items() if key not in ours})
        self._to.set_tags(waiting.run_id, {RUN_TAG: record["run"]})
        self._to.adopted(waiting, record["run"])

    def _create(
        self,
        experiment: str,
        tags: Mapping[str, str],
        name: str | None,
        num: int,
        start_time: int | None = None,
        parent: Mapping[str, str] | None = None,
    ) -> KnownRun:
        overrides = self._sweep.job_overrides.get(num, [])
        described = {**tags, **self._common(), **(parent or {PARENT_TAG: self._parent(experiment).run_id})}
        if overrides:
            described[_OVERRIDES] = " ".join(overrides)
        started = int(self._sweep.created * 1000) if start_time is None else start_time
        return self._to.create_run(self._to.experiment(experiment), started, described, name)

    def _parent(self, experiment: str) -> KnownRun:
        tags = {**self._common(), RUN_TAG: self._sweep.name, ROLE_TAG: "sweep"}
        if self._sweep.common_overrides:
            tags[_OVERRIDES] = " ".join(self._sweep.common_overrides)
        return self._to.parent or self._to.create_run(
            self._to.experiment(experiment), int(self._sweep.created * 1000), tags, self._sweep.name
        )

    def _move_parent(self, experiment: str) -> None:
        """MLflow shows runs below their parent within one experiment: it follows the first program that names one."""
        parent = self._to.parent
        if (
            parent is None
            or self._sweep.experiment
            or parent.experiment_id == self._to.experiment(experiment)
        ):
            return
        if any(
            run.role == "point" and run.has_parent and not run.is_waiting for run in self._to.runs.values()
        ):
            return
        self._to.discard(parent)
        new = self._parent(experiment)
        for run in self._to.runs.values():
            if run.is_waiting:
                self._to.set_tags(run.run_id, {PARENT_TAG: new.run_id})

    def _default(self) -> str:
        name: str = self._to.call("show an experiment", lambda: self._to.client.get_experiment("0")).name
        return name

    def _common(self) -> dict[str, str]:
        sweep = self._sweep
        tags = {
            SWEEP_TAG: sweep.name,
            "hydra_gce.project": sweep.project,
            "hydra_gce.backend": sweep.backend,
            "mlflow.user": self._to.user,
        }
        if sweep.git_commit:
            tags["mlflow.source.git.commit"] = sweep.git_commit
            tags["hydra_gce.git_dirty"] = str(sweep.git_dirty).lower()
        return tags


def prefixed(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags as our own stand on a run."""
    return {f"hydra_gce.{name}": value for name, value in tags.items()}


def waiting_id(num: int) -> str:
    """What stands in the place of the program's id while there is none."""
    return f"waiting/{num}"


def _point_name(sweep: str, num: int, overrides: list[str]) -> str:
    return ",".join(overrides)[:_LONGEST_NAME] or f"{sweep}-{num}"
