"""The newest and the best checkpoint in MLflow, while the training goes on.

A thread follows the directory of checkpoints: what is new there becomes a logged model, with its step and its score,
and what is gone there is deleted in MLflow. It takes one after the other, the older first, and looks again before
each: one that was superseded in the meantime is left out. The training waits for none of it before its end.
"""

import json
import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol

import mlflow
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ENDPOINT_NOT_FOUND, RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from unet.checkpoints import TORN, Checkpoints
from unet.description import Description
from unet.model_files import ModelFiles
from unet.state import Notes, TrainingState

log = logging.getLogger(__name__)

_RECORD = "mlflow.json"
"""Beside the checkpoints: those that MLflow has, whole or begun. On another machine a search may not find them."""

_FOLDER = "checkpoints"


class _Shelf(Protocol):
    """Where MLflow has the checkpoints of a run; each is known by a name that MLflow gave."""

    def found(self) -> tuple[dict[int, str], dict[int, str]]:
        """Those that are whole, and those that are begun, by their steps, as far as a search finds them."""

    def begin(self, step: int) -> str:
        """Makes room for one, and gives its name; one that was begun before is gone on with."""

    def fill(self, name: str, step: int, folder: Path, metrics: list[Metric]) -> None:
        """Records what is in the folder: afterwards it is whole."""

    def take_away(self, name: str) -> None:
        """One that is gone already is no error."""


@contextmanager
def checkpoint_models(
    run_id: str, state: TrainingState, checkpoints: Checkpoints, description: Description
) -> Iterator[None]:
    """While the context is open, MLflow's run has the newest and the best of `checkpoints`, if the settings say so.

    Without an exception it ends when MLflow has them all.
    """
    if not state.settings.tracking.checkpoints:
        yield
        return
    files = ModelFiles(state, description)
    follower = _Follower(run_id, checkpoints, files, state.settings.trainer.monitor)
    checkpoints.changed = follower.look
    with follower:
        yield


class _Follower:
    def __init__(self, run_id: str, checkpoints: Checkpoints, files: ModelFiles, monitor: str) -> None:
        self._run_id, self._checkpoints, self._files = run_id, checkpoints, files
        self._score_name = f"checkpoint_val_{monitor}"
        self._record = checkpoints.directory / _RECORD
        self._shelf: _Shelf | None = None
        self._logged: dict[int, str] = {}
        self._begun: dict[int, str] = {}
        self._damaged: set[int] = set()
        self._wake, self._is_ending = threading.Event(), threading.Event()
        # A daemon: a process that has to end, because its machine does, waits for no upload.
        self._thread = threading.Thread(target=self._work, name="checkpoint-models", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()
        self.look()  # the attempt before may have been stopped in the middle of one

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self._checkpoints.changed = lambda: None
            return
        self._is_ending.set()
        self.look()
        self._thread.join()

    def look(self) -> None:
        """There is news in the directory. Returns at once."""
        self._wake.set()

    def _work(self) -> None:
        is_last = False
        while not is_last:
            self._wake.wait()
            self._wake.clear()
            is_last = self._is_ending.is_set()
            try:
                self._follow()
            except Exception as error:  # whatever it is: the training goes on without it
                log.warning("MLflow did not take the newest checkpoint: %s", error)

    def _follow(self) -> None:
        if self._shelf is None:
            self._shelf = self._open()
        while (step := self._next()) is not None:
            self._put(self._shelf, step)
        for step in {*self._logged, *self._begun} - set(self._checkpoints.steps()):
            self._shelf.take_away(self._logged.get(step) or self._begun[step])
            self._logged.pop(step, None)
            self._begun.pop(step, None)
            self._write_record()

    def _next(self) -> int | None:
        """The oldest of those that MLflow should have and has not, or not whole."""
        steps = self._checkpoints.steps()
        wanted = {*steps[-1:], *self._checkpoints.best_steps(), *(self._begun.keys() & set(steps))}
        return min(wanted - self._logged.keys() - self._damaged, default=None)

    def _put(self, shelf: _Shelf, step: int) -> None:
        path = self._checkpoints.path(step)
        with tempfile.TemporaryDirectory(prefix="unet-checkpoint-") as directory:
            folder = Path(directory, name_of(step))
            try:
                written = int(path.stat().st_mtime * 1000)
                notes = self._files.write(path, folder, self._run_id)
            except TORN as error:
                if path.exists():  # or it is superseded and gone
                    log.warning("Checkpoint %s is not logged: %s", path, error)
                    self._damaged.add(step)
                return
            self._begun[step] = shelf.begin(step)
            self._write_record()
            shelf.fill(self._begun[step], step, folder, self._metrics(notes, written))
        self._logged[step] = self._begun.pop(step)
        self._write_record()

    def _metrics(self, notes: Notes, written: int) -> list[Metric]:
        """Its score, where it was validated. The time is the file's: logged again, it is the same metric."""
        return [] if notes.score is None else [Metric(self._score_name, notes.score, written, notes.step)]

    def _open(self) -> _Shelf:
        shelf = _shelf_of(self._run_id)
        self._read_record()
        whole, begun = shelf.found()
        self._logged |= whole
        self._begun = {step: name for step, name in (self._begun | begun).items() if step not in self._logged}
        return shelf

    def _read_record(self) -> None:
        if not self._record.exists():
            return
        record = json.loads(self._record.read_text(encoding="utf-8"))
        if (
            record["run"] == self._run_id
        ):  # those of another run, which this one has taken over from, are that run's
            self._logged = {int(step): name for step, name in record["logged"].items()}
            self._begun = {int(step): name for step, name in record["begun"].items()}

    def _write_record(self) -> None:
        partial = self._record.with_suffix(".partial")
        record = {"run": self._run_id, "logged": self._logged, "begun": self._begun}
        partial.write_text(json.dumps(record), encoding="utf-8")
        os.replace(partial, self._record)


def name_of(step: int) -> str:
    """What MLflow calls the checkpoint after so many steps."""
    return f"checkpoint-{step}"


def _shelf_of(run_id: str) -> _Shelf:
    """Logged models, where client and server know them: that is MLflow from version 3 on."""
    client = mlflow.MlflowClient()
    if not hasattr(client, "search_logged_models"):
        return _RunArtifacts(client, run_id)
    try:
        return _LoggedModels(client, run_id)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(ENDPOINT_NOT_FOUND):
            raise
        return _RunArtifacts(client, run_id)


class _LoggedModels:
    def __init__(self, client: mlflow.MlflowClient, run_id: str) -> None:
        from mlflow.entities import LoggedModelStatus

        self._client, self._run_id = client, run_id
        self._experiment_id = client.get_run(run_id).info.experiment_id
        self._whole: dict[int, str] = {}
        self._begun: dict[int, str] = {}
        token = None
        while True:
            page = client.search_logged_models(
                [self._experiment_id], f"source_run_id = '{run_id}'", page_token=token
            )
            for model in page:
                prefix, _, step = model.name.partition("-")
                if prefix != "checkpoint" or not step.isdigit():
                    continue
                group = self._whole if model.status == LoggedModelStatus.READY else self._begun
                group[int(step)] = model.model_id
            token = page.token
            if not token:
                break

    def found(self) -> tuple[dict[int, str], dict[int, str]]:
        return dict(self._whole), dict(self._begun)

    def begin(self, step: int) -> str:
        if step not in self._begun:
            self._begun[step] = self._client.create_logged_model(
                self._experiment_id, name=name_of(step), source_run_id=self._run_id, model_type="checkpoint"
            ).model_id
        return self._begun[step]

    def fill(self, name: str, step: int, folder: Path, metrics: list[Metric]) -> None:
        from mlflow.entities import LoggedModelOutput, LoggedModelStatus

        client, run_id = self._client, self._run_id
        client.log_model_artifacts(name, str(folder))
        outputs = client.get_run(run_id).outputs
        if name not in [output.model_id for output in (outputs.model_outputs if outputs else [])]:
            client.log_outputs(run_id, [LoggedModelOutput(name, step)])
        if metrics:
            its = [Metric(one.key, one.value, one.timestamp, one.step, model_id=name) for one in metrics]
            client.log_batch(run_id, metrics=its)
        client.finalize_logged_model(name, LoggedModelStatus.READY)

    def take_away(self, name: str) -> None:
        """Its files, too: MLflow alone would keep them until its garbage collection."""
        with _if_it_is_there():
            location = self._client.get_logged_model(name).artifact_location
            get_artifact_repository(location).delete_artifacts()
        with _if_it_is_there():
            self._client.delete_logged_model(name)


class _RunArtifacts:
    """The same directories, as artifacts of the run: `checkpoints/checkpoint-<step>`."""

    def __init__(self, client: mlflow.MlflowClient, run_id: str) -> None:
        self._client, self._run_id = client, run_id
        self._location = client.get_run(run_id).info.artifact_uri

    def found(self) -> tuple[dict[int, str], dict[int, str]]:
        return {}, {}  # what is there may be half of one; the record tells

    def begin(self, step: int) -> str:
        return f"{_FOLDER}/{name_of(step)}"

    def fill(self, name: str, step: int, folder: Path, metrics: list[Metric]) -> None:
        self._client.log_artifacts(self._run_id, str(folder), name)
        if metrics:
            self._client.log_batch(self._run_id, metrics=metrics)

    def take_away(self, name: str) -> None:
        get_artifact_repository(self._location).delete_artifacts(name)


@contextmanager
def _if_it_is_there() -> Iterator[None]:
    try:
        yield
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise
