"""What a training says while it runs: to MLflow and TensorBoard, in the log, and as a bar in a terminal.

The metrics of a step are fetched from the device when a later group of steps is under way: neither waits for the other.
"""

import logging
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TextIO, TypeVar

import numpy as np
import rich.console
import rich.progress

from unet.errors import DivergedError
from unet.evaluation import Evaluation
from unet.replicas import Metrics
from unet.settings import Settings
from unet.summaries import Summaries
from unet.tracking import TrackedRun

log = logging.getLogger(__name__)

_T = TypeVar("_T")

_SHOWN = ("loss", "val_miou", "val_accuracy", "images_per_s", "data_wait")


class Progress:
    """Used as a context around the loop.

    Raises:
        DivergedError: by any method, when the loss of a step is found to be no number.
    """

    def __init__(
        self,
        run: TrackedRun,
        settings: Settings,
        output_dir: Path,
        first_step: int,
        files_of: Callable[[int], tuple[str, ...]],
        last_good: Callable[[], Path | None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.run, self._settings = run, settings
        self._files_of, self._last_good, self._clock = files_of, last_good, clock
        self._summaries = Summaries(settings.trainer, output_dir / "tensorboard")
        self._bar = _Bar(settings.trainer.steps, first_step)
        self._group: list[tuple[int, float, Metrics]] = []  # steps under way, in the order they were taken
        self._older: list[tuple[int, float, Metrics]] = []  # the group before: done by now, or nearly
        self._newest: dict[str, float] = {}
        self._lap: _Lap | None = None

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()
        self._summaries.close()

    def waiting_for(self, batches: Iterator[_T]) -> Iterator[_T]:
        """The same batches; the time that the training waits for them is counted."""
        while True:
            started = time.perf_counter()
            batch = next(batches)
            if self._lap:
                self._lap.waited += time.perf_counter() - started
            yield batch

    def taken(self, step: int, metrics: Metrics) -> None:
        """Record the steps up to `step`, which may still be computed.

        Args:
            metrics: float32 [steps] each, of the steps that one call has taken.
        """
        # From after a step, not before it: the first one compiles, and others come after a validation.
        self._lap = self._lap or _Lap(step, time.perf_counter())
        self._group.append((step, self._clock(), metrics))
        self._bar.show(step, self._newest)
        self._summaries.profile(step)
        if len(self._group) * self._settings.trainer.steps_per_call >= self._settings.trainer.log_every:
            self._fetch(self._older)
            self._older, self._group = self._group, []

    def settle(self) -> None:
        """Wait until every step that was recorded is computed, and look at what came of it."""
        self._fetch(self._older)
        self._fetch(self._group)
        self._older, self._group = [], []

    def validated(self, step: int, evaluation: Evaluation | None) -> None:
        """Record the scores of a validation, if there was one, and say how the training stands."""
        self.settle()
        speed = self._lap.speed(step, self._settings.data.batch) if self._lap else {}
        self._lap = None
        scores = evaluation.metrics("val_") if evaluation else {}
        self._record(step, self._clock(), {**scores, **speed})
        self.run.flush()
        shown = {**self._newest, **scores, **speed}
        line = "  ".join(f"{key} {shown[key]:.4g}" for key in _SHOWN if key in shown)
        log.info("step %d/%d  %s", step, self._settings.trainer.steps, line)
        self._newest |= scores

    def _fetch(self, taken: list[tuple[int, float, Metrics]]) -> None:
        for last, moment, metrics in taken:
            values = {key: np.asarray(value) for key, value in metrics.items()}
            steps = len(values["loss"])
            for number in range(steps):
                step = last - steps + 1 + number
                of_step = {key: float(value[number]) for key, value in values.items()}
                self._guard(step, of_step["loss"])
                self._record(step, moment, of_step)
                self._newest |= of_step
        taken.clear()

    def _record(self, step: int, moment: float, metrics: Mapping[str, float]) -> None:
        self.run.log(step, metrics, moment)
        self._summaries.write(step, metrics)

    def _guard(self, step: int, loss: float) -> None:
        if math.isfinite(loss):
            return
        files = ", ".join(dict.fromkeys(self._files_of(step - 1)))
        self.run.flush()
        raise DivergedError(
            f"The loss of step {step} is {loss}. Its images: {files}. The last good checkpoint: "
            f"{self._last_good() or 'none yet'}. What helps: a smaller lr, optimizer.clip_norm=1, a longer "
            "schedule.warmup_steps"
            + (", trainer.precision=float32." if self._settings.trainer.precision != "float32" else ".")
        )


@dataclass
class _Lap:
    """The time between two validations in which nothing but training is done."""

    first_step: int
    started: float
    waited: float = 0.0
    """Seconds of it in which the training waited for data."""

    def speed(self, step: int, batch: int) -> dict[str, float]:
        """Images per second, and the share of the time that was spent waiting for data; nothing for no step."""
        seconds = time.perf_counter() - self.started
        if step == self.first_step or seconds <= 0:
            return {}
        images = (step - self.first_step) * batch
        return {"images_per_s": images / seconds, "data_wait": self.waited / seconds}


class _Bar:
    """A bar at the foot of a terminal, with the log above it; nothing where the output is no terminal."""

    def __init__(self, steps: int, first_step: int) -> None:
        self._console = rich.console.Console(file=sys.stderr)
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("step {task.completed:,.0f}/{task.total:,.0f}"),
            rich.progress.BarColumn(bar_width=None),
            rich.progress.TextColumn("{task.fields[news]}"),
            rich.progress.TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=steps, completed=first_step, news="")
        self._moved: list[tuple[logging.StreamHandler[TextIO], TextIO]] = []

    def start(self) -> None:
        streams = (sys.stdout, sys.stderr)
        self._bar.start()
        if not self._console.is_terminal:
            return
        # The bar has put streams of its own in their place, which write above it; handlers still hold the old ones.
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream in streams:
                self._moved.append((handler, handler.stream))
                handler.setStream(sys.stdout)

    def show(self, step: int, newest: Mapping[str, float]) -> None:
        news = "  ".join(f"{key} {newest[key]:.3f}" for key in ("loss", "val_miou") if key in newest)
        self._bar.update(self._task, completed=step, news=news)

    def stop(self) -> None:
        for handler, stream in self._moved:
            handler.setStream(stream)
        self._moved.clear()
        self._bar.stop()
