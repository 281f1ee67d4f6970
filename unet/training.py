"""The training loop."""

import time
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from unet.checkpoints import Checkpoints
from unet.data_folder import read_dataset
from unet.data_pipeline import training_batches
from unet.devices import prepare_process
from unet.errors import Preempted
from unet.evaluation import compile_evaluation
from unet.export import keep_results
from unet.losses import build_loss
from unet.metrics import pixel_accuracy
from unet.model import build_unet
from unet.preemption import TerminationSignal
from unet.progress import Progress
from unet.schedules import build_optimizer, build_schedule
from unet.settings import Settings
from unet.tracking import tracked_run


def train(
    settings: Settings, output_dir: Path, run_name: str | None = None, clock: Callable[[], float] = time.time
) -> float:
    """Train a U-Net, or go on from the newest checkpoint in `output_dir`.

    Returns the mean IoU of the exported model on the held-out images: MLflow's newest `val_miou`.

    Raises:
        DatasetError, SettingsError, CheckpointError: before the first step.
        Preempted: SIGTERM came, and a checkpoint of the last step taken is written.
    """
    prepare_process(settings.seed)
    dataset, trainer = read_dataset(settings.data), settings.trainer
    model = build_unet(settings.model, settings.data.channels, len(settings.data.classes))
    loss_of = build_loss(settings.loss)
    schedule = build_schedule(settings.schedule, settings.lr, trainer.steps)
    optimizer = build_optimizer(settings.optimizer, schedule)
    evaluate = compile_evaluation(model, dataset.holdout, settings.model.size_multiple)
    checkpoints = Checkpoints(output_dir / "checkpoints", model, optimizer, trainer.keep_checkpoints)

    @tf.function(jit_compile=trainer.jit_compile)  # type: ignore[untyped-decorator]
    def train_step(images: tf.Tensor, masks: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            loss = loss_of(masks, logits)
        gradients = tape.gradient(loss, model.trainable_variables)
        metrics = {
            "loss": loss,
            "accuracy": pixel_accuracy(masks, logits),
            "lr": schedule(optimizer.iterations),
        }
        optimizer.apply(gradients, model.trainable_variables)
        return metrics

    step = checkpoints.restore_newest()
    batches = training_batches(dataset.training, settings.data, settings.seed, first_step=step)
    with tracked_run(settings, output_dir, run_name, clock) as run, TerminationSignal() as termination:
        progress = Progress(run, settings, first_step=step, clock=clock)
        while step < trainer.steps:
            metrics = train_step(*next(batches))
            step += 1
            progress.step_taken(step, metrics)
            if termination.received or step % trainer.checkpoint_every == 0 or step == trainer.steps:
                checkpoints.save(step)
            if termination.received and step < trainer.steps:
                raise Preempted(f"SIGTERM: step {step} of {trainer.steps} is saved in {output_dir}.")
            if step % trainer.validate_every == 0 and step < trainer.steps:
                progress.validate(step, evaluate)

        final = progress.validate(step, evaluate)
        keep_results(run, model, dataset, final, checkpoints.files, settings, output_dir)
    return final.scores.mean_iou
