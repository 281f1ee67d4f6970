"""One job's way into the store: the parts of its journal, in order, then its artifacts, then its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.errors import ObjectMissing
from hydra_gce.jobs import JobStatus
from hydra_gce.tracking.relay.destination import ENDED_TAG, Destination, KnownRun, Refusal
from hydra_gce.tracking.relay.heap import Heap
from hydra_gce.tracking.relay.refusals import Refusals
from hydra_gce.tracking.relay.runs import Runs

if TYPE_CHECKING:
    from hydra_gce.tracking.relay.artifacts import ArtifactLane
    from hydra_gce.tracking.relay.capture import Captured
    from hydra_gce.tracking.relay.replay import JobReplay

_PARTS_PER_COMMIT = 50
_PILE = 256 * 1024  # of a part: a thousand records and more


@dataclass(frozen=True)
class Ending:
    """How a job ended, ``ended`` seconds since the epoch; what its run says of it, and what else is recorded."""

    status: JobStatus
    ended: float
    tags: Mapping[str, str]
    captured: Captured | None


class JobRelay:
    """Of one job, for as long as the store answers: then another one begins from what stands there.

    ``played`` and ``waiting`` count parts of the journal; ``tell`` is called when they change.
    """

    def __init__(
        self,
        bucket: Bucket,
        names: SweepNames,
        num: int,
        to: Destination,
        runs: Runs,
        refusals: Refusals,
        tell: Callable[[], None] = lambda: None,
    ) -> None:
        self.played = 0
        self.waiting = 0
        self._tell = tell
        self._bucket = bucket
        self._names = names
        self._num = num
        self._to = to
        self._runs = runs
        self._refusals = refusals
        self._replay: JobReplay | None = None
        self._lane: ArtifactLane | None = None
        self._cursor = 0, 0
        self._syncs = 0

    def expect(self, status: JobStatus) -> None:
        """Of the attempts before this one, how much they left is not known."""
        read = self._cursor[1] if self._cursor[0] == status.attempt else 0
        self.waiting = max(0, status.journal_parts - read)

    def play(self, status: JobStatus, to_end: bool = False) -> None:
        """What is new in the journal; ``to_end``, what its status does not count yet too."""
        with Heap() as heap:
            self._play(status, to_end, heap)

    def _play(self, status: JobStatus, to_end: bool, heap: Heap) -> None:
        read = 0
        while (place := self._next_part(status, to_end)) is not None:
            attempt, part, content = place
            if len(content) > _PILE:
                heap.rest()
            replay = self._opened()
            self._cursor = attempt, part + 1
            if (attempt, part) > (replay.done.attempt, replay.done.part):
                replay.feed(attempt, part, content)
                read += 1
            elif attempt == replay.done.attempt and attempt > 1:
                replay.remember(content)
            else:  # an earlier relay has played it: nothing more is to be learnt from it
                seen = replay.done.part if replay.done.attempt < 2 else -1
                self._cursor = replay.done.attempt, seen + 1
            if read == _PARTS_PER_COMMIT:
                replay.commit()
                read = 0
            self.played += 1
            self.expect(status)
            self._tell()

    def tell(self, status: JobStatus) -> None:
        """The run says where its job is, and how far its journal is played."""
        news = self._runs.news(
            self._num,
            {"attempt": str(status.attempt or ""), "instance": status.instance, "zone": status.zone},
        )
        if self._replay is not None:
            self._replay.commit(news)
        point = self._to.point(self._num)
        if point is None:
            return
        if self._replay is None and news:
            self._to.set_tags(point.run_id, news)
        self._runs.follow(self._num, status.state, status.attempt)

    def bring_artifacts(self, status: JobStatus, to_end: bool = False) -> None:
        """What has come since; a job that has ended may have brought more than its last status counts."""
        if self._replay is None or not (to_end or status.artifact_syncs > self._syncs):
            return
        if self._lane is None:
            from hydra_gce.tracking.relay.artifacts import ArtifactLane

            def refuse(vm_run: str, what: str, why: str) -> None:
                self._refuse(self._to.runs.get(vm_run), status.attempt, what, why)

            self._lane = ArtifactLane(self._bucket, self._names, self._num, self._to, refuse)
        self._lane.bring(to_end)
        self._refusals.keep(self._to, self._num)
        self._syncs = status.artifact_syncs

    def end(self, ending: Ending) -> None:
        """All that is left, then the end of its runs. Repeating it changes nothing."""
        point, attempt = self._to.point(self._num), ending.status.attempt
        if point is None or (point.ended_attempt is not None and point.ended_attempt >= attempt):
            return
        self.bring_artifacts(ending.status, to_end=True)
        if point.is_waiting and ending.captured:
            self._record(ending.captured, point, ending)
        for run in self._to.of_job(self._num):
            self._runs.end(run, ending.status.state, ending.ended)
        self._runs.account(point, ending.tags, ending.ended)
        self._to.set_tags(point.run_id, {ENDED_TAG: str(attempt)})
        point.ended_attempt = attempt

    def _record(self, captured: Captured, point: KnownRun, ending: Ending) -> None:
        from hydra_gce.tracking.relay import capture

        def refuse(what: str, why: str) -> None:
            self._refuse(point, ending.status.attempt, what, why)

        capture.record(self._to, point, captured, ending.ended, refuse)
        self._refusals.keep(self._to, self._num)

    def _refuse(self, run: KnownRun | None, attempt: int, what: str, why: str) -> None:
        owner = run or self._to.point(self._num)
        self._refusals.add(Refusal(self._num, owner.run_id if owner else "", attempt, 0, what, why))

    def _opened(self) -> JobReplay:
        if self._replay is None:
            from hydra_gce.tracking.relay.replay import JobReplay

            to, num, refusals = self._to, self._num, self._refusals
            refusals.read_back(to, num)
            self._replay = JobReplay(to, num, self._runs, refusals.add, lambda: refusals.keep(to, num))
        return self._replay

    def _next_part(self, status: JobStatus, to_end: bool) -> tuple[int, int, bytes] | None:
        attempt, part = self._cursor
        while attempt <= status.attempt:
            if attempt == status.attempt and part >= status.journal_parts and not to_end:
                break
            try:
                return attempt, part, self._bucket.read(self._names.journal(self._num, attempt, part))
            except ObjectMissing:
                if attempt == status.attempt:
                    break
            attempt, part = attempt + 1, 0
            self._cursor = attempt, part
            if self._replay is not None:
                self._replay.go_on_with(attempt)
        return None
