"""How figures and texts are written: money, durations, numbers, bars, sparklines, texts that must fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import SupportsFloat

from rich.cells import cell_len, set_cell_size

_EIGHTHS = "▁▂▃▄▅▆▇█"
_LONG_OVERRIDES = 20
_LEAST_SHOWN = Decimal("0.000001")


def money(amount: Decimal) -> str:
    """US dollars: ``$0.031``, ``$12.40``, ``$0.00042``. Nothing that costs something is written as zero."""
    if amount < 0:
        return f"-{money(-amount)}"
    if amount == 0:
        return "$0"
    if amount < _LEAST_SHOWN:
        return f"<${_LEAST_SHOWN:f}"
    if amount >= 1000:
        return f"${amount:,.0f}"
    if amount >= 1:
        return f"${amount:.2f}"
    if amount >= Decimal("0.001"):
        return f"${amount:.3f}"
    decimals = 1 - amount.adjusted()  # two digits that say something
    return f"${amount:.{decimals}f}"


def duration(seconds: float) -> str:
    """``0:07``, ``11:02``, ``3:05:59``."""
    whole = max(0, int(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes}:{secs:02}"


def rough_duration(seconds: float) -> str:
    """``40 s``, ``24 min``, ``3 h 10 min``: for what is only guessed."""
    if seconds < 55:
        return f"{max(5, 5 * round(seconds / 5))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def clock(seconds: float) -> str:
    """Local time of day of a moment in seconds since the epoch."""
    return datetime.fromtimestamp(seconds).strftime("%H:%M:%S")


def number(value: SupportsFloat, digits: int = 4) -> str:
    """A number with ``digits`` significant digits, trailing zeros kept so that columns stay comparable."""
    if isinstance(value, int):
        return f"{value:,}" if abs(value) < 10**12 else f"{Decimal(value):.{digits - 1}e}"
    real = float(value)
    if not math.isfinite(real):
        return str(real)
    if real == 0 or 1e-4 <= abs(real) < 10**digits - 0.5:
        return f"{real:#.{digits}g}".rstrip(".")
    return f"{real:,.0f}" if 1 <= abs(real) < 1e9 else f"{real:.{digits - 1}e}"


def steps(step: int, total: int | None) -> str:
    return f"{step:,}/{total:,}" if total else f"{step:,}"


def bar(step: int, total: int, cells: int = 4) -> str:
    """Full only when all steps are done, empty only before the first."""
    done = min(1.0, max(0.0, step / total))
    full = cells if done == 1.0 else min(cells - 1, math.ceil(done * cells))
    return "█" * full + "░" * (cells - full)


def records_said(share: float) -> str:
    return f"{share:.0%} of the waiting records are in MLflow"


def speed(value: float, unit: str) -> str:
    """``16.2 images/s``; below one in a second the other way round: ``12.0 s/step``."""
    if 0 < value < 1 and unit.endswith("s/s"):
        return f"{number(1 / value, 3)} s/{unit[:-3]}"
    return f"{number(float(value), 3)} {unit}"


def sparkline(values: Sequence[float], cells: int = 5) -> str:
    """``cells`` of the finite values, evenly taken, between their least and greatest; empty below two values."""
    taken = [value for value in values if math.isfinite(value)]
    if len(taken) > cells:
        taken = [taken[round(at * (len(taken) - 1) / (cells - 1))] for at in range(cells)]
    if len(taken) < 2:
        return ""
    low, high = min(taken), max(taken)
    if high == low:
        return _EIGHTHS[3] * len(taken)
    # Each is scaled before the difference is taken: the difference of two huge floats may be infinite.
    scale = max(abs(low), abs(high))
    span = high / scale - low / scale
    return "".join(_EIGHTHS[min(7, int((value / scale - low / scale) / span * 8))] for value in taken)


def clean(text: str) -> str:
    """One line that a terminal shows and never obeys: what a VM wrote may hold escape sequences."""
    one_line = " ".join(text.split())
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in one_line)


def shorten_middle(text: str, cells: int) -> str:
    """At most ``cells`` wide; of what is too long the beginning and the end stay."""
    if cell_len(text) <= cells:
        return text
    if cells < 5:
        return shorten_end(text, cells)
    head = (cells - 1) // 2
    tail = cells - 1 - head
    return f"{set_cell_size(text, head)}…{set_cell_size(text[::-1], tail)[::-1]}"


def shorten_end(text: str, cells: int) -> str:
    if cell_len(text) <= cells:
        return text
    return f"{set_cell_size(text, cells - 1)}…" if cells > 0 else ""


def in_a_row(overrides: Sequence[Sequence[str]]) -> list[str]:
    """Each point's own overrides for a table: long ones by the last part of their names, if those differ."""
    own = told_apart(overrides)[0]
    if max((cell_len(text) for text in own), default=0) <= _LONG_OVERRIDES:
        return own
    full = {one.partition("=")[0] for point in overrides for one in point}
    if len({_leaf(name) for name in full}) < len(full):
        return own
    return told_apart([[_leaf(one) for one in point] for point in overrides])[0]


def _leaf(override: str) -> str:
    """``optimizer.learning_rate=0.1`` -> ``learning_rate=0.1``; dots in the value stay."""
    name, equals, value = override.partition("=")
    return f"{name.rpartition('.')[2]}{equals}{value}"


def told_apart(overrides: Sequence[Sequence[str]]) -> tuple[list[str], str]:
    """Each point's own overrides, and those that all points share (which need no place in every row)."""
    shared: list[str] = []
    if len(overrides) > 1:
        shared = [one for one in overrides[0] if all(one in others for others in overrides[1:])]
    own = [" ".join(one for one in point if one not in shared) for point in overrides]
    if not all(own):
        own, shared = [" ".join(point) for point in overrides], []
    return [clean(text) for text in own], clean(" ".join(shared))
