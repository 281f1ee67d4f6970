"""What a process that follows a sweep keeps over all batches: what is told, what is spent, what is reached."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO

from hydra_gce.cloud.unreachable import AWAY, EXPIRED
from hydra_gce.errors import CredentialsExpired, Unreachable
from hydra_gce.lease import awake
from hydra_gce.money.ledger import Ledger
from hydra_gce.settings import Settings

CREDENTIALS_EXPIRED = (
    "Google Cloud does not accept this machine's credentials any more: run gcloud auth application-default login in"
    " another terminal. The VMs go on, and so does this then"
)

_FORLORN_S = 24 * 3600.0


@dataclass
class Follower:
    """Of one sweep, batch after batch; what is told, spent and estimated belongs to all of them.

    ``in_background``: a process that a launch has left behind, and that makes way for whoever looks. ``stream`` is
    where the person sees it, ``echo`` where the words of a single job go; None: they are not shown.
    """

    settings: Settings
    environ: Mapping[str, str]
    ledger: Ledger = field(default_factory=Ledger)
    in_background: bool = False
    stream: IO[str] = field(default_factory=lambda: sys.stdout)
    echo: IO[str] | None = None
    news: list[tuple[float, str]] = field(default_factory=list)
    estimate: str = ""
    unreachable_since: float | None = None
    """By ``clock``, which goes on while a laptop sleeps; None while Google Cloud answers."""
    clock: Callable[[], float] = awake

    def tell(self, line: str) -> None:
        self.news.append((time.time(), line))

    def reached(self, step: Callable[[], object]) -> bool:
        """A network that is away for a while, a laptop that slept, credentials that have expired: no reason to end a
        sweep. It is told when that begins, and when it is over.
        """
        try:
            step()
        except (Unreachable, *AWAY) as error:
            self.tell_unreachable(error)
            return False
        if self.unreachable_since is not None:
            self.tell("Google Cloud answers again")
        self.unreachable_since = None
        return True

    @property
    def is_forlorn(self) -> bool:
        """In the background nobody would ever end a process whose cloud does not come back."""
        since = self.unreachable_since
        return self.in_background and since is not None and self.clock() - since >= _FORLORN_S

    def tell_unreachable(self, error: Exception) -> None:
        """Once, until it is reached again."""
        if self.unreachable_since is not None:
            return
        self.unreachable_since = self.clock()
        if isinstance(error, (CredentialsExpired, *EXPIRED)):
            self.tell(CREDENTIALS_EXPIRED)
        else:
            why = type(error.__cause__ or error).__name__
            self.tell(f"Google Cloud cannot be reached ({why}); the VMs go on, and so does this")
