"""What the records of models do to the store: MLflow 3 has models of their own, MLflow 2 files of the runs that logged
them. Doing it again changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from hydra_gce.tracking.relay.calls import Refused
from hydra_gce.tracking.relay.destination import LONGEST_TAG, MODEL_TAG, SWEEP_TAG, Destination
from hydra_gce.tracking.relay.runs import Runs

HISTORY_TAG = "mlflow.log-model.history"
_IN_HISTORY = ("run_id", "utc_time_created", "artifact_path", "model_uuid")

_Record = Callable[[dict[str, Any]], None]


class LoggedModels:
    """In a store that has models."""

    def __init__(self, to: Destination) -> None:
        self._to = to
        self._client = to.client
        self.records: dict[str, _Record] = {
            "model": self._make,
            "model_params": self._params,
            "model_status": self._status,
            "model_tags": self._tags,
            "delete_model_tag": self._delete_tag,
            "delete_model": self._delete,
            "outputs": self._outputs,
        }

    def new_inputs(self, run_id: str, vm_models: Sequence[str]) -> list[Any]:
        """Those that the run has not: a database takes none of them twice.

        :raises Unknown: one of them is.
        """
        from mlflow.entities import LoggedModelInput

        models = [LoggedModelInput(self._to.model_id(model)) for model in vm_models]
        if not models:
            return []
        inputs = self._client.get_run(run_id).inputs
        return _others(models, inputs.model_inputs if inputs else [])

    def _make(self, args: dict[str, Any]) -> None:
        if args["model"] in self._to.models:
            return
        run_id = self._to.run_id(args["run"]) if args["run"] else None
        named = args["experiment"]
        model = self._client.create_logged_model(
            self._to.experiment(named) if named else self._to.runs[args["run"]].experiment_id,
            name=args["name"],
            source_run_id=run_id,
            tags={**self._to.pairs(args["tags"]), MODEL_TAG: args["model"], SWEEP_TAG: self._to.sweep},
            params=self._to.pairs(args["params"]),
            model_type=args["type"],
        )
        self._to.models[args["model"]] = model.model_id
        self._to.deleted_models.discard(args["model"])

    def _params(self, args: dict[str, Any]) -> None:
        model_id, params = self._to.model_id(args["model"]), self._to.pairs(args["params"])
        there = self._client.get_logged_model(model_id).params
        missing = {key: value for key, value in params.items() if key not in there}
        if missing:
            self._client.log_model_params(model_id, missing)

    def _status(self, args: dict[str, Any]) -> None:
        self._client.finalize_logged_model(self._to.model_id(args["model"]), args["status"])

    def _tags(self, args: dict[str, Any]) -> None:
        self._client.set_logged_model_tags(self._to.model_id(args["model"]), self._to.pairs(args["tags"]))

    def _delete_tag(self, args: dict[str, Any]) -> None:
        model_id = self._to.model_id(args["model"])
        if args["key"] in self._client.get_logged_model(model_id).tags:
            self._client.delete_logged_model_tag(model_id, args["key"])

    def _delete(self, args: dict[str, Any]) -> None:
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

    def _outputs(self, args: dict[str, Any]) -> None:
        from mlflow.entities import LoggedModelOutput

        run_id = self._to.run_id(args["run"])
        models = [LoggedModelOutput(self._to.model_id(model), step) for model, step in args["models"]]
        outputs = self._client.get_run(run_id).outputs
        missing = _others(models, outputs.model_outputs if outputs else [])
        if missing:
            self._client.log_outputs(run_id, missing)


class FilesOfRuns:
    """In a store without: the name of a model is the folder of its files. Its params, tags and status have no place."""

    def __init__(self, to: Destination, num: int, runs: Runs) -> None:
        self._to = to
        self._num = num
        self._runs = runs
        nothing = ("model_params", "model_status", "model_tags", "delete_model_tag", "outputs")
        self.records: dict[str, _Record] = {
            **dict.fromkeys(nothing, lambda _args: None),
            "model": self._make,
            "delete_model": self._delete,
        }

    def new_inputs(self, _run_id: str, _vm_models: Sequence[str]) -> list[Any]:
        return []

    def _make(self, args: dict[str, Any]) -> None:
        model = args["model"]
        self._to.deleted_models.discard(model)
        if model in self._to.folders:
            return
        owner = args["run"] or self._run_for(args)
        run_id = self._to.run_id(owner)
        tags = self._to.folders.tags_of_new(model, run_id, args["name"])
        self._to.set_tags(run_id, tags)
        self._to.folders.learn(run_id, tags)

    def _run_for(self, args: dict[str, Any]) -> str:
        """MLflow 2, too, starts a run for a model that is logged outside of any."""
        model: str = args["model"]
        if model not in self._to.runs:
            begun = {"run": model, "experiment": args["experiment"], "name": args["name"], "start_time": None}
            self._runs.begin(self._num, begun, {})
        return model

    def _delete(self, args: dict[str, Any]) -> None:
        if args.get("files", True):
            raise Refused("this store has no models: the files of this one stay among those of its run")
        place = self._to.folder_of(args["model"])
        self._to.deleted_models.add(args["model"])
        if place is not None:  # no later model's files lie there
            self._to.delete_artifacts(self._to.artifacts(place.run_id).artifact_uri, place.folder)


def models_of(to: Destination, num: int, runs: Runs) -> LoggedModels | FilesOfRuns:
    """Those of the job ``num``, as the store has them."""
    return LoggedModels(to) if to.has_models else FilesOfRuns(to, num, runs)


def _others(models: Sequence[Any], there: Sequence[Any]) -> list[Any]:
    known = {model.model_id for model in there}
    return [model for model in models if model.model_id not in known]


def note_in_history(to: Destination, run_id: str, entry: Mapping[str, Any]) -> None:
    """Adds to the tag in which MLflow 2 shows a run's models; the newest, where not all fit."""
    history = json.loads(to.client.get_run(run_id).data.tags.get(HISTORY_TAG, "[]"))
    if entry in history:
        return
    history.append(entry)
    while len(json.dumps(history)) > LONGEST_TAG and len(history) > 1:
        del history[0]
    to.client.set_tag(run_id, HISTORY_TAG, json.dumps(history))


def describe_as_file_of_run(description: Path, run_id: str, folder: str) -> dict[str, Any] | None:
    """Makes of the ``MLmodel`` of a logged model one of a run's folder; gives what the run's history says of it.

    None where it is none, or not whole yet: it is left as it is.
    """
    try:
        fields = yaml.safe_load(description.read_text(encoding="utf-8"))
    except yaml.YAMLError:
        return None
    if not isinstance(fields, dict) or not fields.keys() >= {"flavors", "utc_time_created"}:
        return None
    fields |= {"run_id": run_id, "artifact_path": folder}
    fields.pop("model_id", None)
    description.write_text(yaml.safe_dump(fields, default_flow_style=False), encoding="utf-8")
    flavors = {
        name: {key: value for key, value in flavor.items() if key != "config"}
        for name, flavor in fields["flavors"].items()
    }
    return {**{key: fields[key] for key in _IN_HISTORY if key in fields}, "flavors": flavors}
