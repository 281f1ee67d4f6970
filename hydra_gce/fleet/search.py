"""The search for one VM: place after place, cheapest first, until one gives."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hydra_gce.compute import OPERATION_S, Compute
from hydra_gce.errors import ConfigError, Unreachable
from hydra_gce.fleet import said
from hydra_gce.fleet.market import Market, covers
from hydra_gce.fleet.pace import Pace
from hydra_gce.machines import Candidate, ProvisioningModel
from hydra_gce.refusals import Reach, Refusal
from hydra_gce.request import Order

_TRIES_IN_PLACE = 4
_TOLD_ALIKE = 4
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0


@dataclass(frozen=True)
class Placed:
    """A VM that Compute Engine made for an attempt at a job."""

    num: int
    attempt: int
    instance: str
    candidate: Candidate


@dataclass(frozen=True)
class NotPlaced:
    """No place gave a VM for the job: what each said, in the order of asking. ``left_out`` were never asked.

    ``queued_s``: how long the search has waited in Google's queues.
    """

    num: int
    refused: list[tuple[Candidate, Refusal]]
    left_out: list[tuple[Candidate, Refusal]] = field(default_factory=list)
    queued_s: float = 0.0

    @property
    def may_pass(self) -> bool:
        """Whether a quota is only in use, or a zone only full at the moment."""
        return any(refusal.may_pass for _, refusal in self.refused)

    def __str__(self) -> str:
        return said.shortly(self.refused, self.left_out)


class Closed(Exception):
    """The fleet is being closed, and with it the search."""


@dataclass(frozen=True)
class Search:
    """How VMs are looked for; many threads may look at once. ``tell`` takes each decision as one line; of many zones
    that refuse alike the first few.
    """

    compute: Compute
    order: Order
    market: Market
    pace: Pace
    tell: Callable[[str], None]
    pause: Callable[[float], None]
    rng: random.Random
    _alike: Counter[str] = field(default_factory=Counter)

    def place(
        self,
        num: int,
        attempt: int,
        round_: int,
        candidates: Sequence[Candidate],
        before: Sequence[tuple[Candidate, Refusal]] = (),
    ) -> Placed | NotPlaced:
        """``before``: places that have refused already; the last of them a moment ago, after all, from Google's queue.

        :raises ConfigError: Compute Engine says that the request itself is wrong.
        """
        refused = list(before)
        open_, left_out = self._sorted_out(candidates)
        if refused:
            latest = refused[-1]
            self._take_note(*latest, self.market.refused(*latest), open_, refused)
        for candidate in open_:
            if any(covers(known, refusal, candidate) for known, refusal in refused):
                continue
            with self.market.asking(candidate) as known:
                refusal = known or self._try(num, attempt, round_, candidate)
                if refusal is None:
                    self.market.gave(candidate)
                    self._alike.clear()
                    return Placed(num, attempt, self.order.instance_name(num, attempt), candidate)
                refused.append((candidate, refusal))
                news = known is None and self.market.refused(candidate, refusal)
            self._take_note(candidate, refusal, news, open_, refused)
        return NotPlaced(num, refused, left_out)

    def _take_note(
        self,
        candidate: Candidate,
        refusal: Refusal,
        news: bool,
        places: Sequence[Candidate],
        refused: Sequence[tuple[Candidate, Refusal]],
    ) -> None:
        """Tells of the refusal, and where the search goes on, where that is ``news``."""
        if refusal.reach is Reach.REQUEST:
            raise ConfigError(said.wrong_request(refusal))
        if news:
            open_ = (one for one in places if not any(covers(at, known, one) for at, known in refused))
            following = next((one for one in open_ if self.market.refusal(one) is None), None)
            alike = refusal.short if refusal.reach is Reach.ZONE and following is not None else ""
            self._alike[alike] += bool(alike)
            if self._alike[alike] < _TOLD_ALIKE:
                self.tell(said.decision(candidate, refusal, following))
            elif self._alike[alike] == _TOLD_ALIKE:
                self.tell(said.and_so_on(candidate, refusal))

    def _sorted_out(
        self, candidates: Sequence[Candidate]
    ) -> tuple[list[Candidate], list[tuple[Candidate, Refusal]]]:
        """Those worth asking, and those for which the project has no quota."""
        open_: list[Candidate] = []
        left_out: list[tuple[Candidate, Refusal]] = []
        for candidate in candidates:
            refusal = self.market.without_quota(candidate)
            if refusal is None:
                open_.append(candidate)
            else:
                left_out.append((candidate, refusal))
        return open_, left_out

    def _try(self, num: int, attempt: int, round_: int, candidate: Candidate) -> Refusal | None:
        """Asks one place, again after a pause where it is only busy."""
        refusal = None
        for number in range(_TRIES_IN_PLACE):
            if refusal is not None:
                if number == _TRIES_IN_PLACE - 1:
                    self.tell(f"{said.fact(candidate, refusal)}; asking there once more")
                self._wait(number - 1, refusal.pause_s)
            body = self.order.body(num, attempt, candidate)
            # A number of its own for each: Compute Engine answers a repeated one with what it has said before.
            place = f"{candidate.zone}/{candidate.model.value}"
            request = self.order.request_id(num, attempt, place, round_ * _TRIES_IN_PLACE + number)
            refusal = self._ask(candidate, body, request)
            if refusal is None or refusal.reach is not Reach.ATTEMPT:
                return refusal
        return refusal

    def _ask(self, candidate: Candidate, body: dict[str, object], request: str) -> Refusal | None:
        """The answer to one request, however long Compute Engine cannot be reached.

        To go on to another place without it could make two VMs.
        """
        unanswered = 0
        while True:
            self.pace.wait()
            if self.market.closing:
                raise Closed
            try:
                return self.compute.insert(candidate.zone, body, request, self._limit_s(candidate))
            except Unreachable:
                self._wait(unanswered, 0.0)
                unanswered += 1

    def _limit_s(self, candidate: Candidate) -> float:
        """How long an insert may take: flex-start waits in Google's queue."""
        queue_s = self.order.vm.queue_minutes * 60 if candidate.model is ProvisioningModel.FLEX_START else 0.0
        return OPERATION_S + queue_s

    def _wait(self, tried: int, least_s: float) -> None:
        """Longer each time, and never in step with the others."""
        pause_s = max(least_s, min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**tried))
        self.pause(max(least_s, pause_s * self.rng.uniform(0.5, 1.5)))
