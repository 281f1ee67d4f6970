"""The title of a sweep: which one it is, what it may cost, what was sent, what its points share."""

from __future__ import annotations

import re

from rich.cells import cell_len
from rich.text import Text

from hydra_gce.display.figures import clean, shorten_end, told_apart
from hydra_gce.display.grid import pack
from hydra_gce.view import SweepView

NOTHING_CHARGED = "(embedded: nothing is charged)"

_NAME = "hydra-gce  "
_CLAUSE_ENDS = re.compile(r"(?<=,) | (?=\()")


class Head:
    """Says each part once, and again if it has changed (the estimate comes, another machine is taken)."""

    def __init__(self) -> None:
        self._said: set[tuple[str, ...]] = set()

    def new_lines(self, view: SweepView, width: int | None, folded: int | None = None) -> list[Text]:
        """:param width: what is longer is cut; None cuts nothing, and goes on in a new line after ``folded`` cells."""
        inner = None if width is None else max(1, width - len(_NAME))
        texts: list[str] = []
        for part in _parts(view):
            if part and part not in self._said:
                self._said.add(part)
                texts += _folded(part, inner if inner is not None or folded is None else folded - len(_NAME))
        cut = [text if inner is None else shorten_end(text, inner) for text in texts]
        return [
            Text.assemble((" " * len(_NAME) if at else _NAME, "bold"), text) for at, text in enumerate(cut)
        ]


def _folded(part: tuple[str, ...], width: int | None) -> list[str]:
    """On as few lines as hold it; a segment that is wider than a line goes on behind a comma, or behind a word."""
    lines: list[str] = []
    for text in pack(part, width):
        clauses = [text] if width is None else pack(_CLAUSE_ENDS.split(text), width, " ")
        for clause in clauses:
            fits = width is None or cell_len(clause) <= width
            lines += [clause] if fits else pack(clause.split(" "), width, " ")
    return lines


def _parts(view: SweepView) -> list[tuple[str, ...]]:
    count = len(view.jobs)
    points = f"{count} point{'' if count == 1 else 's'}"
    place = "embedded Compute Engine" if view.backend == "local" else f"project {clean(view.project)}"
    machine = clean(view.machine)
    title = (f"sweep {clean(view.sweep)}", points, place, *([machine] if machine else []))
    estimate = clean(view.estimate).removeprefix("estimate ")
    note = f" {NOTHING_CHARGED}" if view.backend == "local" else ""
    code = clean(view.code).removeprefix("code ")
    plan = (f"estimate {estimate}{note}" if estimate else "", f"code {code}" if code else "")
    shared = told_apart([job.overrides for job in view.jobs])[1]
    return [
        title,
        tuple(text for text in plan if text),
        (f"every point {shared}",) if shared else (),
    ]
