"""The U-Net: Ronneberger, Fischer and Brox, U-Net: Convolutional Networks for Biomedical Image Segmentation, 2015."""

from collections.abc import Callable

import keras

from unet.models.blocks import Blocks

Level = Callable[[Blocks, keras.KerasTensor, int, str, int], keras.KerasTensor]
"""What a level does to its image: (blocks, image, filters, name, strides of the first convolution)."""


def build_unet(blocks: Blocks, channels: int, classes: int) -> keras.Model:
    """Two convolutions on each level, down and up again."""
    return encoder_decoder(blocks, channels, classes, _two_convolutions)


def encoder_decoder(blocks: Blocks, channels: int, classes: int, level: Level) -> keras.Model:
    """Down over the levels, and up again with what was there on the way down."""
    settings, widths = blocks.settings, blocks.widths
    inputs = keras.Input((None, None, channels), name="images")
    x, skips = inputs, []
    for depth in range(settings.depth):
        x = level(blocks, x, widths[depth], f"down{depth}", settings.stem if depth == 0 else 1)
        skips.append(x)
        x = keras.layers.MaxPooling2D(2, name=f"down{depth}_pool")(x)

    x = blocks.dropped(level(blocks, x, widths[-1], "bottom", 1))

    for depth in reversed(range(settings.depth)):
        x = blocks.upsampled(x, widths[depth], f"up{depth}")
        x = keras.layers.Concatenate(name=f"up{depth}_join")([blocks.cropped(skips[depth], depth), x])
        x = level(blocks, x, widths[depth], f"up{depth}", 1)

    return keras.Model(inputs, blocks.logits(x, classes), name=settings.name)


def _two_convolutions(
    blocks: Blocks, x: keras.KerasTensor, filters: int, name: str, strides: int
) -> keras.KerasTensor:
    # With strides, the kernel still reaches over the neighbours of each block: 3x3 blocks.
    x = blocks.convolution(x, filters, f"{name}a", size=3 * strides, strides=strides)
    return blocks.convolution(x, filters, f"{name}b")
