"""Plays the journals of a sweep's VMs into the laptop's MLflow, and ends its runs as their jobs end.

MLflow is imported at the first tick, in the thread that calls it: a sweep does not wait for it. What is done stands on
the runs themselves, so a relay that was killed is followed by one that goes on.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.errors import ObjectMissing
from hydra_gce.jobs import JobState, JobStatus
from hydra_gce.tracking import links
from hydra_gce.tracking.relay.destination import (
    ENDED_TAG,
    Destination,
    KnownRun,
    NotOurTurn,
    Refusal,
    StoreUnavailable,
)
from hydra_gce.tracking.relay.lease import SILENCE_S, Lease, awake
from hydra_gce.tracking.relay.refusals import Refusals
from hydra_gce.tracking.relay.runs import Runs, TrackedSweep, prefixed

if TYPE_CHECKING:
    from hydra_gce.tracking.relay.artifacts import ArtifactLane
    from hydra_gce.tracking.relay.capture import Captured
    from hydra_gce.tracking.relay.replay import JobReplay

_PARTS_PER_COMMIT = 50
_TURN_S = 1.0
_LOOK_S = 5.0
_LONGEST_REST_S = 30.0
_AT_ONCE = 8


@dataclass(frozen=True)
class _Ending:
    status: JobStatus
    ended: float
    tags: Mapping[str, str]
    captured: Captured | None


class Relay:
    """For one sweep; one thread calls it. ``direct``: its programs make their runs in the store themselves, and what is
    left to do here is to bring these together.

    ``trouble`` says in one sentence why records wait, empty when all is well; ``refused`` is what MLflow
    would not have.
    """

    def __init__(
        self,
        bucket: Bucket,
        names: SweepNames,
        sweep: TrackedSweep,
        tracking_uri: str | None,
        lease: Lease | None = None,
        direct: bool = False,
    ) -> None:
        self.trouble = ""
        self._bucket = bucket
        self._names = names
        self._sweep = sweep
        self._uri = tracking_uri
        self._direct = direct
        self._looked = -_LOOK_S
        self._failures = 0
        self._again_at = 0.0
        self._lease = lease or Lease(bucket, names.relay)
        self._store: tuple[Destination, Runs] | None = None
        self._refusals = Refusals()
        self._replays: dict[int, JobReplay] = {}
        self._lanes: dict[int, ArtifactLane] = {}
        self._syncs: dict[int, int] = {}
        self._cursors: dict[int, tuple[int, int]] = {}
        self._endings: dict[int, _Ending] = {}
        self._points: dict[int, tuple[str, str]] = {}

    # What the launcher calls

    def tick(self, statuses: Mapping[int, JobStatus]) -> None:
        """Carries over what is new. Where that fails, ``trouble`` says so and the next tick tries again."""

        def work() -> None:
            self._destination()
            self._side_by_side(
                self._play, [one for num, one in sorted(statuses.items()) if num not in self._endings]
            )
            self._end_jobs()

        self._safely(work)

    def finish(
        self, status: JobStatus, ended: float, tags: Mapping[str, str], captured: Captured | None = None
    ) -> None:
        """The job has ended as ``status`` says, ``ended`` seconds since the epoch: so do its runs, with their
        artifacts.

        ``tags`` go to its point as ``hydra_gce.<name>``, numbers among them as metrics ``hydra_gce/<name>`` too;
        ``captured`` is recorded if its program started no run. What fails is tried again by ``tick`` and ``close``.
        """
        self._endings[status.num] = _Ending(status, ended, dict(tags), captured)
        self._safely(self._end_jobs)

    def close(self, state: JobState, ended: float, tags: Mapping[str, str]) -> None:
        """The sweep has ended; ``tags`` (the total cost among them) go to its own run. ``trouble`` says what
        is left. Waits for its turn where a relay that was killed may hold it still.
        """

        def work() -> None:
            to, runs = self._destination()
            self._end_jobs()
            if to.parent:
                to.set_tags(to.parent.run_id, prefixed(tags))
                runs.end(to.parent, state, ended)

        self._safely(work, wait_s=SILENCE_S + _TURN_S)
        self._lease.release()

    def run_id(self, num: int) -> str | None:
        """MLflow's id of the job's run, None where it logged nothing so far."""
        return self._points[num][0] if num in self._points else None

    def url(self) -> str | None:
        """The page that compares the sweep's runs, None where there are none so far."""
        points = list(self._points.values())
        if not points or self._uri is None:
            return None
        experiments = list(dict.fromkeys(experiment for _, experiment in points))
        return links.runs_page(self._uri, self._sweep.name, [run for run, _ in points], experiments)

    def hint(self) -> str | None:
        """What a person types, or opens, to see the runs; None where there are none so far."""
        url = self.url()
        return url if url is None or links.is_served(self._uri or "") else f"hydra-gce ui {self._sweep.name}"

    @property
    def uri(self) -> str | None:
        """The store's own; None where it was not opened yet and MLflow's default is meant."""
        return self._uri

    @property
    def refused(self) -> list[Refusal]:
        return self._refusals.all

    # How it is done

    def _play(self, status: JobStatus) -> None:
        self._follow(status.num, status, to_end=False)
        self._bring_artifacts(status.num, status, to_end=False)

    def _side_by_side(self, play: Callable[[JobStatus], None], statuses: Sequence[JobStatus]) -> None:
        """Jobs' records are independent of each other. A server takes several at once, a file one after the other."""
        if len(statuses) < 2 or not links.is_served(self._uri or ""):
            for status in statuses:
                play(status)
            return
        with ThreadPoolExecutor(_AT_ONCE, "relay") as pool:
            for _ in pool.map(play, statuses):
                pass

    def _safely(self, work: Callable[[], None], wait_s: float = 0.0) -> None:
        from google.api_core.exceptions import GoogleAPIError

        if awake() < self._again_at and not wait_s:
            return
        try:
            self._wait_for_turn(wait_s)
            work()
            self.trouble, self._failures = "", 0
        except NotOurTurn as error:
            self._start_over(str(error))
        except StoreUnavailable as error:
            self._start_over(str(error))
            self._rest()
        except (OSError, GoogleAPIError) as error:
            self._start_over(
                f"The MLflow records in gs://{self._bucket.name} could not be read: {error}. "
                "They are tried again."
            )

    def _rest(self) -> None:
        """A store that is down or busy is asked again later and later, not by all laptops at the same moment."""
        self._failures += 1
        self._again_at = awake() + min(_LONGEST_REST_S, 2.0 ** (self._failures - 1)) * random.uniform(
            0.5, 1.0
        )

    def _wait_for_turn(self, wait_s: float) -> None:
        until = awake() + wait_s
        while not self._lease.hold():
            if awake() >= until:
                other = self._lease.other
                who = f"process {other.pid} on {other.host}" if other else "another process"
                raise NotOurTurn(
                    f"The MLflow records of this sweep are played by {who}; this one goes on when that one ends."
                )
            time.sleep(_TURN_S)

    def _start_over(self, trouble: str) -> None:
        """Forgets everything that may not be in the store: what is there, the next attempt reads from it."""
        self.trouble = trouble
        self._store = None
        self._lanes.clear()
        self._syncs.clear()
        self._replays.clear()
        self._cursors.clear()

    def _follow(self, num: int, status: JobStatus, to_end: bool) -> None:
        """Replays a job's new parts; ``to_end``, those too that its status does not count yet."""
        if self._direct:
            self._look(to_end)
            self._tell(num, status)
            return
        read = 0
        while (place := self._next_part(num, status, to_end)) is not None:
            attempt, part, content = place
            replay = self._replay(num)
            self._cursors[num] = attempt, part + 1
            if (attempt, part) > (replay.done.attempt, replay.done.part):
                replay.feed(attempt, part, content)
                read += 1
            elif attempt == replay.done.attempt and attempt > 1:
                replay.remember(content)
            else:  # an earlier relay has played it: nothing more is to be learnt from it
                seen = replay.done.part if replay.done.attempt < 2 else -1
                self._cursors[num] = replay.done.attempt, seen + 1
            if read == _PARTS_PER_COMMIT:
                replay.commit()
                read = 0
        self._tell(num, status)

    def _look(self, now: bool) -> None:
        if now or awake() - self._looked >= _LOOK_S:
            self._destination()[1].take_in()
            self._looked = awake()

    def _tell(self, num: int, status: JobStatus) -> None:
        """The run says where its job is, and its journal's position."""
        to, runs = self._destination()
        news = runs.news(
            num, {"attempt": str(status.attempt or ""), "instance": status.instance, "zone": status.zone}
        )
        if num in self._replays:
            self._replays[num].commit(news)
        point = to.point(num)
        if point is None:
            return
        if num not in self._replays and news:
            to.set_tags(point.run_id, news)
        runs.follow(num, status.state)
        self._points[num] = point.run_id, point.experiment_id

    def _next_part(self, num: int, status: JobStatus, to_end: bool) -> tuple[int, int, bytes] | None:
        attempt, part = self._cursors.get(num, (0, 0))
        while attempt <= status.attempt:
            if attempt == status.attempt and part >= status.journal_parts and not to_end:
                break
            try:
                return attempt, part, self._bucket.read(self._names.journal(num, attempt, part))
            except ObjectMissing:
                if attempt == status.attempt:
                    break
            attempt, part = attempt + 1, 0
            self._cursors[num] = (attempt, part)
            if num in self._replays:
                self._replays[num].go_on_with(attempt)
        return None

    def _replay(self, num: int) -> JobReplay:
        if num not in self._replays:
            from hydra_gce.tracking.relay.replay import JobReplay

            to, runs = self._destination()
            self._refusals.read_back(to, num)
            self._replays[num] = JobReplay(
                to, num, runs, self._refusals.add, lambda: self._refusals.keep(to, num)
            )
        return self._replays[num]

    def _destination(self) -> tuple[Destination, Runs]:
        if self._store is None:
            to = Destination(self._uri, self._sweep.name, self._lease.hold)
            self._uri = to.uri
            runs = Runs(to, self._sweep)
            runs.make()
            self._store = to, runs
            for num in self._sweep.job_overrides:
                if point := to.point(num):
                    self._points[num] = point.run_id, point.experiment_id
        return self._store

    # Ends

    def _end_jobs(self) -> None:
        for num, ending in list(self._endings.items()):
            self._follow(num, ending.status, to_end=True)
            self._end_job(num, ending)
            del self._endings[num]

    def _end_job(self, num: int, ending: _Ending) -> None:
        to, runs = self._destination()
        point, attempt = to.point(num), ending.status.attempt
        if point is None or (point.ended_attempt is not None and point.ended_attempt >= attempt):
            return
        self._bring_artifacts(num, ending.status, to_end=True)
        if point.is_waiting and ending.captured:
            self._capture(to, point, ending)
        for run in to.of_job(num):
            runs.end(run, ending.status.state, ending.ended)
        runs.account(point, ending.tags, ending.ended)
        to.set_tags(point.run_id, {ENDED_TAG: str(attempt)})
        point.ended_attempt = attempt

    def _capture(self, to: Destination, point: KnownRun, ending: _Ending) -> None:
        from hydra_gce.tracking.relay import capture

        assert ending.captured is not None
        num, attempt = ending.status.num, ending.status.attempt

        def refuse(what: str, why: str) -> None:
            self._refusals.add(Refusal(num, point.run_id, attempt, 0, what, why))

        capture.record(to, point, ending.captured, ending.ended, refuse)
        self._refusals.keep(to, num)

    def _bring_artifacts(self, num: int, status: JobStatus, to_end: bool) -> None:
        """What has come since; a job that has ended may have brought more than its last status counts."""
        if num not in self._replays or not (to_end or status.artifact_syncs > self._syncs.get(num, 0)):
            return
        to, _ = self._destination()
        if num not in self._lanes:
            from hydra_gce.tracking.relay.artifacts import ArtifactLane

            def refuse(vm_run: str, what: str, why: str) -> None:
                run = to.runs.get(vm_run) or to.point(num)
                self._refusals.add(Refusal(num, run.run_id if run else "", status.attempt, 0, what, why))

            self._lanes[num] = ArtifactLane(self._bucket, self._names, num, to, refuse)
        self._lanes[num].bring(to_end)
        self._refusals.keep(to, num)
        self._syncs[num] = status.artifact_syncs
