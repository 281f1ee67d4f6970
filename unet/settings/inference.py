"""How a model looks at an image that is larger than what it was trained on."""

from dataclasses import dataclass

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

    def __post_init__(self) -> None:
        check_range("inference.tile", self.tile, 16, 65536, " pixels")
        check(
            0 <= self.overlap <= self.tile // 2,
            "inference.overlap",
            self.overlap,
            f"from 0 to half of inference.tile={self.tile}",
        )
        check_choice("inference.average", self.average, ["none", "flips", "turns"])
