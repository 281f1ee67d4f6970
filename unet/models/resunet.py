"""The U-Net with residual blocks: He et al. 2016 on each level (compare Zhang, Liu and Wang 2018)."""

import keras

from unet.models.blocks import Blocks
from unet.models.unet import encoder_decoder


def build_resunet(blocks: Blocks, channels: int, classes: int) -> keras.Model:
    """Two convolutions on each level that learn what to add to its input."""
    return encoder_decoder(blocks, channels, classes, _residual_block)


def _residual_block(
    blocks: Blocks, x: keras.KerasTensor, filters: int, name: str, strides: int
) -> keras.KerasTensor:
    change = blocks.convolution(x, filters, f"{name}a", size=3 * strides, strides=strides)
    change = blocks.convolution(change, filters, f"{name}b", relu=False)
    # Each level has another number of channels than what comes into it, so that there is always something to convert.
    as_is = blocks.convolution(x, filters, f"{name}_shortcut", size=strides, strides=strides, relu=False)
    total = keras.layers.Add(name=f"{name}_add")([change, as_is])
    return keras.layers.ReLU(name=f"{name}_relu")(total)
