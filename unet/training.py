"""The training loop."""

import time
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from unet.checkpoint_models import checkpoint_models
from unet.checkpoints import Checkpoints
from unet.data.dataset import read_dataset
from unet.data.pipeline import Batch, TrainingStream
from unet.description import Description
from unet.devices import prepare_process
from unet.errors import Preempted
from unet.evaluation import Evaluator
from unet.finish import finish
from unet.losses import build_loss
from unet.metrics import pixel_accuracy
from unet.preemption import TerminationSignal
from unet.progress import Progress
from unet.replicas import Metrics, compile_steps, in_parts, replicas, sum_over_replicas
from unet.settings import Settings
from unet.state import new_state
from unet.tracking import tracked_run


def train(
    settings: Settings, output_dir: Path, run_name: str | None = None, clock: Callable[[], float] = time.time
) -> float:
    """Train a network, or go on from the newest checkpoint in `output_dir`.

    Returns the mean IoU of the exported model on the validation images, or, without any, on the test images.

    Raises:
        UnetError: settings, data or checkpoints do not fit, before the first step; the loss is no number any more.
        Preempted: SIGTERM came, and a checkpoint of the last step taken is written.
    """
    strategy, trainer = prepare_process(settings), settings.trainer
    dataset = read_dataset(settings.data)
    stream = TrainingStream(dataset.training, settings.data, settings.loss, settings.seed)
    loss_of = build_loss(settings.loss, len(settings.data.classes))
    state = new_state(settings, strategy)  # model, average, optimizer, steps and scores so far
    validate = Evaluator(state.averaged, dataset.validation, settings)

    def gradients_of(batch: Batch) -> tuple[list[tf.Tensor], Metrics]:
        with tf.GradientTape() as tape:
            logits = state.model(batch.images, training=True)
            masks, border = batch.seen(settings.model.margin)
            loss = loss_of(masks, logits, border, sum_over_replicas)  # of the whole batch, on every device
            scaled = state.optimizer.scale_loss(loss) / replicas()  # float16: small gradients survive
        gradients = tape.gradient(scaled, state.model.trainable_variables)
        return gradients, {"loss": loss, "accuracy": pixel_accuracy(masks, logits, sum_over_replicas)}

    def step(batch: Batch) -> Metrics:
        gradients, metrics = in_parts(gradients_of, batch, trainer.accumulate)
        return metrics | state.apply(gradients)

    take_steps = compile_steps(step, state.follow, strategy, trainer)
    checkpoints = Checkpoints(output_dir / "checkpoints", trainer, clock)
    checkpoints.restore_newest(state)
    now = state.notes
    with (
        tracked_run(settings, output_dir, run_name, former=(now.run_id, now.unrecorded)) as run,
        TerminationSignal() as termination,
        checkpoints,
        checkpoint_models(run.run_id, state, checkpoints, Description.of(settings, dataset.training.white)),
        Progress(
            run, settings, output_dir, now.step, stream.files_of, checkpoints.last_good, clock
        ) as progress,
    ):
        now.run_id = run.run_id
        batches = progress.waiting_for(stream.batches(now.step, trainer.steps_per_call))
        while now.step < trainer.steps and not state.has_stopped_early:
            metrics = take_steps(next(batches))
            now.step, now.score = now.step + trainer.steps_per_call, None
            progress.taken(now.step, metrics)  # the device may still be at work

            is_last, is_best = now.step >= trainer.steps, False
            if now.step % trainer.validate_every == 0 or is_last:
                evaluation = validate()
                is_best = evaluation is not None and state.judge(evaluation.score(trainer.monitor))
                progress.validated(now.step, evaluation)
            if checkpoints.is_due(now.step) or is_best or is_last or termination.received:
                progress.settle()  # a state that followed from a loss of nan is no checkpoint
                checkpoints.save(state, run.unrecorded())
            if termination.received and not is_last:
                raise Preempted(f"SIGTERM: step {now.step} of {trainer.steps} is saved in {output_dir}.")
        checkpoints.settle()
        return finish(state, dataset, checkpoints, run, output_dir)
