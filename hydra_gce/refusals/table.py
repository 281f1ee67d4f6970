"""All rows, and which of them an error is about."""

from __future__ import annotations

from hydra_gce.refusals import mistakes, passing, places, rights
from hydra_gce.refusals.answer import Answer
from hydra_gce.refusals.row import Row

ROWS: tuple[Row, ...] = (*places.ROWS, *rights.ROWS, *mistakes.ROWS, *passing.ROWS)

_BY_WORDS = tuple(row for row in ROWS if row.says or row.status is not None)
_BY_CODE = {code: row for row in ROWS if row not in _BY_WORDS for code in row.codes}


def find(answer: Answer) -> Row | None:
    """The row that the error is about; None where nobody knows it.

    What it says counts before its code, which has many meanings: "invalid" may be a zone without this machine, a
    missing subnetwork or a typing mistake. Reasons in its details say more than the code that it came with.
    """
    for row in _BY_WORDS:
        if row.is_about(answer):
            return row
    return next((_BY_CODE[code] for code in reversed(answer.codes) if code in _BY_CODE), None)
