"""Model, optimizer and step on disk, and back."""

import logging
import re
from pathlib import Path

import keras
import tensorflow as tf

from unet.errors import CheckpointError

log = logging.getLogger(__name__)

# What TensorFlow raises for a checkpoint whose variables are others, or of another shape or type.
_FOREIGN = (AssertionError, ValueError, tf.errors.InvalidArgumentError)

# And the codes of what it raises for one of which bytes are missing or wrong.
_TORN = {tf.errors.DATA_LOSS, tf.errors.NOT_FOUND, tf.errors.OUT_OF_RANGE, tf.errors.UNKNOWN}


class Checkpoints:
    """The last `keep` checkpoints of a training, in a directory of their own."""

    def __init__(
        self, directory: Path, model: keras.Model, optimizer: keras.optimizers.Optimizer, keep: int
    ) -> None:
        # A restore fills only variables that exist, and an optimizer makes its own at the first step.
        optimizer.build(model.trainable_variables)
        self._directory = directory
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        # One by one: TensorFlow, left to look into a Keras model, misses the seeds of its dropout layers.
        self._variables = [variable.value for variable in [*model.variables, *optimizer.variables]]
        self._checkpoint = tf.train.Checkpoint(step=self._step, variables=self._variables)
        self._manager = tf.train.CheckpointManager(
            self._checkpoint, str(directory), max_to_keep=keep, checkpoint_name="step"
        )

    @property
    def files(self) -> list[Path]:
        """The files of the newest checkpoint; none before the first."""
        steps = self._steps_on_disk()
        return sorted(self._directory.glob(f"step-{steps[-1]}.*")) if steps else []

    def save(self, step: int) -> None:
        """Write a checkpoint of the state after `step` steps, and remove the oldest if there are too many."""
        self._step.assign(step)
        self._manager.save(checkpoint_number=step)

    def restore_newest(self) -> int:
        """Put back the newest checkpoint that is whole, and return its step; 0 where there is none.

        Raises:
            CheckpointError: the newest one is of another model or optimizer.
        """
        steps = self._steps_on_disk()
        untouched = [variable.numpy() for variable in self._variables] if steps else []
        for step in reversed(steps):
            path = self._directory / f"step-{step}"
            try:
                self._checkpoint.restore(str(path)).assert_consumed()
            except _FOREIGN as error:
                raise CheckpointError(
                    f"Checkpoint {path} does not fit this model and optimizer. Go on with the settings that "
                    f"it was written with, or start anew in another output directory. TensorFlow: {error}"
                ) from error
            except (tf.errors.OpError, IndexError) as error:
                if isinstance(error, tf.errors.OpError) and error.error_code not in _TORN:
                    raise
                log.warning("Checkpoint %s is damaged and is passed over (%s).", path, error)
                continue
            log.info("Going on from step %d (%s).", step, path)
            return step
        # A damaged one may have filled some of the variables before it came to its end.
        for variable, value in zip(self._variables, untouched, strict=False):
            variable.assign(value)
        return 0

    def _steps_on_disk(self) -> list[int]:
        # The files themselves: TensorFlow's list of them may be missing or old after a directory was copied.
        names = (re.fullmatch(r"step-(\d+)", path.stem) for path in self._directory.glob("step-*.index"))
        return sorted(int(name[1]) for name in names if name)
