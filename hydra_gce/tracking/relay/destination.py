"""The MLflow store that a sweep's records end in, and what is known of the sweep there.

Everything that a relay must know after a crash is on the runs themselves, as tags; ``Destination`` reads it
back.
"""

from __future__ import annotations

import getpass
import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hydra_gce.tracking.relay.address import from_anywhere, without_password
from hydra_gce.tracking.relay.calls import Calls, Refused, Unknown
from hydra_gce.tracking.relay.database import is_database_server, reach
from hydra_gce.tracking.relay.model_folders import ModelFolder, ModelFolders

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

SWEEP_TAG = "hydra_gce.sweep"
JOB_TAG = "hydra_gce.job"
ROLE_TAG = "hydra_gce.role"
RUN_TAG = "hydra_gce.run"
MODEL_TAG = "hydra_gce.model"
POSITION_TAG = "hydra_gce.journal"
WAITING = "waiting/"  # in RUN_TAG, before the job's number: no program has started this run so far
DISCARDED = "discarded"  # the role of a run that another one has replaced
TWICE_TAG = "hydra_gce.steps_logged_twice"  # at so many steps stand the values of two attempts
PARENT_TAG = "mlflow.parentRunId"
ENDED_TAG = "hydra_gce.ended"  # the attempt with which the job ended

_VM_ID = re.compile(r"(models:/)?(m-[0-9a-f]{32}|[0-9a-f]{32})")
LONGEST_TAG = 5000
_PAGE = 1000
_MOST_TAGS = 100
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, order=True)
class Position:
    """How far a run's journal is in the store: ``part`` of ``attempt`` and all before is, for all runs of its
    job; of this run, all records to ``seq`` of that attempt are.

    ``seq`` belongs to ``seq_attempt``, since a run may have had records of an attempt whose first part is not
    done.
    """

    attempt: int = 0
    part: int = -1
    seq_attempt: int = 0
    seq: int = 0

    def to_text(self) -> str:
        return f"{self.attempt}/{self.part}/{self.seq_attempt}/{self.seq}"

    @classmethod
    def from_text(cls, text: str) -> Position:
        return cls(*(int(number) for number in text.split("/")))


@dataclass(frozen=True)
class Refusal:
    """Something that a program logged and the store would not have. ``run`` is the run's id in the store."""

    num: int
    run: str
    attempt: int
    seq: int
    what: str
    why: str


@dataclass
class KnownRun:
    """A run in the store, and the id that its program knows. ``job`` is None for the sweep's own run."""

    run_id: str
    vm_id: str
    experiment_id: str
    role: str
    job: int | None
    position: Position
    ended_attempt: int | None = None
    has_parent: bool = True
    started: int = 0

    @property
    def is_waiting(self) -> bool:
        """Made for a point whose program has started no run so far."""
        return self.vm_id.startswith(WAITING)


class Destination:
    """The runs, models and experiments of one sweep in the store at ``uri`` (null = MLflow's own default).

    ``may_write`` is asked before each call: False where another relay has taken over. Several threads may play jobs
    side by side; who holds ``one_by_one`` may make runs.
    """

    def __init__(self, uri: str | None, sweep: str, may_write: Callable[[], bool] = lambda: True) -> None:
        import mlflow

        from hydra_gce.tracking import versions
        from hydra_gce.tracking.vm.database import quiet_migrations

        self.one_by_one = threading.RLock()
        self.uri = from_anywhere(uri or mlflow.get_tracking_uri())
        self.user = getpass.getuser()
        self.sweep = sweep
        self._experiments: dict[str, str] = {}
        self.runs: dict[str, KnownRun] = {}
        self.models: dict[str, str] = {}
        self.deleted_models: set[str] = set()
        """By the ids that programs know: their files are wanted by nobody."""
        self.folders = ModelFolders()
        self._artifacts: dict[str, ArtifactRepository] = {}
        self._calls = Calls(self.uri, may_write)
        if is_database_server(self.uri):
            self.call("be opened", lambda: reach(self.uri))
        with quiet_migrations():
            self.client: MlflowClient = self.call(
                "be opened", lambda: mlflow.MlflowClient(tracking_uri=self.uri)
            )
        self.has_models = self.call("be opened", lambda: versions.has_models(self.client))
        self._calls.probe = lambda: self.client.search_experiments(max_results=1)
        self._read_back()

    def call(self, what: str, function: Callable[[], _Answer]) -> _Answer:
        """:raises Refused: the store will not have it; :raises StoreUnavailable: it cannot answer now."""
        return self._calls.call(what, function)

    # Runs

    def end_run(self, run_id: str, status: str, end_time: int) -> None:
        """Not by the client: for a server's runs that prints a line, which would run through the table of the sweep."""
        from mlflow.entities import RunStatus
        from mlflow.tracking._tracking_service.utils import _get_store

        ended = RunStatus.from_string(status)
        self.call("end a run", lambda: _get_store(self.uri).update_run_info(run_id, ended, end_time, None))

    def _pages(self, what: str, fetch: Callable[[str | None], Any]) -> Iterator[Any]:
        token: str | None = None
        while True:
            page = self.call(what, partial(fetch, token))
            yield from page
            token = page.token
            if not token:
                return

    def _read_back(self) -> None:
        """Learns what earlier relays of this sweep have made."""
        from mlflow.entities import ViewType

        found = self._pages(
            "list experiments",
            lambda token: self.client.search_experiments(ViewType.ALL, _PAGE, page_token=token),
        )
        experiments = [experiment.experiment_id for experiment in found]
        ours = f"tags.`{SWEEP_TAG}` = '{self.sweep}'"
        for run in self._pages(
            "search runs",
            lambda token: self.client.search_runs(experiments, ours, ViewType.ALL, _PAGE, page_token=token),
        ):
            if run.data.tags.get(ROLE_TAG) != DISCARDED:
                self.learn(run)
        places = sorted({run.experiment_id for run in self.runs.values()})
        if places and self.has_models:
            for model in self._pages(
                "search models",
                lambda token: self.client.search_logged_models(places, ours, page_token=token),
            ):
                if MODEL_TAG in model.tags:  # a program that talks to the server itself makes its models, too
                    self.models[model.tags[MODEL_TAG]] = model.model_id

    def refresh(self) -> None:
        """Learns anew what there is: others make runs here, too."""
        self.runs = {}
        self._read_back()

    def learn(self, run: Any) -> KnownRun:
        tags = run.data.tags
        known = KnownRun(
            run_id=run.info.run_id,
            vm_id=tags[RUN_TAG],
            experiment_id=run.info.experiment_id,
            role=tags[ROLE_TAG],
            job=int(tags[JOB_TAG]) if JOB_TAG in tags else None,
            position=Position.from_text(tags[POSITION_TAG]) if POSITION_TAG in tags else Position(),
            ended_attempt=int(tags[ENDED_TAG]) if ENDED_TAG in tags else None,
            has_parent=PARENT_TAG in tags,
            started=run.info.start_time,
        )
        self.runs[known.vm_id] = known
        self.folders.learn(known.run_id, tags)
        return known

    def create_run(
        self, experiment_id: str, start_time: int, tags: dict[str, str], name: str | None
    ) -> KnownRun:
        """``tags`` hold ``RUN_TAG`` and the like: written with the run, no crash can part them from it."""
        fitting = {key: value[:LONGEST_TAG] for key, value in tags.items()}
        return self.learn(
            self.call(
                "create a run", lambda: self.client.create_run(experiment_id, start_time, fitting, name)
            )
        )

    def adopted(self, run: KnownRun, vm_id: str) -> None:
        """A waiting run is the one that a program knows as ``vm_id``."""
        del self.runs[run.vm_id]
        run.vm_id = vm_id
        self.runs[vm_id] = run

    def discard(self, run: KnownRun) -> None:
        """Deletes a run that another one has replaced."""
        self.set_tags(run.run_id, {ROLE_TAG: DISCARDED})
        self.call("delete a run", lambda: self.client.delete_run(run.run_id))
        del self.runs[run.vm_id]

    def tidy(self) -> None:
        """Discards what a killed relay left beside what replaced it."""
        for run in list(self.runs.values()):
            if run.is_waiting and run.job is not None and self.point(run.job) is not run:
                self.discard(run)

    def set_status(self, run_id: str, status: str) -> None:
        self.call("take a run's status", lambda: self.client.update_run(run_id, status=status))

    def rename(self, run_id: str, name: str) -> None:
        self.call("take a run's name", lambda: self.client.update_run(run_id, name=name))

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Values that are too long are cut: these are tags of ours, or were taken by MLflow on the VM."""
        from mlflow.entities import RunTag

        batch = [RunTag(key, value[:LONGEST_TAG]) for key, value in tags.items() if value]
        for start in range(0, len(batch), _MOST_TAGS):
            some = batch[start : start + _MOST_TAGS]
            self.call("take tags", partial(self.client.log_batch, run_id, tags=some))

    def run_id(self, vm_id: str) -> str:
        """:raises Unknown: no run is known by that id."""
        if vm_id not in self.runs:
            raise Unknown("the record that made its run is missing")
        return self.runs[vm_id].run_id

    def model_id(self, vm_model: str) -> str:
        """:raises Unknown: no model is known by that id."""
        if vm_model not in self.models:
            raise Unknown("the record that made its model is missing")
        return self.models[vm_model]

    def folder_of(self, vm_model: str) -> ModelFolder | None:
        """In a store without models: where its files go; None where a later model's go there.

        :raises Unknown: no model is known by that id.
        """
        if vm_model not in self.folders:
            raise Unknown("the record that made its model is missing")
        return self.folders[vm_model] if self.folders.has_its_own(vm_model) else None

    def of_job(self, num: int) -> list[KnownRun]:
        return [run for run in list(self.runs.values()) if run.job == num]

    def point(self, num: int) -> KnownRun | None:
        """The run that stands for the job."""
        points = [run for run in self.of_job(num) if run.role == "point"]
        return min(points, key=lambda run: run.is_waiting, default=None)

    @property
    def parent(self) -> KnownRun | None:
        return next((run for run in list(self.runs.values()) if run.role == "sweep"), None)

    # Experiments

    def experiment(self, name: str, location: str | None = None, tags: dict[str, str] | None = None) -> str:
        """Its id; made where there is none, taken out of the bin where somebody put it there."""
        if name not in self._experiments:
            self._experiments[name] = self.call(
                "make an experiment", lambda: self._find_experiment(name, location, tags)
            )
        return self._experiments[name]

    def _find_experiment(self, name: str, location: str | None, tags: dict[str, str] | None) -> str:
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(name)
        if found is None:
            try:
                made: str = self.client.create_experiment(name, location, tags)
            except MlflowException as error:
                found = self.client.get_experiment_by_name(name)  # somebody else may have made it since
                if found is None:
                    raise error
            else:
                return made
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        experiment_id: str = found.experiment_id
        return experiment_id

    def forget_experiment(self, name: str) -> None:
        self._experiments.pop(name, None)

    # Artifacts

    def artifacts(self, run_id: str) -> ArtifactRepository:
        """Of a run: where files are put, listed and fetched."""
        from hydra_gce.tracking import versions

        if run_id not in self._artifacts:
            uri = self.client.get_run(run_id).info.artifact_uri
            self._artifacts[run_id] = versions.artifacts_at(uri, self.uri)
        return self._artifacts[run_id]

    def log_artifact(self, run_id: str, local: str, below: str | None = None) -> None:
        self.artifacts(run_id).log_artifact(local, below)

    def log_text(self, run_id: str, text: str, path: str) -> None:
        with tempfile.TemporaryDirectory(prefix="hydra-gce-text-") as directory:
            local = Path(directory, path.rpartition("/")[2])
            local.write_text(text, encoding="utf-8")
            self.log_artifact(run_id, str(local), path.rpartition("/")[0] or None)

    def delete_artifacts(self, location: str, path: str | None = None) -> None:
        """What lies at ``path`` below ``location``, a file or a folder, or all of it. What is gone is no error.

        :raises Refused: it stays there.
        """
        import requests

        from hydra_gce.tracking import versions

        try:
            versions.artifacts_at(location, self.uri).delete_artifacts(path)
        except FileNotFoundError:
            return
        except (requests.ConnectionError, requests.Timeout):
            raise
        except Exception as error:  # each kind of store has its own; what stays costs room, and nothing else
            raise Refused(f"files in {without_password(location)} could not be deleted: {error}") from error

    # Ids

    def translate(self, text: str) -> str:
        """``text`` with the ids that programs on VMs know replaced by those that the store gave."""
        return _VM_ID.sub(lambda match: self._translated(match[1] or "", match[2]), text)

    def pairs(self, rows: list[list[str]]) -> dict[str, str]:
        """Tags or params of a journal, translated."""
        return {key: self.translate(value) for key, value in rows}

    def _translated(self, scheme: str, vm_id: str) -> str:
        if scheme and vm_id in self.folders:
            return self.folders[vm_id].uri
        if vm_id in self.runs:
            return scheme + self.runs[vm_id].run_id
        return scheme + self.models.get(vm_id, vm_id)
