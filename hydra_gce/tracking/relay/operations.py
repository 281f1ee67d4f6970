"""What each record of a journal, batches aside, does to the store. Doing it again changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from mlflow.entities import LoggedModelInput, LoggedModelOutput, RunTag

from hydra_gce.tracking.records import dataset_from_json
from hydra_gce.tracking.relay.destination import MODEL_TAG, SWEEP_TAG, Destination, Refused
from hydra_gce.tracking.relay.runs import Runs

_NAME_TAG = "mlflow.runName"
_NOTE_TAG = "mlflow.note.content"
_HISTORY_TAG = "mlflow.log-model.history"


class Operations:
    def __init__(self, destination: Destination, num: int, runs: Runs) -> None:
        self._to = destination
        self._client = destination.client
        self._num = num
        self._runs = runs
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
            "outputs": self._outputs,
            "model_history": self._model_history,
            "model": self._model,
            "model_params": self._model_params,
            "model_status": self._model_status,
            "model_tags": self._model_tags,
            "delete_model_tag": self._delete_model_tag,
            "delete_model": self._delete_model,
        }

    def apply(self, op: str, args: dict[str, Any]) -> None:
        """:raises Refused: this cannot be done."""
        if op not in self._by_name:
            raise Refused(f"this version of hydra-gce-launcher knows no record '{op}'")
        self._by_name[op](args)

    def _pairs(self, rows: list[list[str]]) -> dict[str, str]:
        return {key: self._to.translate(value) for key, value in rows}

    def _experiment(self, args: dict[str, Any]) -> None:
        self._to.experiment(args["experiment"], args["artifact_location"], self._pairs(args["tags"]))

    def _experiment_tag(self, args: dict[str, Any]) -> None:
        for key, value in self._pairs(args["tags"]).items():
            self._client.set_experiment_tag(self._to.experiment(args["experiment"]), key, value)

    def _delete_experiment_tag(self, args: dict[str, Any]) -> None:
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
        own = self._pairs(args["tags"])
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
        datasets = [dataset_from_json(fields) for fields in args["datasets"]]
        ids = [self._to.model_id(model) for model in args["models"]]
        there = self._models_of(run_id, "inputs") if ids else set()
        models = [LoggedModelInput(id) for id in ids if id not in there]
        self._client.log_inputs(run_id, datasets, **({"models": models} if models else {}))

    def _outputs(self, args: dict[str, Any]) -> None:
        run_id = self._to.run_id(args["run"])
        there = self._models_of(run_id, "outputs")
        outputs = [LoggedModelOutput(self._to.model_id(model), step) for model, step in args["models"]]
        missing = [output for output in outputs if output.model_id not in there]
        if missing:
            self._client.log_outputs(run_id, missing)

    def _models_of(self, run_id: str, side: str) -> set[str]:
        """The ids of the models that the run has already: a database takes none of them twice."""
        run = self._client.get_run(run_id)
        found = (
            run.inputs and run.inputs.model_inputs
            if side == "inputs"
            else run.outputs and run.outputs.model_outputs
        )
        return {model.model_id for model in found or ()}

    def _model_history(self, args: dict[str, Any]) -> None:
        run_id = self._to.run_id(args["run"])
        history = json.loads(self._client.get_run(run_id).data.tags.get(_HISTORY_TAG, "[]"))
        entry = json.loads(self._to.translate(json.dumps(args["model"])))
        if entry not in history:
            self._client.set_tag(run_id, _HISTORY_TAG, json.dumps([*history, entry]))

    def _model(self, args: dict[str, Any]) -> None:
        if args["model"] in self._to.models:
            return
        run_id = self._to.run_id(args["run"]) if args["run"] else None
        named = args["experiment"]
        model = self._client.create_logged_model(
            self._to.experiment(named) if named else self._to.runs[args["run"]].experiment_id,
            name=args["name"],
            source_run_id=run_id,
            tags={**self._pairs(args["tags"]), MODEL_TAG: args["model"], SWEEP_TAG: self._to.sweep},
            params=self._pairs(args["params"]),
            model_type=args["type"],
        )
        self._to.models[args["model"]] = model.model_id
        self._to.deleted_models.discard(args["model"])

    def _model_status(self, args: dict[str, Any]) -> None:
        self._client.finalize_logged_model(self._to.model_id(args["model"]), args["status"])

    def _model_params(self, args: dict[str, Any]) -> None:
        model_id, params = self._to.model_id(args["model"]), self._pairs(args["params"])
        there = self._client.get_logged_model(model_id).params
        missing = {key: value for key, value in params.items() if key not in there}
        if missing:
            self._client.log_model_params(model_id, missing)

    def _model_tags(self, args: dict[str, Any]) -> None:
        self._client.set_logged_model_tags(self._to.model_id(args["model"]), self._pairs(args["tags"]))

    def _delete_model_tag(self, args: dict[str, Any]) -> None:
        model_id = self._to.model_id(args["model"])
        if args["key"] in self._client.get_logged_model(model_id).tags:
            self._client.delete_logged_model_tag(model_id, args["key"])

    def _delete_model(self, args: dict[str, Any]) -> None:
        self._to.deleted_models.add(args["model"])
        model_id = self._to.models.pop(args["model"], None)
        if model_id is None:
            return  # it is gone already
        location = self._client.get_logged_model(model_id).artifact_location
        try:
            if not args.get("files", True):
                self._to.delete_artifacts(location)
        finally:
            self._client.delete_logged_model(model_id)
