"""The end of a training: which weights are kept, how good they are, and what is left of it all."""

import logging
import math
import time
from pathlib import Path

from unet.checkpoints import Checkpoints
from unet.data.examples import Dataset, Examples
from unet.evaluation import Evaluation, Evaluator
from unet.export import keep_results
from unet.state import TrainingState
from unet.tracking import TrackedRun

log = logging.getLogger(__name__)


def finish(
    state: TrainingState, dataset: Dataset, checkpoints: Checkpoints, run: TrackedRun, output_dir: Path
) -> float:
    """Score and export the weights of the best validation, or without any those after the last step.

    Returns the mean IoU of what is exported on the validation images, else on the test images, else nan.
    """
    settings, last = state.settings, state.notes
    if settings.trainer.keep_best and last.best_score is not None and not checkpoints.restore_best(state):
        log.warning("The checkpoint of the best validation, after step %d, is gone.", last.best_step)

    def scored(examples: Examples, in_all_ways: bool) -> Evaluation | None:
        return Evaluator(state.averaged, examples, settings, in_all_ways)()

    inference = settings.inference
    validation, test = scored(dataset.validation, True), scored(dataset.test, True)
    metrics: dict[str, float] = {}
    if validation is not None:
        metrics |= {"best_val_miou": validation.scores.mean_iou, "best_step": state.notes.step}
    if test is not None:
        metrics |= test.metrics("test_")
        if inference != inference.plain and (plain := scored(dataset.test, False)) is not None:
            metrics |= plain.metrics("test_plain_")
    run.log(last.step, metrics, time.time())
    for name, evaluation in (("validation", validation), ("test", test)):
        if evaluation is not None:
            scores = evaluation.scores
            log.info(
                "%s, weights after step %d: mean IoU %.4f, pixel accuracy %.4f",
                name, state.notes.step, scores.mean_iou, scores.pixel_accuracy,
            )  # fmt: skip
    keep_results(
        run,
        state.averaged,
        settings,
        dataset.training,
        {"validation": validation, "test": test},
        step=state.notes.step,
        checkpoint=[checkpoints.path(state.notes.step)],
        output_dir=output_dir,
    )
    log.info("Model, scores and pictures are in %s.", output_dir)
    kept = validation or test
    return kept.scores.mean_iou if kept else math.nan
