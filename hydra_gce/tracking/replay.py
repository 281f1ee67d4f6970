"""Plays one job's journal into the store, each record once.

Metrics, params and tags gather into batches; a batch carries the position of its last record in a tag, which
the store writes last of all. A relay that died between the two repeats the batch: the same metric row, param
or tag again changes nothing. All other records are told apart by what they find in the store.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from mlflow.entities import LoggedModelInput, LoggedModelOutput, Metric, Param, RunTag

from hydra_gce.tracking.destination import (
    JOB_TAG,
    MODEL_TAG,
    PARENT_TAG,
    POSITION_TAG,
    ROLE_TAG,
    RUN_TAG,
    SWEEP_TAG,
    Destination,
    KnownRun,
    Position,
    Refusal,
    Refused,
)
from hydra_gce.tracking.journal import JournalDamaged, Record, read
from hydra_gce.tracking.records import dataset_from_json, metric_from_json

# MLflow's limits for one batch, less one of each for the position.
_METRICS = 999
_PARAMS = 99
_TAGS = 99
_ENTITIES = 999

_NAME_TAG = "mlflow.runName"
_NOTE_TAG = "mlflow.note.content"
_HISTORY_TAG = "mlflow.log-model.history"


@dataclass
class _Batch:
    """What waits to be written to one run."""

    metrics: list[tuple[int, Metric]] = field(default_factory=list)
    params: dict[str, tuple[int, str]] = field(default_factory=dict)
    tags: dict[str, tuple[int, str]] = field(default_factory=dict)
    seq: int = 0

    @property
    def full(self) -> bool:
        counts = len(self.metrics), len(self.params), len(self.tags)
        return counts[0] >= _METRICS or counts[1] >= _PARAMS or counts[2] >= _TAGS or sum(counts) >= _ENTITIES


class JobReplay:
    """:param new_run: tags and name for the run that a ``run`` record makes; told if it is the job's point.
    :param refuse: is told of each thing that the store would not have.
    :param keep_refusals: brings what ``refuse`` was told to safety; called before a position passes it.
    """

    def __init__(
        self,
        destination: Destination,
        num: int,
        new_run: Callable[[dict[str, Any], bool], tuple[dict[str, str], str | None]],
        refuse: Callable[[Refusal], None],
        keep_refusals: Callable[[], None],
    ) -> None:
        self._to = destination
        self._client = destination.client
        self._num = num
        self._new_run = new_run
        self._refuse = refuse
        self._keep_refusals = keep_refusals
        self._batches: dict[str, _Batch] = {}
        point = destination.point(num)
        self.done = point.position if point else Position()
        self._attempt = self.done.seq_attempt
        self._seq: int | None = None
        self._operations: dict[str, Callable[[dict[str, Any]], None]] = {
            "experiment": self._experiment,
            "experiment_tag": self._experiment_tag,
            "delete_experiment_tag": self._delete_experiment_tag,
            "rename_experiment": self._rename_experiment,
            "delete_experiment": self._delete_experiment,
            "restore_experiment": lambda args: None,  # finding it by name restores it
            "run": self._run,
            "run_info": self._run_info,
            "delete_run": lambda args: self._client.delete_run(self._id(args)),
            "restore_run": lambda args: self._client.restore_run(self._id(args)),
            "delete_tag": self._delete_tag,
            "inputs": self._inputs,
            "outputs": self._outputs,
            "model_history": self._model_history,
            "model": self._model,
            "model_params": self._model_params,
            "model_status": self._model_status,
            "model_tags": lambda args: self._client.set_logged_model_tags(
                self._model_id(args), self._pairs(args["tags"])
            ),
            "delete_model_tag": lambda args: self._client.delete_logged_model_tag(
                self._model_id(args), args["key"]
            ),
            "delete_model": lambda args: self._client.delete_logged_model(self._model_id(args)),
        }

    def feed(self, attempt: int, part: int, content: bytes) -> None:
        """Takes the records of the next part. What is gathered in batches is in the store only after
        ``commit``.
        """
        if attempt != self._attempt:
            self._attempt, self._seq = attempt, None
        for record in read(content, f"job {self._num}, attempt {attempt}, part {part}"):
            if isinstance(record, JournalDamaged):
                self._tell("a record of the journal", str(record), seq=(self._seq or 0) + 1)
                self._seq = None
                continue
            self._check_order(record)
            self._apply(record)
        self.done = replace(self.done, attempt=attempt, part=part)

    def go_on_with(self, attempt: int) -> None:
        """The journal of the attempts before is complete."""
        self.done = replace(self.done, attempt=attempt, part=-1)

    def commit(self, tags: dict[str, str] | None = None) -> None:
        """Writes what is gathered, the job's point last, with its position and further ``tags``."""
        point = self._to.point(self._num)
        for vm_id in [vm_id for vm_id in self._batches if point is None or vm_id != point.vm_id]:
            self._flush(vm_id)
        if point is None:
            return
        batch = self._batches.setdefault(point.vm_id, _Batch())
        batch.seq = max(batch.seq, self._seq or 0)
        for key, value in (tags or {}).items():
            batch.tags[key] = (0, value)
        self._flush(point.vm_id, self.done)

    def _check_order(self, record: Record) -> None:
        if self._seq is not None and record.seq > self._seq + 1:
            missing = f"records {self._seq + 1} to {record.seq - 1} of attempt {self._attempt}"
            self._tell(missing, "they are not in the journal that the VM uploaded", seq=self._seq + 1)
        self._seq = record.seq

    def _apply(self, record: Record) -> None:
        args = record.args
        run = self._to.runs.get(args.get("run") or "")
        if run and (run.position.seq_attempt, run.position.seq) >= (self._attempt, record.seq):
            return  # an earlier relay has written it
        try:
            if record.op == "batch":
                self._gather(record)
            elif record.op in self._operations:
                if args.get("run") in self._batches:
                    self._flush(args["run"])
                self._to.call(f"take a record ({record.op})", lambda: self._operations[record.op](args))
                if args.get("run") in self._to.runs:
                    self._batches.setdefault(args["run"], _Batch()).seq = record.seq
            else:
                raise Refused(f"this version of hydra-gce-launcher knows no record '{record.op}'")
        except Refused as refused:
            self._tell(record.op, str(refused), record.seq, args.get("run"))

    # Batches

    def _gather(self, record: Record) -> None:
        vm_id, seq = record.args["run"], record.seq
        self._id(record.args)
        for row in record.args["metrics"]:
            batch = self._room(vm_id, seq)
            batch.metrics.append((seq, metric_from_json(row, self._to.translate)))
        for key, value in record.args["params"]:
            batch = self._room(vm_id, seq)
            text = self._to.translate(value)
            if key in batch.params and batch.params[key][1] != text:
                self._flush(vm_id)
                batch = self._room(vm_id, seq)
            batch.params[key] = (seq, text)
        for key, value in record.args["tags"]:
            self._room(vm_id, seq).tags[key] = (seq, self._to.translate(value))
        self._room(vm_id, seq).seq = seq

    def _room(self, vm_id: str, seq: int) -> _Batch:
        batch = self._batches.setdefault(vm_id, _Batch())
        if batch.full:
            # A record may be larger than a batch; its last piece alone may say that it is done.
            batch.seq = min(batch.seq, seq - 1)
            self._flush(vm_id)
            batch = self._batches.setdefault(vm_id, _Batch())
        return batch

    def _flush(self, vm_id: str, done: Position | None = None) -> None:
        run, batch = self._to.runs[vm_id], self._batches.pop(vm_id)
        position = replace(done or run.position, seq_attempt=self._attempt, seq=batch.seq)
        if batch.seq < run.position.seq and self._attempt == run.position.seq_attempt:
            position = replace(position, seq=run.position.seq)
        if position == run.position and not (batch.metrics or batch.params or batch.tags):
            return
        mark = RunTag(POSITION_TAG, position.to_text())
        self._keep_refusals()
        try:
            self._write(
                run,
                [metric for _, metric in batch.metrics],
                [Param(key, value) for key, (_, value) in batch.params.items()],
                [RunTag(key, value) for key, (_, value) in batch.tags.items()] + [mark],
            )
        except Refused:
            self._write_apart(run, batch)
            self._keep_refusals()
            self._mark(run, mark)
        run.position = position

    def _mark(self, run: KnownRun, mark: RunTag) -> None:
        try:
            self._write(run, [], [], [mark])
        except Refused as refused:  # the program, or somebody in MLflow, deleted the run
            self._tell("the position in the journal", str(refused), self._seq or 0, run.vm_id)

    def _write(self, run: KnownRun, metrics: list[Metric], params: list[Param], tags: list[RunTag]) -> None:
        self._to.call("take a batch", lambda: self._client.log_batch(run.run_id, metrics, params, tags))

    def _write_apart(self, run: KnownRun, batch: _Batch) -> None:
        """Something in the batch is refused: finds out what, and writes all the rest."""
        for key, (seq, value) in batch.params.items():
            try:
                self._write(run, [], [Param(key, value)], [])
            except Refused as refused:
                self._tell(f"param {key}={value[:200]}", str(refused), seq, run.vm_id)
        for key, (seq, value) in batch.tags.items():
            try:
                self._write(run, [], [], [RunTag(key, value)])
            except Refused as refused:
                self._tell(f"tag {key}", str(refused), seq, run.vm_id)
        self._write_metrics(run, batch.metrics)

    def _write_metrics(self, run: KnownRun, metrics: list[tuple[int, Metric]]) -> None:
        if not metrics:
            return
        try:
            self._write(run, [metric for _, metric in metrics], [], [])
        except Refused as refused:
            if len(metrics) == 1:
                seq, metric = metrics[0]
                self._tell(
                    f"metric {metric.key}={metric.value} at step {metric.step}", str(refused), seq, run.vm_id
                )
                return
            middle = len(metrics) // 2
            self._write_metrics(run, metrics[:middle])
            self._write_metrics(run, metrics[middle:])

    def _tell(self, what: str, why: str, seq: int, vm_id: str | None = None) -> None:
        run = self._to.runs.get(vm_id) if vm_id else self._to.point(self._num)
        self._refuse(Refusal(self._num, run.run_id if run else "", self._attempt, seq, what, why))

    # Records of their own

    def _id(self, args: dict[str, Any]) -> str:
        try:
            return self._to.runs[args["run"]].run_id
        except KeyError:
            raise Refused("the record that made its run is missing") from None

    def _model_id(self, args: dict[str, Any]) -> str:
        try:
            return self._to.models[args["model"]]
        except KeyError:
            raise Refused("the record that made its model is missing") from None

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

    def _run(self, args: dict[str, Any]) -> None:
        known = self._to.runs.get(args["run"])
        own = self._pairs(args["tags"])
        if known is not None:  # a later attempt goes on with it
            self._client.update_run(known.run_id, status="RUNNING")
            kept = {
                key: (0, value)
                for key, value in own.items()
                if not key.startswith("mlflow.") or key == _NOTE_TAG
            }
            self._batches.setdefault(args["run"], _Batch()).tags.update(kept)
            return
        parent = dict(args["tags"]).get(PARENT_TAG)
        nested = parent in self._to.runs
        is_point = not nested and self._to.point(self._num) is None
        ours, name = self._new_run(args, is_point)
        tags = own | ours
        if nested:
            tags[PARENT_TAG] = own[PARENT_TAG]
        tags |= {RUN_TAG: args["run"], JOB_TAG: str(self._num), ROLE_TAG: "point" if is_point else "run"}
        tags.pop(_NAME_TAG, None)  # it is given as the name
        self._to.create_run(self._to.experiment(args["experiment"]), args["start_time"], tags, name)

    def _run_info(self, args: dict[str, Any]) -> None:
        run_id, status = self._id(args), args["status"]
        if args["name"]:
            self._client.update_run(run_id, name=args["name"])
        if status in ("FINISHED", "FAILED", "KILLED"):
            self._client.set_terminated(run_id, status, args["end_time"])
        elif status:
            self._client.update_run(run_id, status=status)

    def _delete_tag(self, args: dict[str, Any]) -> None:
        run_id = self._id(args)
        if args["key"] in self._client.get_run(run_id).data.tags:
            self._client.delete_tag(run_id, args["key"])

    def _inputs(self, args: dict[str, Any]) -> None:
        models = [LoggedModelInput(self._model_id({"model": model})) for model in args["models"]]
        datasets = [dataset_from_json(fields) for fields in args["datasets"]]
        self._client.log_inputs(self._id(args), datasets, **({"models": models} if models else {}))

    def _outputs(self, args: dict[str, Any]) -> None:
        models = [LoggedModelOutput(self._model_id({"model": model}), step) for model, step in args["models"]]
        self._client.log_outputs(self._id(args), models)

    def _model_history(self, args: dict[str, Any]) -> None:
        run_id = self._id(args)
        history = json.loads(self._client.get_run(run_id).data.tags.get(_HISTORY_TAG, "[]"))
        entry = json.loads(self._to.translate(json.dumps(args["model"])))
        if entry not in history:
            self._client.set_tag(run_id, _HISTORY_TAG, json.dumps([*history, entry]))

    def _model(self, args: dict[str, Any]) -> None:
        if args["model"] in self._to.models:
            return
        model = self._client.create_logged_model(
            self._to.experiment(args["experiment"]),
            name=args["name"],
            source_run_id=self._id(args) if args["run"] else None,
            tags={**self._pairs(args["tags"]), MODEL_TAG: args["model"], SWEEP_TAG: self._to.sweep},
            params=self._pairs(args["params"]),
            model_type=args["type"],
        )
        self._to.models[args["model"]] = model.model_id

    def _model_status(self, args: dict[str, Any]) -> None:
        self._client.finalize_logged_model(self._model_id(args), args["status"])

    def _model_params(self, args: dict[str, Any]) -> None:
        model_id, params = self._model_id(args), self._pairs(args["params"])
        there = self._client.get_logged_model(model_id).params
        missing = {key: value for key, value in params.items() if key not in there}
        if missing:
            self._client.log_model_params(model_id, missing)
