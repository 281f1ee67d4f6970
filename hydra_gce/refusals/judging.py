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
    row = table.find(answer)
    return row.refusal(answer) if row is not None else _unknown(answer)


def _unknown(answer: Answer) -> Refusal:
    """By its shape. An operation's error may be about this zone and model alone: the next is asked, none is waited for.

    So a search that meets nothing else ends when all places have said so.
    """
    code = answer.codes[0] if answer.codes else ""
    said = in_few_words(answer.message or code)
    reach = _reach(answer.status)
    return Refusal(
        code=code,
        message=answer.message,
        reach=reach,
        may_pass=reach is Reach.ATTEMPT,
        for_all_models=reach is not Reach.ZONE,
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
