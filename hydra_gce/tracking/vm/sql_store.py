"""The tracking store of a program on a VM: MLflow's own over a database there, and a journal.

Metrics, params and tags are checked as MLflow would and go to the journal alone: see ``view``. Any other method that
writes does what MLflow's does, then appends what was written to the journal; all that reads is MLflow's. Experiments
stand in the journal by name, since their numbers mean nothing elsewhere. A method that another version of MLflow does
not call does no harm here.
"""

# mypy: disallow-untyped-calls=False
# MLflow's stores have no annotations.

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from mlflow.entities import RunStatus
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.validation import (
    _validate_batch_log_data,
    _validate_batch_log_limits,
    _validate_metric,
    _validate_param,
    _validate_param_keys_unique,
    _validate_run_id,
    _validate_tag,
)

from hydra_gce.tracking.environment import ARTIFACTS, DATABASE, Point
from hydra_gce.tracking.journal import FILE_NAME, Journal
from hydra_gce.tracking.records import batch_to_json, dataset_to_json, pairs_to_json
from hydra_gce.tracking.vm.database import create, open_quickly
from hydra_gce.tracking.vm.one_metric import OneMetric
from hydra_gce.tracking.vm.open_runs import OpenRun, needs_the_database
from hydra_gce.tracking.vm.view import DATABASE_ROOM, View

_PARENT_TAG = "mlflow.parentRunId"
_NAME_TAG = "mlflow.runName"


class _Here(threading.local):
    """Of one thread: how many of MLflow's own writes it is within."""

    depth = 0


class SqlJournalStore(SqlAlchemyStore):
    """:param store_uri: ``hydra-gce:///abs/dir``; :param artifact_uri: not used, artifacts lie in the
    directory too.
    """

    def __init__(self, store_uri: str, artifact_uri: str | None = None) -> None:
        self._directory = Path(unquote(urlparse(store_uri).path))
        self._database = self._directory / DATABASE
        self._journal = Journal(self._directory / FILE_NAME)
        self._point = Point.from_environment(os.environ)
        self._newest_experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", "")
        self._runs: dict[str, OpenRun] = {}
        self._one_metric = OneMetric()
        self._here = _Here()
        with self._journal.exclusive:
            create(self._database)
        super().__init__(f"sqlite:///{self._database}", str(self._directory / ARTIFACTS))
        open_quickly(self.engine)
        self._view = View(self.engine, self._journal)
        self._managed_session = self.ManagedSessionMaker
        self.ManagedSessionMaker = self._session

    # Experiments

    def get_experiment_by_name(self, experiment_name: str) -> Any:
        experiment = super().get_experiment_by_name(experiment_name)
        if experiment is not None:
            self._newest_experiment = experiment_name
        return experiment

    def create_experiment(self, name: str, artifact_location: str | None = None, tags: Any = None) -> Any:
        with self._writing() as write:
            experiment_id = super().create_experiment(name, None, tags)
            self._newest_experiment = name
            write(
                "experiment", experiment=name, artifact_location=artifact_location, tags=pairs_to_json(tags)
            )
        return experiment_id

    def rename_experiment(self, experiment_id: str, new_name: str) -> None:
        with self._writing() as write:
            name = self._experiment_name(experiment_id)
            super().rename_experiment(experiment_id, new_name)
            write("rename_experiment", experiment=name, name=new_name)

    def delete_experiment(self, experiment_id: str) -> None:
        with self._writing() as write:
            name = self._experiment_name(experiment_id)
            super().delete_experiment(experiment_id)
            write("delete_experiment", experiment=name)

    def restore_experiment(self, experiment_id: str) -> None:
        with self._writing() as write:
            super().restore_experiment(experiment_id)
            write("restore_experiment", experiment=self._experiment_name(experiment_id))

    def set_experiment_tag(self, experiment_id: str, tag: Any) -> None:
        with self._writing() as write:
            super().set_experiment_tag(experiment_id, tag)
            write(
                "experiment_tag", experiment=self._experiment_name(experiment_id), tags=pairs_to_json([tag])
            )

    def delete_experiment_tag(self, experiment_id: str, key: str) -> None:
        with self._writing() as write:
            super().delete_experiment_tag(experiment_id, key)
            write("delete_experiment_tag", experiment=self._experiment_name(experiment_id), key=key)

    # Runs

    def create_run(
        self, experiment_id: str, user_id: str, start_time: int, tags: Any, run_name: str | None
    ) -> Any:
        given = {tag.key: tag.value for tag in tags or []}
        name = run_name or given.get(_NAME_TAG) or ""
        with self._writing() as write:
            experiment = self._experiment_name(experiment_id)
            run = super().create_run(experiment_id, user_id, start_time, tags, run_name)
            run_id = self._next_run_id(experiment, given.get(_PARENT_TAG, ""), name) or run.info.run_id
            self._adopt(run.info.run_id, run_id)
            write(
                "run",
                run=run_id,
                experiment=experiment,
                start_time=start_time,
                tags=pairs_to_json(tags),
                name=name,
            )
        return super().get_run(run_id)

    def get_run(self, run_id: str) -> Any:
        """As MLflow's; a run of this job that an earlier attempt made on another VM is taken up here."""
        try:
            return super().get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST" or not (
                self._point and self._point.owns(run_id)
            ):
                raise
        self._take_up(run_id)
        return super().get_run(run_id)

    def update_run_info(
        self, run_id: str, run_status: Any, end_time: int | None, run_name: str | None
    ) -> Any:
        with self._writing(run_id) as write:
            info = super().update_run_info(run_id, run_status, end_time, run_name)
            status = None if run_status is None else RunStatus.to_string(run_status)
            write("run_info", run=run_id, status=status, end_time=end_time, name=run_name)
        return info

    def delete_run(self, run_id: str) -> None:
        with self._writing(run_id) as write:
            super().delete_run(run_id)
            write("delete_run", run=run_id)

    def restore_run(self, run_id: str) -> None:
        with self._writing(run_id) as write:
            super().restore_run(run_id)
            write("restore_run", run=run_id)

    # MLflow's own methods call these too: what they write is part of the record that the outer call makes.

    def log_metric(self, run_id: str, metric: Any) -> None:
        if self._here.depth:
            super().log_metric(run_id, metric)
            return
        args = self._one_metric.args(run_id, metric)
        if args is None:
            _validate_metric(metric.key, metric.value, metric.timestamp, metric.step)
            self._one_metric.has_passed(metric)
            self._log(run_id, [metric], [], [])
            return
        with self._journal.exclusive:
            self._open_run(run_id)
            self._journal.append_json("batch", args, time.time())

    def log_param(self, run_id: str, param: Any) -> Any:
        if self._here.depth:
            return super().log_param(run_id, param)
        checked = _validate_param(param.key, param.value)
        self._log(run_id, [], [checked], [])
        return checked

    def set_tag(self, run_id: str, tag: Any) -> None:
        if self._here.depth:
            super().set_tag(run_id, tag)
        else:
            self._log(run_id, [], [], [_validate_tag(tag.key, tag.value)])

    def log_batch(self, run_id: str, metrics: Any, params: Any, tags: Any) -> None:
        if self._here.depth:
            super().log_batch(run_id, metrics, params, tags)
            return
        _validate_run_id(run_id)
        metrics, params, tags = _validate_batch_log_data(metrics, params, tags)
        _validate_batch_log_limits(metrics, params, tags)
        _validate_param_keys_unique(params)
        self._log(run_id, metrics, params, tags)

    def delete_tag(self, run_id: str, key: str) -> None:
        with self._writing(run_id) as write:
            super().delete_tag(run_id, key)
            write("delete_tag", run=run_id, key=key)

    def log_inputs(self, run_id: str, datasets: Any = None, models: Any = None) -> None:
        with self._writing(run_id) as write:
            # Versions without logged models know no such argument.
            super().log_inputs(run_id, datasets, **({"models": models} if models else {}))
            write(
                "inputs",
                run=run_id,
                datasets=[dataset_to_json(dataset) for dataset in datasets or []],
                models=[model.model_id for model in models or []],
            )

    # Models

    def record_logged_model(self, run_id: str, mlflow_model: Any) -> None:
        with self._writing(run_id) as write:
            super().record_logged_model(run_id, mlflow_model)
            write("model_history", run=run_id, model=mlflow_model.get_tags_dict())

    def log_outputs(self, run_id: str, models: Any) -> None:
        with self._writing(run_id) as write:
            super().log_outputs(run_id, models)
            write("outputs", run=run_id, models=[[model.model_id, model.step] for model in models])

    def create_logged_model(
        self,
        experiment_id: str,
        name: str | None = None,
        source_run_id: str | None = None,
        tags: Any = None,
        params: Any = None,
        model_type: str | None = None,
    ) -> Any:
        with self._writing(source_run_id) as write:
            made = super().create_logged_model(experiment_id, name, source_run_id, tags, params, model_type)
            model_id = self._next_model_id(source_run_id, made.name) or made.model_id
            self._adopt_model(made.model_id, model_id)
            write(
                "model",
                model=model_id,
                experiment=self._experiment_beside(source_run_id, experiment_id),
                name=made.name,
                run=source_run_id,
                tags=pairs_to_json(tags),
                params=pairs_to_json(params),
                type=model_type,
            )
        return self.get_logged_model(model_id)

    # A record of a model names the run, too: by the run's position in the journal a relay knows what it has done.

    def log_logged_model_params(self, model_id: str, params: Any) -> None:
        with self._writing() as write:
            super().log_logged_model_params(model_id, params)
            run = self._run_of(model_id)
            write("model_params", model=model_id, run=run, params=pairs_to_json(params))

    def finalize_logged_model(self, model_id: str, status: Any) -> Any:
        with self._writing() as write:
            model = super().finalize_logged_model(model_id, status)
            write("model_status", model=model_id, run=self._run_of(model_id), status=str(status))
        return model

    def set_logged_model_tags(self, model_id: str, tags: Any) -> None:
        with self._writing() as write:
            super().set_logged_model_tags(model_id, tags)
            write("model_tags", model=model_id, run=self._run_of(model_id), tags=pairs_to_json(tags))

    def delete_logged_model_tag(self, model_id: str, key: str) -> None:
        with self._writing() as write:
            super().delete_logged_model_tag(model_id, key)
            write("delete_model_tag", model=model_id, run=self._run_of(model_id), key=key)

    def delete_logged_model(self, model_id: str) -> None:
        """As MLflow's; also one that an earlier attempt made on another VM, which is not to be seen here."""
        is_known = self._is_model(model_id)
        with self._writing() as write:
            run = None
            if is_known or not (self._point and self._point.owns_model(model_id)):
                run = self._run_of(model_id)
                super().delete_logged_model(model_id)
            # MLflow keeps a deleted model's files. Where the program has deleted them before, so does the relay.
            has_files = any((self._models / model_id).glob("*"))
            write("delete_model", model=model_id, run=run, files=has_files)

    # What is behind them

    def _log(self, run_id: str, metrics: Sequence[Any], params: Sequence[Any], tags: Sequence[Any]) -> None:
        """Appends a batch to the journal; the database learns of it when somebody reads."""
        record = batch_to_json(run_id, metrics, params, tags)
        if needs_the_database(record):
            with self._writing(run_id) as write:
                super().log_batch(run_id, metrics, params, tags)
                write("batch", **record)
            return
        with self._journal.exclusive:
            self._open_run(run_id).take(params)
            self._journal.append("batch", record, time.time())

    def _open_run(self, run_id: str) -> OpenRun:
        """The caller holds the journal.

        :raises MlflowException: the run was deleted.
        """
        if self._journal.others_wrote:
            self._journal.others_wrote = False
            self._runs.clear()
        known = self._runs.get(run_id)
        if known is None:
            known = self._runs[run_id] = OpenRun.of(self.get_run(run_id))
        return known

    @contextmanager
    def _session(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """MLflow's own session on a database that has all of the journal."""
        if not self._here.depth:
            self._view.catch_up()
        with self._managed_session(*args, **kwargs) as session:
            yield session

    @contextmanager
    def _writing(self, run_id: str | None = None) -> Iterator[Any]:
        """Gives what appends a record. The journal keeps the order in which the database was written.

        A write that MLflow makes of other writes is one record: that of the outermost call.
        """
        if run_id and not self._here.depth:
            self.get_run(run_id)
        depth = self._here.depth
        written = False

        def write(op: str, **args: Any) -> None:
            nonlocal written
            if depth == 0:
                self._journal.append(op, args, time.time())
                written = True

        with self._journal.exclusive:
            if depth == 0:
                self._journal.wait_for_room(DATABASE_ROOM)
                self._view.catch_up()
            self._here.depth = depth + 1
            try:
                yield write
            finally:
                self._here.depth = depth
            if written:
                self._view.mark()
                self._runs.clear()

    def _experiment_name(self, experiment_id: str) -> str:
        name: str = self.get_experiment(experiment_id).name
        return name

    def _take_up(self, run_id: str) -> None:
        experiment = self.get_experiment_by_name(self._newest_experiment) if self._newest_experiment else None
        experiment_id = experiment.experiment_id if experiment else self.DEFAULT_EXPERIMENT_ID
        with self._writing() as write:
            now = int(time.time() * 1000)
            run = super().create_run(experiment_id, "", now, [], None)
            self._adopt(run.info.run_id, run_id)
            name = self._experiment_name(experiment_id)
            write("run", run=run_id, experiment=name, start_time=now, tags=[], name="")

    def _experiment_beside(self, run_id: str | None, experiment_id: str) -> str | None:
        """Its name; None where it is the run's, which an attempt that has only taken the run up may not know."""
        if run_id and self.get_run(run_id).info.experiment_id == experiment_id:
            return None
        return self._experiment_name(experiment_id)

    def _next_model_id(self, run_id: str | None, name: str) -> str | None:
        if self._point is None:
            return None
        first = self._point.model_id(run_id or "", name)
        return self._point.another_model_id() if self._is_model(first) else first

    def _is_model(self, model_id: str) -> bool:
        with closing(sqlite3.connect(self._database, timeout=20)) as database:
            found = database.execute("SELECT 1 FROM logged_models WHERE model_id = ?", (model_id,)).fetchone()
        return found is not None

    def _adopt_model(self, made: str, model_id: str) -> None:
        """Gives a model that MLflow has just made the id and the place for files that it has here."""
        for table in ("logged_model_params", "logged_model_tags"):
            self._execute(f"UPDATE {table} SET model_id = ? WHERE model_id = ?", model_id, made)
        self._execute(
            "UPDATE logged_models SET model_id = ?, artifact_location = ? WHERE model_id = ?",
            model_id,
            str(self._models / model_id),
            made,
        )

    def _run_of(self, model_id: str) -> str | None:
        run: str | None = self.get_logged_model(model_id).source_run_id
        return run

    @property
    def _models(self) -> Path:
        return self._directory / ARTIFACTS / "models"

    def _next_run_id(self, experiment: str, parent: str, name: str) -> str | None:
        if self._point is None:
            return None
        family = self._point.run_family(experiment, parent, name)
        with closing(sqlite3.connect(self._database, timeout=20)) as database:
            (newest,) = database.execute(
                "SELECT max(run_uuid) FROM runs WHERE run_uuid LIKE ?", (family + "____",)
            ).fetchone()
        ordinal = int(newest[len(family) :], 16) + 1 if newest else 0
        return f"{family}{ordinal:04x}"

    def _adopt(self, made: str, run_id: str) -> None:
        """Gives a run that MLflow has just made the id and the place for artifacts that it has here."""
        self._execute("UPDATE tags SET run_uuid = ? WHERE run_uuid = ?", run_id, made)
        location = str(self._directory / ARTIFACTS / run_id)
        self._execute(
            "UPDATE runs SET run_uuid = ?, artifact_uri = ? WHERE run_uuid = ?", run_id, location, made
        )

    def _execute(self, statement: str, *values: str) -> None:
        # On a connection of its own, where SQLite does not enforce foreign keys between two statements.
        with closing(sqlite3.connect(self._database, timeout=20)) as database, database:
            database.execute("PRAGMA synchronous = OFF")
            database.execute(statement, values)
