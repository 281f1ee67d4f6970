"""Pictures whose classes are known, and a model that is known to the last pixel."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from unet.data.examples import Example
from unet.settings import DataSettings, InferenceSettings, ModelSettings, Settings, TrackingSettings


class Pictures:
    """Examples in memory."""

    def __init__(self, examples: Sequence[Example], white: float = 255) -> None:
        self._examples = examples
        self.names: Sequence[str] = [f"picture-{number}" for number in range(len(examples))]
        self.files: Sequence[str] = [f"images/{name}.png" for name in self.names]
        self.white = white

    def __len__(self) -> int:
        return len(self._examples)

    def read(self, index: int) -> Example:
        return self._examples[index]


def threshold_model(channels: int = 1) -> keras.Model:
    """Logits of two classes: the second where the first channel is above one half. Takes sizes that are even."""
    inputs = keras.Input((None, None, channels), name="images")
    kernel = np.zeros((1, 1, channels, 2), np.float32)
    kernel[0, 0, 0] = [-20, 20]
    x = keras.layers.UpSampling2D(2)(
        keras.layers.AveragePooling2D(2)(inputs)
    )  # only there to need even sizes
    outputs = keras.layers.Conv2D(2, 1, dtype="float32", name="logits")(keras.layers.Add()([inputs, x]))
    model = keras.Model(inputs, outputs, name="threshold")
    # Mean of a pixel and its block of four, both above or both below one half in all pictures of these tests.
    model.get_layer("logits").set_weights([kernel, np.array([20, -20], np.float32)])
    return model


def threshold_settings(channels: int = 1) -> Settings:
    """Those that a training of the threshold model would have had."""
    return Settings(
        model=ModelSettings(filters=1, depth=1, norm="none"),
        data=DataSettings(classes=["dark", "bright"], mask_values=[0, 255], channels=channels, crop=16),
        inference=InferenceSettings(tile=64, overlap=8),
        tracking=TrackingSettings(system_metrics=False, checkpoint=True, model=True),
    )


def half_bright(height: int = 20, width: int = 24, bright_from: int = 12, channels: int = 1) -> Example:
    """Dark on the left, bright on the right, from an even column on; the mask says so."""
    bright = np.zeros((height, width), np.uint8)
    bright[:, bright_from:] = 1
    return Example(np.repeat((bright * 200 + 20)[..., np.newaxis], channels, axis=-1), bright)
