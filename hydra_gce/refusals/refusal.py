"""A refusal, as the fleet acts on it and as a person reads it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

_SHORT_CHARACTERS = 120


class Reach(Enum):
    """How far a refusal reaches."""

    ATTEMPT = "attempt"  # the very same request may succeed: try again after a pause
    ZONE = "zone"
    REGION = "region"
    EVERYWHERE = "everywhere"  # a limit of the whole project
    REQUEST = "request"  # what was asked for is wrong: no other place will take it


@dataclass(frozen=True)
class Refusal:
    """Why a VM was not given.

    ``may_pass``: waiting may help: a place is full at the moment, a quota is in use.
    ``for_all_models``: it holds for every provisioning model; otherwise only for the one that was asked for.
    ``metric``, ``region``, ``limit``: of a quota, named as in Google's console (NVIDIA_T4_GPUS).
    ``short``: the fact in a few words to follow the place's name; "{what}" in it stands for what was asked for, and
    there are no other braces in it. ``advice``: what would help, one clause without a full stop.
    ``known``: whether this error is one of the table's, and not judged by its shape alone.
    ``zones_with_room``: where Google says that there is room now.
    ``pause_s``: the least pause before the same request is worth sending again.
    """

    code: str
    message: str
    reach: Reach
    quota: bool = False
    may_pass: bool = True
    for_all_models: bool = True
    metric: str | None = None
    region: str | None = None
    limit: float | None = None
    short: str = ""
    advice: str = ""
    known: bool = True
    zones_with_room: tuple[str, ...] = ()
    pause_s: float = 0.0

    def __post_init__(self) -> None:
        if not self.short:
            object.__setattr__(self, "short", f"says: {in_few_words(self.message or self.code)}")


def in_few_words(message: str) -> str:
    """The first sentence of Google's, cut where it goes on and on; without braces, which a template would read."""
    first = message.strip().splitlines()[0].partition(". ")[0].rstrip(".") if message.strip() else "nothing"
    plain = first.replace("{", "(").replace("}", ")")
    return plain if len(plain) <= _SHORT_CHARACTERS else f"{plain[: _SHORT_CHARACTERS - 1].rstrip()}…"
