"""How a model looks at an image that is larger than what it was trained on."""

import math
from dataclasses import dataclass, replace

from unet.settings.checks import check, check_choice, check_range


@dataclass
class InferenceSettings:
    """Whole images, tile by tile."""

    tile: int = 512
    """Images up to this height and width are looked at as a whole, larger ones in tiles of this size."""
    overlap: int = 64
    """Pixels that neighbouring tiles share; there one fades into the other."""
    average: str = "none"
    """none; flips: mean of the image and its three mirror images; turns: of all eight ways to lay it."""

    shifts: int = 1
    """n: mean of n * n places of the image below the model's grid of pixels, 0 to n - 1 pixels further down and right.
    A model with a stem or pooling sees a thin line in another way one pixel further; n = the stem is most of it."""

    class_weights: list[float] | None = None
    """How much the probability of each class counts; null = all the same. A thin class is found too seldom by a model
    whose every pixel counts alike: a weight above 1 finds more of it, at the same mean IoU or a better one."""

    @property
    def plain(self) -> "InferenceSettings":
        """The same with one look at each image: what is fast enough while a training runs."""
        return replace(self, average="none", shifts=1)

    def __post_init__(self) -> None:
        check_range("inference.tile", self.tile, 16, 65536, " pixels")
        check(
            0 <= self.overlap <= self.tile // 2,
            "inference.overlap",
            self.overlap,
            f"from 0 to half of inference.tile={self.tile}",
        )
        check_range("inference.shifts", self.shifts, 1, 16, " pixels")
        if self.class_weights is not None:
            check(
                all(0 < weight < math.inf for weight in self.class_weights),
                "inference.class_weights",
                self.class_weights,
                "a number above 0 for each class, or null",
            )
        check_choice("inference.average", self.average, ["none", "flips", "turns"])
