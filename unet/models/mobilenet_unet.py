"""MobileNetV2 (Sandler et al. 2018) as encoder, up-sampling as in pix2pix (Isola et al. 2017)."""

import logging
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import keras

from unet.models.blocks import Blocks

log = logging.getLogger(__name__)

SKIPS = ("block_1_expand_relu", "block_3_expand_relu", "block_6_expand_relu", "block_13_expand_relu")
"""The last layer of MobileNetV2 at a half, a quarter, an eighth and a sixteenth of the image's height and width."""
BOTTOM = "block_16_project_BN"
"""And at a thirty-second."""

_PATIENCE = 15
"""Seconds that a server may keep silent."""


def build_mobilenet_unet(blocks: Blocks, channels: int, classes: int) -> keras.Model:
    """An encoder that may know ImageNet's photographs already, and a decoder of `model.filters` channels."""
    settings = blocks.settings
    inputs = keras.Input((None, None, channels), name="images")
    x = inputs
    if channels == 1:
        x = keras.layers.Concatenate(name="grey_to_colour")([x, x, x])
    x = keras.layers.Rescaling(2.0, offset=-1.0, name="to_minus_one_to_one")(
        x
    )  # what MobileNetV2 was trained with
    encoder = _encoder(x, settings.pretrained)
    for layer in encoder.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            # As it comes, 0.999, its statistics would need thousands of steps to follow other images.
            layer.momentum = settings.norm_momentum
            layer.synchronized = blocks.synchronized
        # Batch normalisation that is not trainable keeps its statistics as well.
        layer.trainable = not settings.freeze_encoder

    x = blocks.dropped(encoder.get_layer(BOTTOM).output)
    widths = blocks.widths[: len(SKIPS)]
    for depth, skip in reversed(list(enumerate(SKIPS, start=1))):
        x = _up(blocks, x, widths[depth - 1], f"up{depth}")
        x = keras.layers.Concatenate(name=f"up{depth}_join")([encoder.get_layer(skip).output, x])
    logits = keras.layers.Conv2DTranspose(
        classes, 4, strides=2, padding="same", dtype="float32", name="logits"
    )(x)
    return keras.Model(inputs, logits, name=settings.name)


def _up(blocks: Blocks, x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    if blocks.settings.upsampling == "bilinear":
        x = blocks.upsampled(x, filters, name)
    else:
        x = keras.layers.Conv2DTranspose(
            filters, 4, strides=2, padding="same", use_bias=False, name=f"{name}_transpose"
        )(x)
    x = blocks.normalized(x, name)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _encoder(images: keras.KerasTensor, pretrained: bool) -> keras.Model:
    """MobileNetV2 on images in [-1, 1], with ImageNet's weights if they are wanted and can be had."""
    if pretrained:
        try:
            with _limited_patience():
                return _mobilenet(images, weights="imagenet")
        except Exception as error:  # Keras raises no narrower one
            reason = " ".join(str(error).split())
            log.warning(
                "The encoder starts from random weights: ImageNet's could not be loaded (%s). "
                "model.pretrained=false says that this is meant.",
                reason,
            )
    return _mobilenet(images, weights=None)


def _mobilenet(images: keras.KerasTensor, weights: str | None) -> keras.Model:
    with warnings.catch_warnings():
        # There are weights for each of a few sizes of images; without its last layers, they are all the same.
        warnings.filterwarnings("ignore", message="`input_shape` is undefined")
        return keras.applications.MobileNetV2(input_tensor=images, include_top=False, weights=weights)


@contextmanager
def _limited_patience() -> Iterator[None]:
    """Downloads give up: behind a firewall that answers nothing, they would wait for minutes."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE)  # Keras takes no time-out, and urllib looks only here
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
