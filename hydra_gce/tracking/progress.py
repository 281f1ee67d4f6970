"""How far a program is, from what it tells MLflow: its step of how many, its pace, its objective and the best so far.

Read on from a journal as that grows. Nothing here imports MLflow: the agent does this.
"""

from __future__ import annotations

import os
import re
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hydra_gce.objective import Sense, sense_of
from hydra_gce.tracking.journal import JournalDamaged, decode

KEPT = 16
"""Values of a curve, for a sparkline."""
_AT_A_LOOK = 1024 * 1024
_PACE_EVERY_S = 1.0
_PACE_TAKEN = 60
_TOTAL_STEPS = (
    *(
        "total_steps",
        "max_steps",
        "num_train_steps",
        "train_steps",
        "training_steps",
        "num_steps",
        "n_steps",
        "steps",
    ),
    *("total_iterations", "max_iterations", "num_iterations", "n_iterations", "iterations"),
    *("max_iters", "max_iter", "n_iter"),
)
_TOTAL_EPOCHS = ("total_epochs", "max_epochs", "num_train_epochs", "num_epochs", "n_epochs", "epochs")
_SPEED = re.compile(r"([a-z]+)(?:_?per_?|/)(?:s|sec|second)s?$")


@dataclass(frozen=True)
class Progress:
    """``first_step`` of this attempt, and the newest. ``speed`` is what the program itself logs of its throughput, in
    ``speed_unit`` ("images/s"). ``best`` and ``history`` are of the metric; ``history`` goes over the whole attempt,
    evenly thinned, oldest first.
    """

    step: int | None = None
    first_step: int | None = None
    total_steps: int | None = None
    steps_per_s: float | None = None
    speed: float | None = None
    speed_unit: str = ""
    metric_name: str = ""
    metric: float | None = None
    best: float | None = None
    history: tuple[float, ...] = ()


@dataclass
class _Curve:
    """All values of a metric: the newest, the best, and a few for its shape: each ``stride``-th."""

    sense: Sense
    newest: float = 0.0
    best: float | None = None
    shape: list[float] = field(default_factory=list)
    count: int = 0
    stride: int = 1

    def add(self, value: float) -> None:
        self.newest = value
        self.best = self.sense.better(self.best, value)
        if self.count % self.stride == 0:
            self.shape.append(value)
        self.count += 1
        if len(self.shape) >= 2 * KEPT:
            self.shape = self.shape[::2]
            self.stride *= 2

    @property
    def history(self) -> tuple[float, ...]:
        behind = (self.count - 1) % self.stride != 0  # the newest is not in it
        return tuple(float(f"{value:.6g}") for value in thinned([*self.shape, *[self.newest] * behind]))


class ProgressReader:
    """Follows the journal of one attempt. Threads may share it."""

    def __init__(self, journal: Path) -> None:
        self._path = journal
        self._offset = 0
        self._lock = threading.Lock()
        self._curves: dict[str, _Curve] = {}
        self._settings: dict[str, str] = {}
        self._step: int | None = None
        self._first_step: int | None = None
        self._pace: deque[tuple[float, int]] = deque(maxlen=_PACE_TAKEN)

    def look(self) -> Progress:
        """What is known now. Of a journal that has grown by more than a MiB since the last look, the end is read."""
        with self._lock:
            for line in self._new_lines():
                self._read(line)
            return self._progress()

    def _new_lines(self) -> Iterable[bytes]:
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return []
        with file:
            end = file.seek(0, os.SEEK_END)
            start = max(self._offset, end - _AT_A_LOOK)
            file.seek(start)
            content = file.read(end - start)
        lines = content[: content.rfind(b"\n") + 1].split(b"\n")[:-1]
        skipped = start > self._offset
        self._offset = start + content.rfind(b"\n") + 1
        return lines[1:] if skipped else lines

    def _read(self, line: bytes) -> None:
        if b'"op":"batch"' not in line and b'"op":"run"' not in line:
            return
        try:
            record = decode(line, self._path.name)
        except JournalDamaged:
            return  # the relay names it; a line of status has other lines to show
        for key, value in (*record.args.get("params", ()), *record.args.get("tags", ())):
            if not key.startswith("mlflow."):
                self._settings[key] = value
        for key, value, _timestamp, step, *_ in record.args.get("metrics", ()):
            if key.startswith("system/"):
                continue
            curve = self._curves.setdefault(key, _Curve(sense_of(key) or Sense.HIGHEST))
            curve.add(float(value))
            self._take_step(int(step), record.time)

    def _take_step(self, step: int, when: float) -> None:
        if self._first_step is None or step < self._first_step:
            self._first_step = step
        if self._step is not None and step <= self._step:
            return
        self._step = step
        batched = self._pace and when <= self._pace[-1][0]  # the steps of a batch are told all at once
        if batched or (len(self._pace) > 1 and when - self._pace[-2][0] < _PACE_EVERY_S):
            self._pace.pop()
        self._pace.append((when, step))

    def _progress(self) -> Progress:
        name = _most_telling(list(self._curves))
        curve = self._curves.get(name)
        epoch = self._curves.get("epoch")
        speed = next((one for one in self._curves if _unit(one)), "")
        return Progress(
            step=self._step,
            first_step=self._first_step,
            total_steps=total_steps(self._settings, self._step, epoch.newest if epoch else None),
            steps_per_s=self._steps_per_s(),
            speed=self._curves[speed].newest if speed else None,
            speed_unit=_unit(speed),
            metric_name=name,
            metric=curve.newest if curve else None,
            best=curve.best if curve else None,
            history=curve.history if curve else (),
        )

    def _steps_per_s(self) -> float | None:
        if len(self._pace) < 2:
            return None
        (began, first), (ended, last) = self._pace[0], self._pace[-1]
        return (last - first) / (ended - began) if ended > began else None


def total_steps(settings: Mapping[str, object], step: int | None, epoch: float | None = None) -> int | None:
    """How many steps there will be, by the names that programs give this: ``total_steps``, ``max_steps``, ``steps``, …;
    ``epochs`` and the like where a step is an epoch, or where ``epoch`` tells how many of them ``step`` steps were.

    :param settings: by their names; of "trainer.max_steps" the last part counts, and one without others goes first.

    None where nothing is named so, where several differ, or where the program has already gone past it.
    """
    done = step or 0
    for name in _TOTAL_STEPS:
        total = _positive(settings, name)
        if total is not None and total >= done:
            return round(total)
    for name in _TOTAL_EPOCHS:
        epochs = _positive(settings, name)
        if epochs is None:
            continue
        if epoch is not None and epoch > 0 and done > epoch:
            return max(done, round(done * epochs / epoch))
        if epochs >= done:
            return round(epochs)
    return None


def _positive(settings: Mapping[str, object], name: str) -> float | None:
    """The setting that is called so, if it is a number above 0 and all that are called so agree."""
    found = {key: value for key, value in settings.items() if _leaf(key) == name}
    top = [value for key, value in found.items() if len(key) == len(name)]
    numbers = {_number(value) for value in top or found.values()} - {None}
    number = numbers.pop() if len(numbers) == 1 else None
    return number if number is not None and 0 < number < 1e15 else None


def _leaf(name: str) -> str:
    return re.split(r"[./]", name)[-1].lower().replace("-", "_")


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def thinned(values: Sequence[float], most: int = KEPT) -> list[float]:
    """At most so many of them, evenly taken, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    return [values[round(at * (len(values) - 1) / (most - 1))] for at in range(most)]


def _most_telling(metrics: Sequence[str]) -> str:
    """A validation metric that is no loss (of several the last, in the order in which they were first logged); after
    those one of a part ("val_iou.cell") or of a moment ("best_val_iou"), a validation loss, any other (the first).
    """
    ranks = [_rank(name) for name in metrics]
    best = max(ranks, default=_NO_METRIC)
    if best == _NO_METRIC:
        return ""
    equals = [name for name, rank in zip(metrics, ranks, strict=True) if rank == best]
    return equals[-1] if best == _BEST else equals[0]


_NO_METRIC, _BEST = -1, 3


def _rank(name: str) -> int:
    lower = name.lower()
    if lower in ("epoch", "step", "lr", "learning_rate") or _unit(name):
        return _NO_METRIC  # it tells of pace or place
    if not any(word in lower for word in ("val", "eval", "test")):
        return 0
    if "loss" in lower:
        return 1
    is_apart = any(mark in name for mark in "./") or any(word in lower for word in ("best", "checkpoint"))
    return 2 if is_apart else _BEST


def _unit(metric: str) -> str:
    """``images/s`` of ``train/images_per_s``; nothing where a metric is no throughput of a training."""
    lower = metric.lower()
    found = _SPEED.search(lower)
    if found is None or any(word in lower for word in ("val", "eval", "test")):
        return ""
    return f"{found[1]}/s"
