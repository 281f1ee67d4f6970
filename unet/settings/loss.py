"""What the training makes small."""

from dataclasses import dataclass

from unet.settings.checks import check, check_range, is_positive


@dataclass
class LossSettings:
    """A weighted sum: the share of each part; 0 leaves it out."""

    cross_entropy: float = 1.0
    dice: float = 1.0
    """Soft Dice over the whole batch: rare classes, such as thin membranes, count as much as common ones."""
    focal: float = 0.0
    """Cross-entropy in which pixels that are right already count little (Lin et al. 2017)."""
    focal_gamma: float = 2.0
    """How little."""
    class_weights: list[float] | None = None
    """How much a pixel of each class counts in cross-entropy and focal; null = all the same."""
    border_weight: float = 0.0
    """w0 of the border-weight map (Ronneberger, Fischer and Brox 2015; 10 there): how much more a background
    pixel between two near objects counts in cross-entropy and focal."""
    border_sigma: float = 5.0
    """sigma of that map in pixels: how near."""
    border_class: str | None = None
    """The class whose connected parts are the objects of that map; null = the last of data.classes."""

    def __post_init__(self) -> None:
        for name in ("cross_entropy", "dice", "focal"):
            check_range(f"loss.{name}", getattr(self, name), 0, 100)
        check(
            self.cross_entropy + self.dice + self.focal > 0,
            "loss.cross_entropy",
            self.cross_entropy,
            "above 0 where loss.dice and loss.focal are 0",
        )
        check_range("loss.focal_gamma", self.focal_gamma, 0, 10)
        if self.class_weights is not None:
            check(
                all(weight >= 0 for weight in self.class_weights) and sum(self.class_weights) > 0,
                "loss.class_weights",
                self.class_weights,
                "0 or more, one of them above, or null",
            )
        check_range("loss.border_weight", self.border_weight, 0, 1000)
        check(is_positive(self.border_sigma), "loss.border_sigma", self.border_sigma, "above 0 pixels")
