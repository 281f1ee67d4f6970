"""Plays one job's journal into the store, each record once.

Metrics, params and tags gather into batches; a batch carries the position of its last record in a tag, which
the store writes last of all. A relay that died between the two repeats the batch: the same metric row, param
or tag again changes nothing. All other records are told apart by what they find in the store.

For the tag a store makes a transaction of its own. So where metrics alone follow each other, only every tenth
full batch carries one, and so many may have to be repeated.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from mlflow.entities import Metric, Param, RunTag

from hydra_gce.tracking.journal import JournalDamaged, Record, read
from hydra_gce.tracking.records import metric_from_json
from hydra_gce.tracking.relay.calls import Refused
from hydra_gce.tracking.relay.destination import (
    POSITION_TAG,
    TWICE_TAG,
    Destination,
    KnownRun,
    Position,
    Refusal,
)
from hydra_gce.tracking.relay.operations import Operations
from hydra_gce.tracking.relay.repeats import MOST_REPEATED, Repeats, history_of
from hydra_gce.tracking.relay.runs import Runs

# MLflow's limits for one batch, less one of each for the position.
_METRICS = 999
_PARAMS = 99
_TAGS = 99
_ENTITIES = 999

_SLOW_S = 5.0
_LEAST_METRICS = 50

_NAME_TAG = "mlflow.runName"
_NOTE_TAG = "mlflow.note.content"
_HISTORY_TAG = "mlflow.log-model.history"


@dataclass
class _Batch:
    """What waits to be written to one run; ``most`` metrics at once."""

    most: int = _METRICS
    metrics: list[tuple[int, Metric]] = field(default_factory=list)
    params: dict[str, tuple[int, str]] = field(default_factory=dict)
    tags: dict[str, tuple[int, str]] = field(default_factory=dict)
    seq: int = 0

    @property
    def full(self) -> bool:
        metrics, params, tags = len(self.metrics), len(self.params), len(self.tags)
        if not (params or tags):  # as most are: it is asked for each point
            return metrics >= self.most
        return (
            metrics >= self.most or params >= _PARAMS or tags >= _TAGS or metrics + params + tags >= _ENTITIES
        )


@dataclass
class _Pace:
    """How much a store takes at once: a slow one less, so that no request comes near the client's time limit."""

    most: int = _METRICS

    def took(self, seconds: float) -> None:
        if seconds > _SLOW_S:
            self.most = max(_LEAST_METRICS, self.most // 2)
        elif seconds < _SLOW_S / 4:
            self.most = min(_METRICS, self.most * 2)


class JobReplay:
    """:param runs: makes the runs that the program starts.
    :param refuse: is told of each thing that the store would not have.
    :param keep_refusals: brings what ``refuse`` was told to safety; called before a position passes it.
    """

    def __init__(
        self,
        destination: Destination,
        num: int,
        runs: Runs,
        refuse: Callable[[Refusal], None],
        keep_refusals: Callable[[], None],
    ) -> None:
        self._to = destination
        self._client = destination.client
        self._num = num
        self._operations = Operations(destination, num, runs)
        self._refuse = refuse
        self._keep_refusals = keep_refusals
        self._batches: dict[str, _Batch] = {}
        self._unmarked: dict[str, int] = {}
        self._pace = _Pace()
        point = destination.point(num)
        self.done = point.position if point else Position()
        self._attempt = self.done.seq_attempt
        self._repeats = Repeats(history_of(destination), self._attempt)
        self._seq: int | None = None

    def feed(self, attempt: int, part: int, content: bytes) -> None:
        """Takes the records of the next part. What is gathered in batches is in the store only after
        ``commit``.
        """
        if attempt != self._attempt:
            for vm_id in list(self._batches):
                self._flush(vm_id)  # numbers begin anew: none of a batch may be taken for the new attempt's
            self._attempt, self._seq = attempt, None
            self._repeats.begin(attempt)
        for record in read(content, f"job {self._num}, attempt {attempt}, part {part}"):
            if isinstance(record, JournalDamaged):
                self._tell("a record of the journal", str(record), seq=(self._seq or 0) + 1)
                self._seq = None
                continue
            self._check_order(record)
            self._apply(record)
        self.done = replace(self.done, attempt=attempt, part=part)

    def remember(self, content: bytes) -> None:
        """Takes note of a part of the present attempt that an earlier relay has played."""
        for record in read(content, ""):
            if isinstance(record, Record):
                self._note(record)

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

    def _note(self, record: Record) -> None:
        run = self._to.runs.get(record.args.get("run") or "")
        if run is not None and record.op == "batch" and self._attempt > 1:
            self._repeats.seen(run, [metric_from_json(row, str) for row in record.args["metrics"]])

    def _check_order(self, record: Record) -> None:
        if self._seq is not None and record.seq > self._seq + 1:
            missing = f"records {self._seq + 1} to {record.seq - 1} of attempt {self._attempt}"
            self._tell(missing, "they are not in the journal that the VM uploaded", seq=self._seq + 1)
        self._seq = record.seq

    def _apply(self, record: Record) -> None:
        args = record.args
        run = self._to.runs.get(args.get("run") or "")
        if run and (run.position.seq_attempt, run.position.seq) >= (self._attempt, record.seq):
            self._note(record)
            return  # an earlier relay has written it
        try:
            if record.op == "batch":
                self._gather(record)
            else:
                if args.get("run") in self._batches:
                    self._flush(args["run"])
                with self._to.one_by_one:  # what makes runs and models looks first at what there is
                    self._to.call(
                        f"take a record ({record.op})", lambda: self._operations.apply(record.op, args)
                    )
                if args.get("run") in self._to.runs:
                    self._batches.setdefault(args["run"], _Batch()).seq = record.seq
        except Refused as refused:
            self._tell(record.op, str(refused), record.seq, args.get("run"))

    # Batches

    def _gather(self, record: Record) -> None:
        vm_id, seq, args = record.args["run"], record.seq, record.args
        self._to.run_id(vm_id)
        for row in args["metrics"]:
            self._room(vm_id, seq).metrics.append((seq, metric_from_json(row, self._to.translate)))
        for key, value in args["params"]:
            batch = self._room(vm_id, seq)
            text = self._to.translate(value)
            if key in batch.params and batch.params[key][1] != text:
                self._flush(vm_id)
                batch = self._room(vm_id, seq)
            batch.params[key] = (seq, text)
        for key, value in args["tags"]:
            self._room(vm_id, seq).tags[key] = (seq, self._to.translate(value))
        if vm_id not in self._batches:
            self._batches[vm_id] = _Batch(self._pace.most)
        self._batches[vm_id].seq = seq

    def _room(self, vm_id: str, seq: int) -> _Batch:
        batch = self._batches.get(vm_id)
        if batch is not None and batch.full:
            # A record may be larger than a batch; its last piece alone may say that it is done.
            batch.seq = min(batch.seq, seq - 1)
            self._flush(vm_id, is_marked=self._is_mark_due(vm_id, batch))
            batch = None
        if batch is None:
            batch = self._batches[vm_id] = _Batch(self._pace.most)
        return batch

    def _is_mark_due(self, vm_id: str, batch: _Batch) -> bool:
        """Always in a later attempt: its steps replace those of the one before, and which have must be known."""
        if batch.params or batch.tags or self._attempt > 1:
            return True
        return self._unmarked.get(vm_id, 0) + len(batch.metrics) + self._pace.most > MOST_REPEATED

    def _flush(self, vm_id: str, done: Position | None = None, *, is_marked: bool = True) -> None:
        run, batch = self._to.runs[vm_id], self._batches.pop(vm_id)
        position = replace(done or run.position, seq_attempt=self._attempt, seq=batch.seq)
        if batch.seq < run.position.seq and self._attempt == run.position.seq_attempt:
            position = replace(position, seq=run.position.seq)
        if position == run.position and not (batch.metrics or batch.params or batch.tags):
            return
        mark = RunTag(POSITION_TAG, position.to_text())
        self._make_room(run, batch)
        self._keep_refusals()
        try:
            self._write(
                run,
                [metric for _, metric in batch.metrics],
                [Param(key, value) for key, (_, value) in batch.params.items()],
                [RunTag(key, value) for key, (_, value) in batch.tags.items()] + [mark] * is_marked,
            )
        except Refused:
            is_marked = True
            self._write_apart(run, batch)
            self._keep_refusals()
            self._mark(run, mark)
        self._unmarked[vm_id] = 0 if is_marked else self._unmarked.get(vm_id, 0) + len(batch.metrics)
        if is_marked:
            run.position = position

    def _make_room(self, run: KnownRun, batch: _Batch) -> None:
        """Each point once: what a killed relay has written is left out; the last attempt has a step."""
        stayed = self._repeats.stayed.get(run.run_id, 0)
        metrics = [metric for _, metric in batch.metrics]
        there = self._to.call("make room for steps", lambda: self._repeats.settle(run, metrics))
        there |= self._to.call("show its metrics", lambda: self._repeats.written(run, metrics))
        batch.metrics = [one for place, one in enumerate(batch.metrics) if place not in there]
        if self._repeats.stayed.get(run.run_id, 0) > stayed:
            batch.tags[TWICE_TAG] = (0, str(self._repeats.stayed[run.run_id]))

    def _mark(self, run: KnownRun, mark: RunTag) -> None:
        try:
            self._write(run, [], [], [mark])
        except Refused as refused:  # the program, or somebody in MLflow, deleted the run
            self._tell("the position in the journal", str(refused), self._seq or 0, run.vm_id)

    def _write(self, run: KnownRun, metrics: list[Metric], params: list[Param], tags: list[RunTag]) -> None:
        began = time.monotonic()
        self._to.call("take a batch", lambda: self._client.log_batch(run.run_id, metrics, params, tags))
        self._pace.took(time.monotonic() - began)

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
