"""One training in a process of its own: `python -m bench.one_training <json>` prints its images per second.

{"who": "ours" or "fit", "filters": 16, "size": 128, "batch": 8, "jit": false, "steps_per_call": 1}

Both train the same U-Net with the same optimizer on the same batches. `ours` is the whole of `unet.training.train`,
with everything that it records; `fit` is Keras's `model.fit` without any callback but a clock.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from unet.settings import (
    AugmentSettings,
    DataSettings,
    LossSettings,
    ModelSettings,
    OptimizerSettings,
    Settings,
    SyntheticSettings,
    TrackingSettings,
    TrainerSettings,
)

LAPS = 3
"""Measured after the first, in which TensorFlow compiles."""


def settings_of(wanted: dict[str, Any]) -> Settings:
    """What both contenders train."""
    lap = int(wanted.get("lap", 20))
    return Settings(
        model=ModelSettings(filters=wanted["filters"], depth=4),
        data=DataSettings(
            name="synthetic",
            synthetic=SyntheticSettings(images=16, height=512, width=512),
            classes=["ground", "disc"],
            train="*",
            validation="",
            crop=wanted["size"],
            batch=wanted["batch"],
            augment=AugmentSettings(),
        ),
        loss=LossSettings(dice=0.0),
        optimizer=OptimizerSettings(name="adam"),
        trainer=TrainerSettings(
            steps=lap * (LAPS + 1),
            validate_every=lap,
            checkpoint_every=wanted.get("checkpoint_every", 1000 * lap),
            log_every=10,
            jit_compile=wanted.get("jit", False),
            steps_per_call=wanted.get("steps_per_call", 1),
            precision=wanted.get("precision", "float32"),
        ),
        tracking=TrackingSettings(system_metrics=False, checkpoint=False, model=False),
    )


def ours(settings: Settings, output: Path) -> list[float]:
    """Images per second of each lap, as the training itself records them."""
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{output / 'mlflow.db'}"
    import mlflow

    from unet.tracking import RUN_ID_FILE
    from unet.training import train

    train(settings, output)
    run_id = (output / RUN_ID_FILE).read_text()
    laps = mlflow.MlflowClient().get_metric_history(run_id, "images_per_s")
    return [lap.value for lap in sorted(laps, key=lambda lap: lap.step)][1:]


def fit(settings: Settings) -> list[float]:
    """Images per second of each epoch of `model.fit`."""
    import keras

    from unet.data.dataset import read_dataset
    from unet.data.pipeline import TrainingStream
    from unet.models import build_model

    if settings.trainer.precision != "float32":
        keras.mixed_precision.set_global_policy(f"mixed_{settings.trainer.precision}")
    keras.utils.set_random_seed(settings.seed)
    data, trainer = settings.data, settings.trainer
    stream = TrainingStream(read_dataset(data).training, data, settings.loss, settings.seed)
    batches = stream.dataset(first_step=0)
    model = build_model(settings.model, data.channels, len(data.classes))
    model.compile(
        optimizer=keras.optimizers.Adam(settings.lr),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=trainer.jit_compile or "auto",
        steps_per_execution=trainer.steps_per_call,
    )
    laps: list[float] = []

    class Clock(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.started = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            laps.append(trainer.validate_every * data.batch / (time.perf_counter() - self.started))

    model.fit(
        batches, epochs=LAPS + 1, steps_per_epoch=trainer.validate_every, verbose=0, callbacks=[Clock()]
    )
    return laps[1:]


def main() -> None:
    """Print a line of JSON: the median over the laps."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    wanted = json.loads(sys.argv[1])
    settings = settings_of(wanted)
    with tempfile.TemporaryDirectory() as output:
        laps = ours(settings, Path(output)) if wanted["who"] == "ours" else fit(settings)
    print(json.dumps({"images_per_s": statistics.median(laps), "laps": laps}))


if __name__ == "__main__":
    main()
