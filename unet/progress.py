"""What a training says while it runs: a line in the log at each validation, and everything to MLflow."""

import logging
import math
from collections.abc import Callable, Mapping
from typing import SupportsFloat

from unet.evaluation import Evaluate, Evaluation
from unet.settings import Settings
from unet.tracking import TrackedRun

log = logging.getLogger(__name__)

_SHOWN = ("loss", "val_miou", "val_accuracy", "images_per_s")


class Progress:
    """Passes metrics on to the run, and measures how fast training is between validations."""

    def __init__(
        self, run: TrackedRun, settings: Settings, first_step: int, clock: Callable[[], float]
    ) -> None:
        self._run = run
        self._classes = settings.data.classes
        self._steps = settings.trainer.steps
        self._batch = settings.data.batch
        self._clock = clock
        self._newest: Mapping[str, SupportsFloat] = {}
        self._lap_step = first_step
        self._lap_start = clock()

    def step_taken(self, step: int, metrics: Mapping[str, SupportsFloat]) -> None:
        """Record the metrics of a training step; tensors among them are not waited for."""
        self._newest = metrics
        self._run.log(step, metrics)

    def validate(self, step: int, evaluate: Evaluate) -> Evaluation:
        """Score the model after `step` steps, and record and log how it stands."""
        shown = {key: float(value) for key, value in self._newest.items()}  # waits until the step is done
        seconds = self._clock() - self._lap_start
        speed: dict[str, float] = {}
        if step > self._lap_step and seconds > 0:
            speed["images_per_s"] = (step - self._lap_step) * self._batch / seconds

        evaluation = evaluate()
        scores = evaluation.scores
        metrics = {"val_miou": scores.mean_iou, "val_accuracy": scores.pixel_accuracy, **speed}
        for name, iou in zip(self._classes, scores.class_iou, strict=True):
            if not math.isnan(iou):  # a class that occurs nowhere has no score
                metrics[f"val_iou.{name}"] = iou
        self._run.log(step, metrics)
        self._run.flush()

        shown |= metrics
        line = "  ".join(f"{key} {shown[key]:.4g}" for key in _SHOWN if key in shown)
        log.info("step %d/%d  %s", step, self._steps, line)
        self._lap_step, self._lap_start = step, self._clock()
        return evaluation
