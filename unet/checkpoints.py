"""Model, optimizer and step on disk, and back."""

import logging
from pathlib import Path

import keras
import tensorflow as tf

from unet.errors import CheckpointError

log = logging.getLogger(__name__)

# What TensorFlow raises for a checkpoint of which bytes are missing or wrong.
_TORN = (tf.errors.DataLossError, tf.errors.NotFoundError, tf.errors.OutOfRangeError)


class Checkpoints:
    """The last `keep` checkpoints of a training, in a directory of their own."""

    def __init__(
        self, directory: Path, model: keras.Model, optimizer: keras.optimizers.Optimizer, keep: int
    ) -> None:
        # A restore fills only variables that exist, and an optimizer makes its own at the first step.
        optimizer.build(model.trainable_variables)
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._checkpoint = tf.train.Checkpoint(step=self._step, model=model, optimizer=optimizer)
        self._manager = tf.train.CheckpointManager(
            self._checkpoint, str(directory), max_to_keep=keep, checkpoint_name="step"
        )

    @property
    def files(self) -> list[Path]:
        """The files of the newest checkpoint; none before the first."""
        newest = self._manager.latest_checkpoint
        return sorted(Path(newest).parent.glob(Path(newest).name + ".*")) if newest else []

    def save(self, step: int) -> None:
        """Write a checkpoint of the state after `step` steps, and remove the oldest if there are too many."""
        self._step.assign(step)
        self._manager.save(checkpoint_number=step)

    def restore_newest(self) -> int:
        """Put back the newest checkpoint that is whole, and return its step; 0 where there is none.

        Raises:
            CheckpointError: the newest one is of another model or optimizer.
        """
        for path in reversed(self._manager.checkpoints):
            try:
                self._checkpoint.restore(path).assert_existing_objects_matched()
            except _TORN as error:
                log.warning("Checkpoint %s is damaged and is passed over (%s).", path, error.message)
                continue
            except (AssertionError, ValueError) as error:
                raise CheckpointError(
                    f"Checkpoint {path} does not fit this model and optimizer. Go on with the settings that "
                    f"it was written with, or start anew in another output directory. TensorFlow: {error}"
                ) from error
            step = int(self._step.numpy())
            log.info("Going on from step %d (%s).", step, path)
            return step
        return 0
