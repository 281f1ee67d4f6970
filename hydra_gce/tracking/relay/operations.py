"""What each record of a journal, batches aside, does to the store. Doing it again changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from mlflow.entities import RunTag

from hydra_gce.tracking import versions
from hydra_gce.tracking.records import dataset_from_json
from hydra_gce.tracking.relay.calls import Refused
from hydra_gce.tracking.relay.destination import Destination
from hydra_gce.tracking.relay.models import models_of, note_in_history
from hydra_gce.tracking.relay.runs import Runs

_NAME_TAG = "mlflow.runName"
_NOTE_TAG = "mlflow.note.content"


class Operations:
    def __init__(self, destination: Destination, num: int, runs: Runs) -> None:
        self._to = destination
        self._client = destination.client
        self._num = num
        self._runs = runs
        self._models = models_of(destination, num, runs)
        self._by_name: dict[str, Callable[[dict[str, Any]], None]] = {
            "experiment": self._experiment,
            "experiment_tag": self._experiment_tag,
            "delete_experiment_tag": self._delete_experiment_tag,
            "rename_experiment": self._rename_experiment,
            "delete_experiment": self._delete_experiment,
            "restore_experiment": self._restore_experiment,
            "run": self._run,
            "run_info": self._run_info,
            "delete_run": self._delete_run,
            "restore_run": self._restore_run,
            "delete_tag": self._delete_tag,
            "inputs": self._inputs,
            "model_history": self._model_history,
            **self._models.records,
        }

    def apply(self, op: str, args: dict[str, Any]) -> None:
        """:raises Refused: this cannot be done."""
        if op not in self._by_name:
            raise Refused(f"this version of hydra-gce-launcher knows no record '{op}'")
        self._by_name[op](args)

    def _experiment(self, args: dict[str, Any]) -> None:
        self._to.experiment(args["experiment"], args["artifact_location"], self._to.pairs(args["tags"]))

    def _experiment_tag(self, args: dict[str, Any]) -> None:
        for key, value in self._to.pairs(args["tags"]).items():
            self._client.set_experiment_tag(self._to.experiment(args["experiment"]), key, value)

    def _delete_experiment_tag(self, args: dict[str, Any]) -> None:
        if not versions.CLIENT_DELETES_EXPERIMENT_TAGS:
            raise Refused("this version of MLflow deletes no tags of experiments")
        self._client.delete_experiment_tag(self._to.experiment(args["experiment"]), args["key"])

    def _rename_experiment(self, args: dict[str, Any]) -> None:
        if self._client.get_experiment_by_name(args["name"]) is None:
            self._client.rename_experiment(self._to.experiment(args["experiment"]), args["name"])
        self._to.forget_experiment(args["experiment"])

    def _delete_experiment(self, args: dict[str, Any]) -> None:
        self._client.delete_experiment(self._to.experiment(args["experiment"]))
        self._to.forget_experiment(args["experiment"])

    def _restore_experiment(self, args: dict[str, Any]) -> None:
        self._to.experiment(args["experiment"])  # finding it restores it

    def _run(self, args: dict[str, Any]) -> None:
        known = self._to.runs.get(args["run"])
        own = self._to.pairs(args["tags"])
        if known is not None:  # a later attempt goes on with it
            self._client.update_run(known.run_id, status="RUNNING")
            kept = {
                key: value for key, value in own.items() if not key.startswith("mlflow.") or key == _NOTE_TAG
            }
            self._client.log_batch(known.run_id, tags=[RunTag(key, value) for key, value in kept.items()])
            return
        own.pop(_NAME_TAG, None)  # it is given as the name
        self._runs.begin(self._num, args, own)

    def _run_info(self, args: dict[str, Any]) -> None:
        run_id, status = self._to.run_id(args["run"]), args["status"]
        if args["name"]:
            self._client.update_run(run_id, name=args["name"])
        if status in ("FINISHED", "FAILED", "KILLED"):
            self._to.end_run(run_id, status, args["end_time"])
        elif status:
            self._client.update_run(run_id, status=status)

    def _delete_run(self, args: dict[str, Any]) -> None:
        self._client.delete_run(self._to.run_id(args["run"]))

    def _restore_run(self, args: dict[str, Any]) -> None:
        self._client.restore_run(self._to.run_id(args["run"]))

    def _delete_tag(self, args: dict[str, Any]) -> None:
        run_id = self._to.run_id(args["run"])
        if args["key"] in self._client.get_run(run_id).data.tags:
            self._client.delete_tag(run_id, args["key"])

    def _inputs(self, args: dict[str, Any]) -> None:
        run_id = self._to.run_id(args["run"])
        models = self._models.new_inputs(run_id, args["models"])
        datasets = [dataset_from_json(fields) for fields in args["datasets"]]
        if models:
            self._client.log_inputs(run_id, datasets, models=models)
        elif datasets:
            self._client.log_inputs(run_id, datasets)

    def _model_history(self, args: dict[str, Any]) -> None:
        entry = json.loads(self._to.translate(json.dumps(args["model"])))
        note_in_history(self._to, self._to.run_id(args["run"]), entry)
