"""Files for TensorBoard: metrics, and a profile of some steps."""

from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf

from unet.settings import TrainerSettings


class Summaries:
    """Writes what `settings` ask for, and otherwise nothing."""

    def __init__(self, settings: TrainerSettings, directory: Path) -> None:
        self._directory = directory
        self._writer = tf.summary.create_file_writer(str(directory)) if settings.tensorboard else None
        self._profiled = settings.profiled
        self._profiling = False

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write the metrics of a step."""
        if self._writer is None:
            return
        with self._writer.as_default(step):
            for key, value in metrics.items():
                tf.summary.scalar(key, value)

    def profile(self, step: int) -> None:
        """Start the profile before its first step, and end it after its last; called after each."""
        if self._profiled is None:
            return
        first, last = self._profiled
        if not self._profiling and first - 1 <= step < last:
            tf.profiler.experimental.start(str(self._directory))
            self._profiling = True
        elif self._profiling and step >= last:
            self._stop()

    def close(self) -> None:
        """Write what is left."""
        if self._profiling:
            self._stop()
        if self._writer is not None:
            self._writer.close()

    def _stop(self) -> None:
        tf.profiler.experimental.stop()
        self._profiling, self._profiled = False, None
