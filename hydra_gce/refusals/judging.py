"""From an error to a refusal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra_gce.refusals import quota, table
from hydra_gce.refusals.answer import Answer, read
from hydra_gce.refusals.refusal import Reach, Refusal, in_few_words

_TOO_MUCH_OR_TOO_LATE = (408, 429)


def judge(
    code: str,
    message: str,
    status: int | None = None,
    details: Sequence[Mapping[str, Any]] = (),
    project: str | None = None,
) -> Refusal:
    """How far an error reaches that ``instances.insert`` met, and what would help.

    :param code: ``operation.error.errors[].code``, or the ``reason`` of an HTTP answer's first error.
    :param status: the HTTP status, where the request itself was refused.
    :param details: ``errorDetails`` of an operation's error or ``details`` of an HTTP answer, as JSON has them.
    :param project: for the links to Google's console; without it, as far as the answer names one.
    """
    answer = read(code, message, status, details, project)
    about_quota = quota.refusal(answer)
    if about_quota is not None:
        return about_quota
    for row in table.ROWS:
        refusal = row.refusal(answer)
        if refusal is not None:
            return refusal
    return _unknown(answer)


def _unknown(answer: Answer) -> Refusal:
    """By its shape. An operation's error may be about this zone alone, so the next is asked; waiting is no use."""
    code = answer.codes[0] if answer.codes else ""
    said = in_few_words(answer.message or code)
    return Refusal(
        code=code,
        message=answer.message,
        reach=_reach(answer.status),
        may_pass=_reach(answer.status) is Reach.ATTEMPT,
        short=f"says {code}: {said}" if code and said != code else f"says: {said}",
        advice=f"read {answer.link}" if answer.link else "",
        known=False,
    )


def _reach(status: int | None) -> Reach:
    if status is None:
        return Reach.ZONE
    if 400 <= status < 500 and status not in _TOO_MUCH_OR_TOO_LATE:
        return Reach.REQUEST
    return Reach.ATTEMPT
