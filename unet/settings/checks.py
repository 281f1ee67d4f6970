"""What every setting is held against: each message names the field, its value and what to give instead."""

import math
from collections.abc import Collection

from unet.errors import SettingsError


def check(holds: bool, name: str, value: object, wanted: str) -> None:
    """Refuse `value` for the field `name` unless it holds.

    Raises:
        SettingsError: with what is wanted instead.
    """
    if not holds:
        raise SettingsError(f"{name} is {value!r}; it has to be {wanted}.")


def check_choice(name: str, value: str, choices: Collection[str]) -> None:
    """One of a few words."""
    check(value in choices, name, value, "one of " + ", ".join(choices))


def check_range(name: str, value: float, least: float, most: float, unit: str = "") -> None:
    """A number between two others, both included."""
    check(least <= value <= most, name, value, f"from {least:g} to {most:g}{unit}")


def is_positive(value: float) -> bool:
    """Above zero, and neither infinite nor nan."""
    return math.isfinite(value) and value > 0
