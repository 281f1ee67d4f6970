"""The losses of a training on so many virtual CPU devices, as JSON: `python -m tests.unet.replicated_training <json>`.

{"data": folder, "output": directory, "devices": 2, "batch": 5, "short_batches": true}
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import tensorflow as tf

from tests.unet.conftest import make_settings
from unet.settings import LossSettings, OptimizerSettings
from unet.training import train


def main() -> None:
    wanted = json.loads(sys.argv[1])
    tf.config.threading.set_inter_op_parallelism_threads(max(2, wanted["devices"]))
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration() for _ in range(wanted["devices"])]
    )
    settings = make_settings(Path(wanted["data"]))
    settings.model = replace(settings.model, dropout=0.0)
    settings.data = replace(settings.data, batch=wanted["batch"], short_batches=wanted["short_batches"])
    settings.loss = LossSettings(dice=wanted.get("dice", 1.0), focal=0.5, class_weights=[1.0, 2.0])
    settings.optimizer = OptimizerSettings(name="adamw", weight_decay=1e-3, clip_norm=1.0, ema_decay=0.9)
    settings.trainer = replace(
        settings.trainer,
        devices="all",
        steps=24,
        validate_every=8,
        checkpoint_every=12,
        precision=wanted.get("precision", "float32"),
    )
    train(settings, Path(wanted["output"]))


if __name__ == "__main__":
    main()
