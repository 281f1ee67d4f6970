"""All rows, in the order in which an error is held against them: what it says counts before its code.

One code has many meanings: "invalid" may be a zone without this machine, a missing subnetwork or a typing mistake.
"""

from __future__ import annotations

from hydra_gce.refusals import mistakes, passing, places, rights
from hydra_gce.refusals.row import Row

_ALL = (*places.ROWS, *rights.ROWS, *mistakes.ROWS, *passing.ROWS)


def _generality(row: Row) -> int:
    if row.says:
        return 0
    return 1 if row.codes else 2


ROWS: tuple[Row, ...] = tuple(sorted(_ALL, key=_generality))
