"""What every step of setup can do, the marks it leaves, and patience with what Google settles later."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

T = TypeVar("T")

MARK = "Made by hydra-gce setup."
"""The beginning of the description of what setup has made."""
LABEL = "hydra-gce-setup"
"""The same on a bucket, which has no description."""

# A role, an account or an API is known everywhere only a while after it was made:
# https://cloud.google.com/iam/docs/access-change-propagation
SETTLES_WITHIN_S = 180.0
_PAUSE_S = 3.0


class Outcome(str, Enum):
    DONE = "done"
    NOTHING = "nothing to do"
    DECLINED = "left out"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Removal:
    """Something that setup has made: ``what`` in words, ``remove`` takes it away.

    ``kept``: why it stays as it is; None where it can go.
    """

    what: str
    remove: Callable[[], None]
    kept: str | None = None


class Step(ABC):
    """``title``: what it is about; ``why``: what sweeps need it for."""

    title: str
    why: str

    @abstractmethod
    def missing(self) -> list[str]:
        """What would be made or changed, a sentence for each; empty where all is as it should be."""

    @abstractmethod
    def make(self) -> None:
        """Makes what is missing. To do it twice changes nothing more."""

    @abstractmethod
    def made(self) -> list[Removal]:
        """What setup has made of it, now or earlier, with whatever settings."""

    @abstractmethod
    def terraform(self) -> str:
        """The same for Terraform's provider `google`."""


def patiently(ask: Callable[[], T], pause: Callable[[float], None] = time.sleep) -> T:
    """What ``ask`` returns, asked again while Google does not know yet what was made a moment ago.

    Also where somebody else changed a policy between our reading and our writing: ``ask`` reads it anew.
    """
    from google.api_core.exceptions import GoogleAPICallError

    deadline = time.monotonic() + SETTLES_WITHIN_S
    while True:
        try:
            return ask()
        except GoogleAPICallError as error:
            if not _passes(error) or time.monotonic() > deadline:
                raise
        pause(_PAUSE_S)


def _passes(error: Exception) -> bool:
    from google.api_core.exceptions import Aborted, BadRequest, Conflict, Forbidden, PreconditionFailed

    said = str(error)
    if isinstance(error, Forbidden):
        return "has not been used in project" in said
    if isinstance(error, BadRequest):
        return "does not exist" in said and ("ervice account" in said or "ole" in said)
    if isinstance(error, Conflict):
        return isinstance(error, Aborted) or "concurrent policy changes" in said
    return isinstance(error, PreconditionFailed)
