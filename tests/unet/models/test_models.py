"""The networks: shapes, what they are made of, and that they load anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml
from keras.src.legacy.saving import legacy_h5_format

from unet.errors import SettingsError
from unet.models import build_model, gives_probabilities, summary_text, with_probabilities
from unet.models.blocks import Blocks
from unet.settings import ModelSettings

PLAIN = ModelSettings(filters=2, depth=2)
PAPER = ModelSettings(filters=2, depth=4, norm="none", padding="valid", dropout=0.5)
MOBILENET = ModelSettings(name="mobilenet_unet", filters=4, depth=5, pretrained=False)
CASES = {
    "unet": PLAIN,
    "group": ModelSettings(filters=2, depth=2, norm="group", norm_groups=2),
    "bilinear": ModelSettings(filters=2, depth=3, upsampling="bilinear"),
    "stem2": ModelSettings(filters=2, depth=2, stem=2),
    "stem4": ModelSettings(filters=2, depth=1, stem=4, norm="none", dropout=0.3),
    "paper": PAPER,
    "valid-stem2": ModelSettings(filters=2, depth=2, stem=2, padding="valid"),
    "valid-stem4": ModelSettings(filters=2, depth=1, stem=4, padding="valid"),
    "resunet": ModelSettings(name="resunet", filters=4, depth=2, norm="group", norm_groups=4),
    "resunet-stem2": ModelSettings(name="resunet", filters=2, depth=1, stem=2),
    "mobilenet": MOBILENET,
    "mobilenet-bilinear": replace(MOBILENET, upsampling="bilinear", dropout=0.2),
}
all_cases = pytest.mark.parametrize("settings", CASES.values(), ids=CASES.keys())

CONF = Path(__file__).parents[3] / "conf" / "model"


def least_side(settings: ModelSettings) -> int:
    """The smallest image that the model gives something for."""
    least = 2 * settings.margin + 1
    return least + (settings.size_remainder - least) % settings.size_multiple


@all_cases
@pytest.mark.parametrize(("channels", "classes"), [(1, 2), (3, 5)])
def test_logits_have_the_size_of_the_image_without_its_margin(
    settings: ModelSettings, channels: int, classes: int
) -> None:
    model = build_model(settings, channels, classes)
    height = least_side(settings)
    width = height + 3 * settings.size_multiple
    logits = model(tf.zeros([2, height, width, channels]))
    assert logits.shape == (2, height - 2 * settings.margin, width - 2 * settings.margin, classes)
    assert logits.dtype == tf.float32


def test_the_papers_network_is_the_one_of_the_paper() -> None:
    settings = ModelSettings(**yaml.safe_load((CONF / "unet_paper.yaml").read_text()))
    model = build_model(settings, 1, 2)
    assert model.count_params() == 31_030_658
    assert settings.margin == (572 - 388) // 2
    assert model.compute_output_shape((1, 572, 572, 1)) == (1, 388, 388, 2)


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_each_config_opens_with_a_sentence_and_is_valid(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# ") and text.splitlines()[0].endswith((".", ":"))
    given = yaml.safe_load(text)
    assert given.keys() <= {field.name for field in fields(ModelSettings)}
    ModelSettings(**given)


@pytest.mark.parametrize("name", ["unet", "resunet"])
def test_widths_and_depth_are_those_of_the_settings(name: str) -> None:
    settings = ModelSettings(name=name, filters=3, depth=3)
    model = build_model(settings, 1, 2)
    levels = ("down0", "down1", "down2", "bottom")
    assert tuple(model.get_layer(f"{level}a_conv").filters for level in levels) == Blocks(settings).widths
    assert tuple(model.get_layer(f"up{depth}b_conv").filters for depth in range(3)) == (3, 6, 12)
    assert Blocks(settings).widths == (3, 6, 12, 24)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("name", ["unet", "group", "valid-stem2", "resunet", "mobilenet"])
def test_logits_are_float32_when_layers_compute_in_half_precision(name: str, policy: str) -> None:
    keras.mixed_precision.set_global_policy(policy)
    settings = CASES[name]
    model = build_model(settings, 1, 2)
    side = least_side(settings)
    images = tf.random.stateless_uniform([2, side, side, 1], seed=[0, 0])
    with tf.GradientTape() as tape:
        logits = model(images, training=True)
        loss = tf.reduce_mean(logits**2)
    assert logits.dtype == tf.float32
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    assert any(layer.compute_dtype == policy.removeprefix("mixed_") for layer in model.layers)
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(np.isfinite(gradient.numpy()).all() for gradient in gradients)


@all_cases
def test_models_are_made_of_layers_of_keras(settings: ModelSettings) -> None:
    layers = {type(layer) for layer in with_probabilities(build_model(settings, 1, 3)).layers}
    assert all(layer.__module__.startswith("keras.") for layer in layers)
    assert keras.layers.Lambda not in layers


def test_saved_models_give_the_same_in_a_process_without_this_package(tmp_path: Path) -> None:
    saved = ("stem2", "group", "paper", "resunet", "mobilenet")
    for name in saved:
        settings = CASES[name]
        model = with_probabilities(build_model(settings, 1, 3))
        side = least_side(settings)
        images = np.random.default_rng(0).random((1, side, side, 1), np.float32)
        model.save(tmp_path / f"{name}.keras")
        np.savez(tmp_path / f"{name}.npz", images=images, expected=model(images))
    script = tmp_path / "load.py"
    script.write_text(
        "import glob, importlib.util, keras, numpy as np\n"
        "assert importlib.util.find_spec('unet') is None\n"
        "files = glob.glob('*.keras')\n"
        f"assert len(files) == {len(saved)}\n"
        "for file in files:\n"
        "    model = keras.saving.load_model(file, compile=False)\n"
        "    known = np.load(file.replace('.keras', '.npz'))\n"
        "    np.testing.assert_allclose(model(known['images']), known['expected'], atol=1e-5)\n"
    )
    # -I leaves out the working directory and PYTHONPATH, but not the entry of this checkout among the packages.
    checkout = str(Path(__file__).parents[3])
    without = f"import sys; sys.path[:] = [place for place in sys.path if place != {checkout!r}]"
    outside = f"{without}; import runpy; runpy.run_path('load.py')"
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", outside],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@all_cases
def test_a_clone_has_the_same_weights_in_the_same_order(settings: ModelSettings) -> None:
    """What the moving average of the weights is made of."""
    model = build_model(settings, 1, 2)
    clone = keras.models.clone_model(model)
    assert [w.path.split("/")[-2:] for w in clone.weights] == [w.path.split("/")[-2:] for w in model.weights]
    assert [w.shape for w in clone.weights] == [w.shape for w in model.weights]


@pytest.mark.parametrize(
    "settings",
    [
        ModelSettings(filters=2, depth=1, stem=2, upsampling="bilinear", dropout=0.3),
        ModelSettings(filters=2, depth=1, padding="valid"),
        ModelSettings(name="resunet", filters=2, depth=1, norm="group", norm_groups=2),
        pytest.param(MOBILENET, marks=pytest.mark.slow),
    ],
    ids=["bilinear", "valid", "resunet", "mobilenet"],
)
def test_a_model_learns_under_xla(settings: ModelSettings) -> None:
    keras.utils.set_random_seed(0)
    model = build_model(settings, 1, 2)
    side = least_side(settings)
    images = tf.random.stateless_uniform([2, side, side, 1], seed=[0, 0])

    @tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
    def gradients() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.nn.softmax(model(images, training=True))[..., 0])
        found: list[tf.Tensor] = tape.gradient(loss, model.trainable_variables)
        return found

    assert all(np.isfinite(gradient.numpy()).all() for gradient in gradients())


@pytest.mark.parametrize("settings", [PLAIN, MOBILENET], ids=["unet", "mobilenet"])
@pytest.mark.parametrize("synchronized", [False, True])
def test_batch_normalisation_is_as_the_settings_want_it(settings: ModelSettings, synchronized: bool) -> None:
    model = build_model(replace(settings, norm_momentum=0.7), 1, 2, synchronized=synchronized)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert norms
    assert {layer.synchronized for layer in norms} == {synchronized}
    assert {layer.momentum for layer in norms} == {0.7}
    clone = keras.models.clone_model(model)
    assert {x.momentum for x in clone.layers if isinstance(x, keras.layers.BatchNormalization)} == {0.7}


@pytest.mark.slow
def test_synchronized_normalisation_looks_at_the_batch_on_all_devices() -> None:
    """In a process of its own, for TensorFlow splits a CPU only before it starts."""
    done = subprocess.run([sys.executable, "-c", _MIRRORED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


_MIRRORED = """
import keras, numpy as np, tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
from unet.models import build_model
from unet.replicas import share_of
from unet.settings import ModelSettings

images = np.random.default_rng(0).random((4, 16, 16, 1), np.float32)
images[2:] *= 3  # the second device's are brighter

def on(strategy, synchronized):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        model = build_model(ModelSettings(filters=2, depth=1), 1, 2, synchronized=synchronized)
    step = tf.function(lambda x: strategy.run(lambda x: model(share_of(x), training=True), args=(x,)))
    shares = strategy.experimental_local_results(step(tf.constant(images)))
    return np.concatenate(shares), [weight.numpy() for weight in model.non_trainable_weights]

logits, statistics = on(tf.distribute.get_strategy(), False)
mirrored, mirrored_statistics = on(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), True)
np.testing.assert_allclose(mirrored, logits, atol=1e-4)
for ours, theirs in zip(mirrored_statistics, statistics, strict=True):
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
"""


def test_images_of_any_brightness_reach_the_encoder_as_it_was_trained() -> None:
    """MobileNetV2's own preprocessing takes 0..255 to -1..1."""
    model = build_model(MOBILENET, 1, 2)
    first = keras.Model(model.input, model.get_layer("to_minus_one_to_one").output)
    grey = np.random.default_rng(0).random((1, 32, 32, 1), np.float32)
    expected = keras.applications.mobilenet_v2.preprocess_input(np.repeat(255 * grey, 3, axis=-1))
    np.testing.assert_allclose(first(grey), expected, atol=1e-5)


def test_a_frozen_encoder_stays_as_it_is() -> None:
    model = build_model(replace(MOBILENET, freeze_encoder=True), 3, 2)
    decoder = ("up", "logits")
    encoder = [w for w in model.weights if not w.path.startswith(decoder)]
    before = [w.numpy() for w in encoder]
    assert all(w.path.startswith(decoder) for w in model.trainable_variables)

    images = tf.random.stateless_uniform([2, 64, 64, 3], seed=[0, 0])
    optimizer = keras.optimizers.SGD(0.1)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(images, training=True) ** 2)
    optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
    for weight, value in zip(encoder, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value, weight.path)

    clone = keras.models.clone_model(model)
    assert len(clone.trainable_variables) == len(model.trainable_variables)


def test_what_is_not_frozen_is_trained() -> None:
    model = build_model(MOBILENET, 3, 2)
    assert any(w.path.startswith("block_1_expand") for w in model.trainable_variables)


def test_without_imagenets_weights_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreachable(*args: object, **kwargs: object) -> None:
        raise Exception("URL fetch failure on https://example.org:\nNone -- timed out")  # as Keras does

    monkeypatch.setattr("keras.src.applications.mobilenet_v2.file_utils.get_file", unreachable)
    keras.utils.set_random_seed(0)
    model = build_model(replace(MOBILENET, pretrained=True), 1, 2)
    assert model(tf.zeros([1, 32, 32, 1])).shape == (1, 32, 32, 2)
    (line,) = [record.getMessage() for record in caplog.records if record.name.startswith("unet")]
    assert "random weights" in line and "timed out" in line and "\n" not in line
    assert capsys.readouterr().out == ""


def test_imagenets_weights_are_those_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keras.utils.set_random_seed(1)
    published = keras.applications.MobileNetV2(input_shape=(224, 224, 3), include_top=False, weights=None)
    file = tmp_path / "published.h5"
    with h5py.File(file, "w") as root:  # the published files have the format of Keras 1
        legacy_h5_format.save_weights_to_hdf5_group(root, published)
    monkeypatch.setattr("keras.src.applications.mobilenet_v2.file_utils.get_file", lambda *a, **k: str(file))
    for channels in (1, 3):
        model = build_model(replace(MOBILENET, pretrained=True), channels, 2)
        for name in ("Conv1", "block_7_depthwise", "block_16_project_BN"):
            for ours, theirs in zip(
                model.get_layer(name).get_weights(), published.get_layer(name).get_weights(), strict=True
            ):
                np.testing.assert_array_equal(ours, theirs)


def test_probabilities_are_those_of_the_logits() -> None:
    model = build_model(PLAIN, 1, 3)
    images = tf.random.stateless_uniform([1, 8, 8, 1], seed=[0, 0])
    probabilities = with_probabilities(model)
    np.testing.assert_allclose(probabilities(images), tf.nn.softmax(model(images)), rtol=1e-5, atol=1e-6)
    assert gives_probabilities(probabilities)
    assert not gives_probabilities(model)


def test_the_summary_has_every_layer_on_a_line() -> None:
    model = build_model(PLAIN, 1, 2)
    text = summary_text(model)
    for layer in model.layers:
        assert any(line.startswith(layer.name + " ") for line in text.splitlines())
    assert "[any, any, any, 2]" in text
    trained = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert f"{model.count_params():,} weights, {trained:,} of them trained" in text


def test_valid_padding_takes_no_interpolation() -> None:
    with pytest.raises(SettingsError, match=r"model\.upsampling is 'bilinear'.*transposed"):
        ModelSettings(padding="valid", upsampling="bilinear")
