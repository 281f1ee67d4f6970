"""Reads statuses and VMs, and gives a job a VM as often as it needs one.

Each ``tick`` costs one listing of statuses and one of instances, however many jobs there are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.fleet import Fleet, Placed
from hydra_gce.jobs import JobState, JobStatus, heartbeat_s
from hydra_gce.launch.compose import Point
from hydra_gce.money.budget import Budget
from hydra_gce.settings import Settings
from hydra_gce.view import JobView
from hydra_gce.watch.board import Board
from hydra_gce.watch.demand import Demand
from hydra_gce.watch.ends import Ends
from hydra_gce.watch.losses import Losses
from hydra_gce.watch.past import Past
from hydra_gce.watch.thrift import Thrift
from hydra_gce.watch.track import Track

_WARM_S = 20.0
"""So soon a VM that waits has taken a job: it looks every second, and some have many to look through."""


@dataclass
class Watch:
    """Follows the jobs of one batch until each has a result. ``tell`` takes lines for the person.

    ``finds_warm``: VMs of the batch before may be there, and take its jobs.
    """

    bucket: Bucket
    names: SweepNames
    key: bytes
    fleet: Fleet
    settings: Settings
    points: Sequence[Point]
    tell: Callable[[str], None]
    clock: Callable[[], float] = time.time
    finds_warm: bool = False

    def __post_init__(self) -> None:
        bucket, names, fleet, settings = self.bucket, self.names, self.fleet, self.settings
        self.tracks = {point.num: Track(point) for point in self.points}
        self._ticked = False
        self._warm_until = self.clock() + _WARM_S if self.finds_warm else 0.0
        self._budget = Budget.of(settings)
        self._board = board = Board(self.tracks)
        self._demand = Demand(fleet, settings, self._budget, self.tell, self.clock)
        self._ends = ends = Ends(bucket, names, self.key, self.tell, self.clock, settings.retries)
        beat_s = heartbeat_s(settings.max_vms or len(self.points))
        self._losses = Losses(bucket, names, fleet, settings, board, ends, beat_s, self.tell, self.clock)
        self._thrift = Thrift(fleet, settings, board, self._demand, ends, self.tell, self.clock)

    def take_up(self) -> None:
        """Goes on from what a launcher before this one has left: its VMs, its jobs' claims."""
        Past(self.bucket, self.names, self.fleet, self._board, self._ends).take_up(self.clock())
        self._demand.look_at_queue(self.tracks)

    def tick(self) -> None:
        """:raises NoPlace: nowhere is there a VM to be had, now or later."""
        self._hear_fleet()
        self._look_at_vms()
        self._read_statuses()
        for track in self.tracks.values():
            self._follow(track)
        if self.settings.on_failure == "stop":
            self._stop_after_failure()
        if self._budget is not None:
            self._thrift.keep_within(self._budget)
        self._thrift.tidy()
        if not self._thrift.over_budget:
            wanting = [one for one in self.tracks.values() if one.wants_vm and not self._board.is_held(one)]
            warm = self._board.idle if self.clock() < self._warm_until else 0
            self._demand.ask(wanting[warm:], self._board.made)
        self._ticked = True

    def close(self) -> None:
        self._ends.close()

    def cancel(self, nums: Iterable[int], why: str) -> None:
        """Ends these jobs: their VMs save what they can. What has ended is left as it is."""
        for num in nums:
            track = self.tracks.get(num)
            if track is not None and not (track.done or track.cancelled):
                track.cancelled = why

    @property
    def placed(self) -> bool:
        """Whether each job has a VM, or an answer that there is none to be had now."""
        return self._ticked and not self.fleet.searching

    @property
    def over_budget(self) -> bool:
        return self._thrift.over_budget

    @property
    def done(self) -> bool:
        return all(track.done for track in self.tracks.values())

    @property
    def finished(self) -> set[int]:
        """Numbers of the jobs that were brought to an end by their programs."""
        return {num for num, track in self.tracks.items() if track.state is JobState.COMPLETED}

    @property
    def statuses(self) -> dict[int, JobStatus]:
        return {num: track.status for num, track in self.tracks.items() if track.status is not None}

    @property
    def notes(self) -> list[str]:
        """What is said once more when all is over."""
        return self._ends.notes

    @property
    def return_name(self) -> str:
        """What the return values are, where all programs logged theirs as the same metric."""
        results = [track.collected.result for track in self.tracks.values() if track.collected is not None]
        names = {result.metric for result in results if result.state is JobState.COMPLETED}
        return names.pop() if len(names) == 1 else ""

    def views(self) -> list[JobView]:
        """The jobs as the display wants them."""
        now = self.clock()
        ledger = self.fleet.ledger
        return [
            track.view(*ledger.bill(track.num, now), ledger.attempts(track.num, now))
            for track in self.tracks.values()
        ]

    def _hear_fleet(self) -> None:
        for answer in self.fleet.answers():
            track = self.tracks[answer.num]
            track.asked = False
            if isinstance(answer, Placed):
                self._demand.has_room(track.num)
                track.take(answer, self.clock())
                self._board.since[answer.instance] = track.placed
                if track.previous_zone:
                    self.tell(f"job {track.num} goes on in {track.zone}")
            elif track.cancelled:
                self._demand.has_none_for(track)
            else:
                others = self.fleet.asking > 0 or self._board.any_alive
                started = any(one.placed for one in self.tracks.values())
                self._demand.has_none(track, answer, others, started)

    def _look_at_vms(self) -> None:
        if self.finds_warm or any(track.vms for track in self.tracks.values()):
            before = self._board.holding
            self._board.instances = self.fleet.instances()
            self._demand.left(before - self._board.holding)
        self._demand.look_at_queue(self.tracks)

    def _read_statuses(self) -> None:
        listed = [
            (JobStatus.from_metadata(entry.metadata), entry)
            for entry in self.bucket.list(self.names.statuses)
        ]
        for status, entry in sorted(listed, key=lambda one: one[0].started):
            track = self.tracks.get(status.num)
            if track is None or track.generation == entry.generation:
                continue
            if track.done and status.state is JobState.PENDING:
                track.begin_again()  # somebody wants it again
            track.hear(status, entry.generation, self.clock())
            if status.warning not in ("", track.warned):
                track.warned = status.warning
                self.tell(f"job {track.num}: {status.warning}")
            if back := track.back():
                self.tell(back)
            self.fleet.has_run(status.instance, status.started)
            candidate = self.fleet.ledger.works_for(status.instance, status.num, status.started)
            if candidate is not None:
                track.machine, track.zone = str(candidate), candidate.zone

    def _stop_after_failure(self) -> None:
        failed = next((num for num, one in self.tracks.items() if one.state is JobState.FAILED), None)
        if failed is not None and not all(one.done or one.cancelled for one in self.tracks.values()):
            self.tell(f"job {failed} failed, and hydra.launcher.on_failure=stop: the others are cancelled")
            self.cancel(self.tracks, f"job {failed} failed, and hydra.launcher.on_failure=stop")

    def _follow(self, track: Track) -> None:
        status = track.status
        if track.done:
            return
        if track.ending is not None:
            self._ends.follow(track)
        elif track.cancelled:
            if track.queue:
                self._demand.take_back(track)
            self._losses.cancel(track)
        elif status is not None and status.state.final:
            self._ends.collect(track)
        elif status is not None and status.instance == track.instance and track.instance:
            track.state, track.note = status.state, status.message
            if status.state is JobState.PREEMPTED:
                self._losses.left(track, status.message)
            else:
                self._losses.check(track)
        elif status is not None and status.instance and self._board.is_alive(status.instance):
            # Another job's VM took it.
            track.instance, track.zone, track.state = status.instance, status.zone, status.state
            track.placed = self._board.made_at(status.instance, self.clock())
        elif track.instance:
            self._losses.check(track)
