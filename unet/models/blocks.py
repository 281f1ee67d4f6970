"""Pieces that the networks are made of: layers of Keras itself only, so that a saved model loads anywhere."""

from dataclasses import dataclass

import keras

from unet.settings import ModelSettings


@dataclass(frozen=True)
class Blocks:
    """Makes layers as the settings want them.

    Args:
        synchronized: batch normalisation looks at the share of the batch on all devices, not at its own alone.
    """

    settings: ModelSettings
    synchronized: bool = False

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, from the finest to the deepest."""
        return tuple(self.settings.filters * 2**level for level in range(self.settings.depth + 1))

    def convolution(
        self,
        x: keras.KerasTensor,
        filters: int,
        name: str,
        size: int = 3,
        strides: int = 1,
        relu: bool = True,
    ) -> keras.KerasTensor:
        """A convolution, normalised; with `strides` above 1, one that makes the image smaller by that factor."""
        x = keras.layers.Conv2D(
            filters,
            size,
            strides=strides,
            padding=self.settings.padding,
            use_bias=self.settings.norm == "none",  # a normalisation has a bias of its own
            kernel_initializer="he_normal",
            name=f"{name}_conv",
        )(x)
        x = self.normalized(x, name)
        return keras.layers.ReLU(name=f"{name}_relu")(x) if relu else x

    def normalized(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        """By model.norm."""
        settings = self.settings
        if settings.norm == "batch":
            return keras.layers.BatchNormalization(
                momentum=settings.norm_momentum, synchronized=self.synchronized, name=f"{name}_norm"
            )(x)
        if settings.norm == "group":
            return keras.layers.GroupNormalization(settings.norm_groups, name=f"{name}_norm")(x)
        return x

    def upsampled(self, x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
        """Twice as high and wide, by model.upsampling."""
        if self.settings.upsampling == "transposed":
            return keras.layers.Conv2DTranspose(filters, 2, strides=2, name=f"{name}_transpose")(x)
        # Convolved before it is interpolated: a quarter of the work, and the same result, for both are linear.
        x = keras.layers.Conv2D(filters, 1, name=f"{name}_narrow")(x)
        return keras.layers.UpSampling2D(2, interpolation="bilinear", name=f"{name}_bilinear")(x)

    def dropped(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """What is left of the deepest level after model.dropout."""
        if not self.settings.dropout:
            return x
        return keras.layers.SpatialDropout2D(self.settings.dropout, name="bottom_dropout")(x)

    def cropped(self, skip: keras.KerasTensor, level: int) -> keras.KerasTensor:
        """The middle of a skip connection, as large as what comes up to it from below."""
        if self.settings.padding == "same":
            return skip
        # The two convolutions of a level take 2 pixels off each side, on the way down and on the way up; a pixel
        # of the level below is two of this one.
        crop = 4
        for _ in range(self.settings.depth - 1 - level):
            crop = 2 * (crop + 4)
        return keras.layers.Cropping2D(crop, name=f"up{level}_crop")(skip)

    def logits(self, x: keras.KerasTensor, classes: int) -> keras.KerasTensor:
        """One for each class and pixel of the image; behind a stem, each pixel is unfolded into its block."""
        # They stay float32 when the layers before compute in half precision: the loss needs the digits.
        stem = self.settings.stem
        if stem == 1:
            return keras.layers.Conv2D(classes, 1, dtype="float32", name="logits")(x)
        return keras.layers.Conv2DTranspose(classes, stem, strides=stem, dtype="float32", name="logits")(x)
