"""What a check has found, and what mends it."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from enum import Enum
from typing import Any

_INDENT = 25


class State(str, Enum):
    """``SKIPPED``: it could not be asked, or does not apply."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    SKIPPED = "skipped"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Remedy:
    """One way to mend it: commands, settings (``hydra.launcher…=…``) or links, to be done one after the other."""

    steps: tuple[str, ...]

    def __str__(self) -> str:
        return " and ".join(self.steps)


@dataclass(frozen=True)
class Finding:
    """One line of the report. Each of the remedies mends it."""

    check: str
    state: State
    found: str
    remedies: tuple[Remedy, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The stable form: docs/setup.md."""
        return {
            "check": self.check,
            "state": self.state.value,
            "found": self.found,
            "remedies": [list(one.steps) for one in self.remedies],
        }


def ok(check: str, found: str) -> Finding:
    return Finding(check, State.OK, found)


def skipped(check: str, why: str, *remedies: Remedy) -> Finding:
    return Finding(check, State.SKIPPED, why, remedies)


def warning(check: str, found: str, *remedies: Remedy) -> Finding:
    return Finding(check, State.WARNING, found, remedies)


def error(check: str, found: str, *remedies: Remedy) -> Finding:
    return Finding(check, State.ERROR, found, remedies)


def by(*steps: str) -> Remedy:
    """A remedy of these steps."""
    return Remedy(steps)


def lines(finding: Finding, width: int | None = None) -> list[str]:
    """As a person reads it; wrapped to ``width``, but for what is to be copied."""
    said = finding.found.splitlines() or [""]
    if width is not None and width > _INDENT + 20:
        said = [part for one in said for part in textwrap.wrap(one, width - _INDENT, break_on_hyphens=False)]
    first, *more = said
    head = [f" {finding.state.value:8} {finding.check:14} {first}", *(f"{'':{_INDENT}}{one}" for one in more)]
    arrows = ["→", *["  or"] * len(finding.remedies)]
    return [
        *head,
        *(f"{'':{_INDENT}}{arrow} {one}" for arrow, one in zip(arrows, finding.remedies, strict=False)),
    ]
