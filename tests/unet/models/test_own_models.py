"""Models of somebody else's module."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest
import tensorflow as tf

from unet.errors import SettingsError
from unet.models import build_model
from unet.settings import ModelSettings

SOURCE = """
import keras

def linear(settings, channels, classes):
    images = keras.Input((None, None, channels))
    x = keras.layers.Conv2D(settings.filters, 3, padding="same", activation="relu")(images)
    return keras.Model(images, keras.layers.Conv2D(classes, 1)(x))

def of_one_size(settings, channels, classes):
    images = keras.Input((64, 64, channels))
    return keras.Model(images, keras.layers.Conv2D(classes, 1)(images))

def of_one_class(settings, channels, classes):
    images = keras.Input((None, None, channels))
    return keras.Model(images, keras.layers.Conv2D(1, 1)(images))

def of_probabilities(settings, channels, classes):
    images = keras.Input((None, None, channels))
    return keras.Model(images, keras.layers.Softmax()(keras.layers.Conv2D(classes, 1)(images)))

def without_padding(settings, channels, classes):
    images = keras.Input((None, None, channels))
    return keras.Model(images, keras.layers.Conv2D(classes, 3)(images))

class Odd(keras.layers.Layer):
    def call(self, x):
        return x + 1

def of_an_odd_layer(settings, channels, classes):
    images = keras.Input((None, None, channels))
    return keras.Model(images, keras.layers.Conv2D(classes, 1)(Odd()(images)))

def of_a_layer(settings, channels, classes):
    return keras.layers.Conv2D(classes, 1)
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_networks.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)


def test_a_function_of_ones_own_builds_the_model() -> None:
    model = build_model(ModelSettings(name="my_networks:linear", filters=7, depth=0), 3, 4)
    assert model(tf.zeros([1, 5, 9, 3])).shape == (1, 5, 9, 4)
    assert model.layers[1].filters == 7


def test_its_logits_are_made_float32() -> None:
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    model = build_model(ModelSettings(name="my_networks:linear"), 1, 2)
    assert model(tf.zeros([1, 4, 4, 1])).dtype == tf.float32


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:linear", "no_such_module cannot be imported .* beside train.py"),
        ("my_networks:cubic", "my_networks has no cubic"),
        ("my_networks:of_one_size", r"takes \[any, 64, 64, 3\] .* take \[any, any, any, 3\]"),
        ("my_networks:of_one_class", r"gives \[any, any, any, 1\]; .* give \[any, any, any, 2\]"),
        ("my_networks:of_probabilities", "ends with a softmax; leave it out"),
        ("my_networks:of_a_layer", "gave a Conv2D; it has to return a keras.Model"),
    ],
)
def test_what_cannot_be_used_is_refused(name: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        build_model(ModelSettings(name=name), 3, 2)


def test_sizes_are_a_multiple_of_what_the_settings_say() -> None:
    assert ModelSettings(name="my_networks:linear", depth=0).size_multiple == 1
    assert ModelSettings(name="my_networks:linear", depth=3, stem=2).size_multiple == 16


@pytest.mark.parametrize("name", ["u-net", "my_networks:", ":linear", "my networks:linear"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=r"model\.name .* or module:function"):
        ModelSettings(name=name)


def test_logits_of_another_size_than_the_image_are_refused() -> None:
    with pytest.raises(SettingsError, match="gives 62x62 logits for an image of 64x64; it has to give 64x64"):
        build_model(ModelSettings(name="my_networks:without_padding", depth=0), 1, 2)


def test_a_layer_of_ones_own_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    build_model(ModelSettings(name="my_networks:of_an_odd_layer", depth=0), 1, 2)
    assert "layers of its own (Odd)" in caplog.text
