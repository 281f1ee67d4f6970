"""The network: which one, how wide, how deep."""

import re
from dataclasses import dataclass

from unet.settings.checks import check, check_choice, check_range

NETWORKS = ("unet", "resunet", "mobilenet_unet")

MOBILENET_DEPTH = 5
"""MobileNetV2 halves its image five times."""


@dataclass
class ModelSettings:
    """The network."""

    name: str = "unet"
    """unet, resunet (residual blocks), mobilenet_unet (MobileNetV2 as encoder), or a function of your own,
    `module:function`, which is called with these settings, the number of channels and the number of classes, and
    returns a keras.Model of logits. Its images have sizes that are a multiple of stem * 2**depth."""
    filters: int = 16
    """Channels of the first level; each level below has twice as many. mobilenet_unet: of the last level up."""
    depth: int = 4
    """How often the image is halved on the way down. mobilenet_unet: always 5."""
    stem: int = 1
    """Side of the blocks of pixels that become one pixel with more channels before the first level, and are
    unfolded again behind the last: 2 makes a step about three times as fast, and small details coarser."""
    norm: str = "batch"
    """batch, group or none."""
    norm_momentum: float = 0.9
    """How slowly batch normalisation's statistics move. Keras's 0.99 is too slow for hundreds of steps."""
    norm_groups: int = 8
    """Groups of channels that group normalisation looks at; `filters` is a multiple of it."""
    dropout: float = 0.0
    """Share of the deepest level's channels that is left out in training."""
    upsampling: str = "transposed"
    """transposed (learned) or bilinear (a 1x1 convolution, then interpolation)."""
    padding: str = "same"
    """same: the output is as large as the input. valid: as in the paper, convolutions without padding; the
    output lacks `margin` pixels on each side. Only unet."""
    pretrained: bool = True
    """mobilenet_unet: start the encoder from ImageNet's weights where Keras can load them."""
    freeze_encoder: bool = False
    """mobilenet_unet: leave the encoder as it is, the statistics of its batch normalisation included."""

    def __post_init__(self) -> None:
        check(
            self.name in NETWORKS or bool(re.fullmatch(r"[\w.]+:\w+", self.name)),
            "model.name",
            self.name,
            f"one of {', '.join(NETWORKS)}, or module:function",
        )
        check_range("model.filters", self.filters, 1, 512)
        check_range("model.depth", self.depth, 0 if ":" in self.name else 1, 7)
        check(self.stem in (1, 2, 4), "model.stem", self.stem, "1, 2 or 4")
        check_choice("model.norm", self.norm, ["batch", "group", "none"])
        check(
            0 <= self.norm_momentum < 1, "model.norm_momentum", self.norm_momentum, "at least 0 and below 1"
        )
        check(
            self.norm != "group" or (self.norm_groups >= 1 and self.filters % self.norm_groups == 0),
            "model.norm_groups",
            self.norm_groups,
            f"a divisor of model.filters={self.filters}",
        )
        check(0 <= self.dropout < 1, "model.dropout", self.dropout, "at least 0 and below 1")
        check_choice("model.upsampling", self.upsampling, ["transposed", "bilinear"])
        check_choice("model.padding", self.padding, ["same", "valid"])
        check(
            self.padding == "same" or self.name == "unet",
            "model.padding",
            self.padding,
            f"same with model.name={self.name} (or take model.name=unet)",
        )
        check(
            self.padding == "same" or self.upsampling == "transposed",
            "model.upsampling",
            self.upsampling,
            "transposed with model.padding=valid: an interpolation would need pixels from beyond the border",
        )
        if self.name == "mobilenet_unet":
            check(
                self.depth == MOBILENET_DEPTH,
                "model.depth",
                self.depth,
                f"{MOBILENET_DEPTH} with model.name=mobilenet_unet",
            )
            check(self.stem == 1, "model.stem", self.stem, "1 with model.name=mobilenet_unet")
            check(
                self.norm == "batch",
                "model.norm",
                self.norm,
                "batch with model.name=mobilenet_unet, as its encoder",
            )
        check(
            not self.freeze_encoder or self.name == "mobilenet_unet" or ":" in self.name,
            "model.freeze_encoder",
            self.freeze_encoder,
            f"false with model.name={self.name}, which is trained as a whole",
        )

    @property
    def size_multiple(self) -> int:
        """Heights and widths of images are a multiple of this many pixels, and `size_remainder` more."""
        return int(self.stem * 2**self.depth)

    @property
    def size_remainder(self) -> int:
        """0 but for padding=valid, where each level has to be even after its convolutions have cut it."""
        return 0 if self.padding == "same" else -4 * self.stem % self.size_multiple

    @property
    def margin(self) -> int:
        """Pixels on each side of the input for which there is no output: 92 for the paper's network."""
        if self.padding == "same":
            return 0
        # Each 3x3 convolution takes a pixel of its level off each side: two on the way down and two on the way
        # up on every level, and two on the deepest.
        return int(self.stem * (6 * 2**self.depth - 4))
