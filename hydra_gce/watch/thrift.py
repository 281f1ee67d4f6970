"""Nothing runs that need not: the budget is kept, and VMs that do nothing any more are deleted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hydra_gce.compute import LEAVING, OFF, Instance
from hydra_gce.fleet import Fleet
from hydra_gce.jobs import Failure
from hydra_gce.money.budget import Budget
from hydra_gce.settings import Settings
from hydra_gce.watch.board import Board
from hydra_gce.watch.demand import Demand
from hydra_gce.watch.ends import Ends
from hydra_gce.watch.track import Track


@dataclass
class Thrift:
    """``over_budget`` is for good: what ending leaves over is no reason to begin again."""

    fleet: Fleet
    settings: Settings
    board: Board
    demand: Demand
    ends: Ends
    tell: Callable[[str], None]
    clock: Callable[[], float]
    over_budget: bool = False

    def keep_within(self, budget: Budget) -> None:
        """Ends all when the budget is reached, and the jobs that it leaves no VM for."""
        ledger, now = self.fleet.ledger, self.clock()
        if not self.over_budget and budget.reached(ledger, now):
            self.over_budget = True
            self.tell(f"{budget.said(ledger, now)}: the VMs save their work and end")
        if self.over_budget:
            self._end_all()
        over = self.over_budget or budget.exhausted(ledger, self.fleet.candidates, now)
        if over and not self.fleet.asking:
            for track in self.board.tracks.values():
                if track.wants_vm and not self.board.is_held(track):
                    self.ends.fail(track, Failure.BUDGET, budget.said(ledger, now))

    def tidy(self) -> None:
        """Deletes VMs that are off, too many, or linger after their job."""
        now, workers = self.clock(), self.board.workers()
        for name, instance in self.board.instances.items():
            if name in self.board.deleted or instance.status in LEAVING:
                continue
            if self._is_idle(instance, workers.get(name, ()), now):
                self._delete(name)

    def _end_all(self) -> None:
        """Each VM that a job has, also one that was asked for before and came since, or is to come from the queue."""
        self.demand.leave_queue(self.board.tracks)
        for track in self.board.tracks.values():
            if track.instance and not track.done and track.instance not in self.board.deleted:
                self._delete(track.instance)

    def _delete(self, instance: str) -> None:
        self.fleet.delete(instance)
        self.board.deleted.add(instance)

    def _is_idle(self, instance: Instance, worked_for: Sequence[Track], now: float) -> bool:
        if instance.status in OFF:
            return True
        adopted = self.fleet.recognized(instance)
        track = self.board.tracks.get(adopted.num) if adopted else None
        if adopted is None or track is None or track.asked:
            return False  # of another batch, or on its way to its job
        if not track.done and track.instance == instance.name:
            return False
        if track.wants_vm and instance.name not in self.board.given_up and not self.board.is_held(track):
            self.fleet.take_over(adopted)
            self.board.give(track, adopted, now)
            return False
        self.fleet.take_over(adopted)
        patience = self.settings.heartbeat_timeout_s + self.settings.keep_warm_s
        since = max(adopted.created, *(max(one.ended, one.placed) for one in (track, *worked_for)))
        return all(one.done for one in worked_for) and now - since > patience
