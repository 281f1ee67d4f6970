"""All that a training changes: weights, their average, optimizer, learning rate, step and scores so far."""

from dataclasses import dataclass, field

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from unet.models import build_model
from unet.models.fused import fuse_batch_normalization
from unet.replicas import Metrics
from unet.schedules import LearningRate, build_optimizer
from unet.settings import Settings
from unet.tracking import Record

Arrays = dict[str, npt.NDArray[np.generic]]
"""The variables of a training by name."""

NOTES = "notes"
"""Beside them in a checkpoint: `Notes`."""


@dataclass
class Notes:
    """What is no tensor, as JSON has it."""

    step: int = 0
    """Steps taken; the next batch is that of this step, counted from 0: the position in the data."""
    score: float | None = None
    """Of the validation after this very step, if there was one."""
    best_score: float | None = None
    best_step: int = 0
    stale: int = 0
    """Validations since the best one."""
    run_id: str = ""
    """The MLflow run that all of this is recorded in."""
    unrecorded: list[Record] = field(default_factory=list)
    """Metrics up to this step that MLflow had not confirmed yet."""


@dataclass
class TrainingState:
    """Built by `new_state`, changed by the compiled step, kept by the checkpoints."""

    model: keras.Model
    averaged: keras.Model
    """The same network with the moving average of the weights: what is scored and exported. Without
    optimizer.ema_decay it is `model` itself."""
    optimizer: keras.optimizers.Optimizer
    rate: LearningRate
    strategy: tf.distribute.Strategy
    settings: Settings
    notes: Notes = field(default_factory=Notes)

    def apply(self, gradients: list[tf.Tensor]) -> Metrics:
        """Let the optimizer take its step with the gradients of all devices together, clipped to their norm.

        Args:
            gradients: of the loss as `optimizer.scale_loss` gives it, one for each trainable variable.
        """
        context, optimizer = tf.distribute.get_replica_context(), self.optimizer
        count = context.num_replicas_in_sync
        if count > 1:
            gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        norm = tf.linalg.global_norm(gradients) / optimizer.scale_loss(1.0)
        limit = self.settings.optimizer.clip_norm
        factor = tf.minimum(1.0, limit / (norm + 1e-12)) if limit else 1.0
        rate = self.rate(optimizer.iterations)
        if limit or count > 1:
            # An optimizer sums over the devices by itself; each has the whole sum already.
            gradients = [gradient * (factor / count) for gradient in gradients]
        optimizer.apply(gradients, self.model.trainable_variables)
        return {"grad_norm": norm, "lr": rate}

    def follow(self) -> None:
        """Let the average follow the weights; at the start it looks back over few steps."""
        if self.averaged is self.model:
            return
        steps = tf.cast(self.optimizer.iterations, tf.float32)
        decay = tf.minimum(self.settings.optimizer.ema_decay, (1.0 + steps) / (10.0 + steps))

        def approach(average: tf.Variable, weight: tf.Variable) -> None:
            average.assign_sub((1.0 - decay) * (average - weight))

        for average, weight in zip(self.averaged.weights, self.model.weights, strict=True):
            self.strategy.extended.update(average.value, approach, args=(weight.value,), group=False)

    def judge(self, score: float) -> bool:
        """Note the score of a validation; the learning rate goes down where a plateau is reached.

        Returns whether it is the best so far.
        """
        notes, schedule = self.notes, self.settings.schedule
        notes.score = score
        if notes.best_score is None or score > notes.best_score:
            notes.best_score, notes.best_step, notes.stale = score, notes.step, 0
            return True
        notes.stale += 1
        if schedule.name == "plateau" and notes.stale % schedule.patience == 0:
            scale = max(float(self.rate.scale.numpy()) * schedule.factor, schedule.final_fraction)
            self.rate.scale.assign(scale)
        return False

    @property
    def has_stopped_early(self) -> bool:
        """Whether validations have brought nothing better for as long as the settings allow."""
        return 0 < self.settings.trainer.early_stopping <= self.notes.stale

    def variables(self) -> dict[str, tf.Variable]:
        """Every variable by a name of its own; random states of dropout layers are among them."""
        rooms = {"model": self.model.variables, "optimizer": self.optimizer.variables}
        if self.averaged is not self.model:
            rooms["averaged"] = self.averaged.variables
        named = {
            f"{room}/{number:04d}/{variable.path}": variable.value
            for room, variables in rooms.items()
            for number, variable in enumerate(variables)
        }
        return {**named, "rate_scale": self.rate.scale}


def new_state(settings: Settings, strategy: tf.distribute.Strategy) -> TrainingState:
    """A training before its first step, on the devices of `strategy`."""
    channels, classes = settings.data.channels, len(settings.data.classes)
    synchronized = strategy.num_replicas_in_sync > 1
    with strategy.scope():
        model = build_model(settings.model, channels, classes, synchronized=synchronized)
        if not synchronized and not tf.config.list_physical_devices("GPU"):
            fuse_batch_normalization(model)  # measured on CPUs alone
        averaged = model
        if settings.optimizer.ema_decay:
            averaged = keras.models.clone_model(model)
            averaged.set_weights(model.get_weights())
        rate = LearningRate(settings.schedule, settings.lr, settings.trainer.steps)
        optimizer = build_optimizer(settings.optimizer, rate, settings.trainer.precision == "float16")
        # An optimizer makes its variables at its first step; a checkpoint has to find them before.
        optimizer.build(model.trainable_variables)
    return TrainingState(model, averaged, optimizer, rate, strategy, settings)
