"""The network: the U-Net of Ronneberger, Fischer and Brox (2015), padded and batch-normalised."""

import keras

from unet.settings import ModelSettings


def build_unet(settings: ModelSettings, channels: int, classes: int) -> keras.Model:
    """A U-Net for images of any size that is a multiple of `settings.size_multiple`.

    Takes images: float32 [batch, height, width, channels] in [0, 1].
    Gives logits: float32 [batch, height, width, classes].
    """
    inputs = keras.Input((None, None, channels), name="images")
    x, skips = inputs, []
    for level in range(settings.depth):
        x = _convolutions(x, settings.filters * 2**level, settings.norm_momentum, f"down{level}")
        skips.append(x)
        x = keras.layers.MaxPooling2D(2, name=f"down{level}_pool")(x)

    x = _convolutions(x, settings.filters * 2**settings.depth, settings.norm_momentum, "bottom")
    if settings.dropout:
        x = keras.layers.SpatialDropout2D(settings.dropout, name="bottom_dropout")(x)

    for level in reversed(range(settings.depth)):
        filters = settings.filters * 2**level
        x = keras.layers.Conv2DTranspose(filters, 2, strides=2, name=f"up{level}_transpose")(x)
        x = keras.layers.Concatenate(name=f"up{level}_join")([skips[level], x])
        x = _convolutions(x, filters, settings.norm_momentum, f"up{level}")

    # Logits stay float32 when the layers before compute in half precision: the loss needs the digits.
    logits = keras.layers.Conv2D(classes, 1, dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name=settings.name)


def with_probabilities(model: keras.Model) -> keras.Model:
    """The same network, sharing its weights, with class probabilities instead of logits."""
    probabilities = keras.layers.Softmax(dtype="float32", name="probabilities")(model.output)
    return keras.Model(model.input, probabilities, name=f"{model.name}_probabilities")


def _convolutions(x: keras.KerasTensor, filters: int, momentum: float, name: str) -> keras.KerasTensor:
    for part in ("a", "b"):
        # No bias: the normalisation that follows has one.
        x = keras.layers.Conv2D(
            filters,
            3,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"{name}{part}_conv",
        )(x)
        x = keras.layers.BatchNormalization(momentum=momentum, name=f"{name}{part}_norm")(x)
        x = keras.layers.ReLU(name=f"{name}{part}_relu")(x)
    return x
