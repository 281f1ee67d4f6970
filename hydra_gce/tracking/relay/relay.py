"""Plays the journals of a sweep's VMs into the laptop's MLflow, and ends its runs as their jobs end.

MLflow is imported at the first tick, in the thread that calls it: a sweep does not wait for it. What is done stands on
the runs themselves, so a relay that was killed is followed by one that goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.jobs import JobState, JobStatus
from hydra_gce.lease import SILENCE_S, Lease, awake
from hydra_gce.tracking import links
from hydra_gce.tracking.mode import Mode
from hydra_gce.tracking.relay.destination import Destination, Refusal
from hydra_gce.tracking.relay.job import Ending, JobRelay
from hydra_gce.tracking.relay.refusals import Refusals
from hydra_gce.tracking.relay.runs import Runs, TrackedSweep, prefixed
from hydra_gce.tracking.relay.turn import Turn

if TYPE_CHECKING:
    from hydra_gce.tracking.relay.capture import Captured

_LOOK_S = 5.0
_AT_ONCE = 8


class Relay:
    """For one sweep; one thread calls it.

    ``mode``: with *direct* the programs make their runs in the store themselves, with *durable* their VMs play the
    journals; what is left to do here is to bring the runs together and to end them.

    ``trouble`` says in one sentence why records wait, empty when all is well; ``refused`` is what MLflow
    would not have; ``on_progress`` is called when ``progress`` is another, by any thread of the relay's.
    """

    def __init__(
        self,
        bucket: Bucket,
        names: SweepNames,
        sweep: TrackedSweep,
        tracking_uri: str | None,
        lease: Lease | None = None,
        mode: Mode = Mode.RELAY,
    ) -> None:
        self._bucket = bucket
        self._names = names
        self._sweep = sweep
        self._uri = tracking_uri
        self._mode = mode
        self._looked = -_LOOK_S
        self._turn = Turn(lease or Lease(bucket, names.relay), bucket.name)
        self._store: tuple[Destination, Runs] | None = None
        self._refusals = Refusals()
        self.on_progress: Callable[[], None] = lambda: None
        self._jobs: dict[int, JobRelay] = {}
        self._endings: dict[int, Ending] = {}
        self._leases: dict[int, Lease] = {}
        self._points: dict[int, tuple[str, str]] = {}
        self._goes_on = False

    # What the launcher calls

    def tick(self, statuses: Mapping[int, JobStatus]) -> None:
        """Carries over what is new. Where that fails, ``trouble`` says so and the next tick tries again."""

        def work() -> None:
            self._open()
            if self._mode is not Mode.RELAY:
                self._look()
            going_on = [status for num, status in sorted(statuses.items()) if num not in self._endings]
            if not self._goes_on and any(not status.state.final for status in going_on):
                self._open()[1].go_on()
                self._goes_on = True
            if self._mode is Mode.RELAY:
                for status in going_on:
                    self._job(status.num).expect(status)
            self._side_by_side(self._play, going_on)
            self._end_jobs()

        self._do(work)

    def finish(
        self, status: JobStatus, ended: float, tags: Mapping[str, str], captured: Captured | None = None
    ) -> None:
        """The job has ended as ``status`` says, ``ended`` seconds since the epoch: so do its runs, with their
        artifacts.

        ``tags`` go to its point as ``hydra_gce.<name>``, numbers among them as metrics ``hydra_gce/<name>`` too;
        ``captured`` is recorded if its program started no run. What fails is tried again by ``tick`` and ``close``.
        """
        self._endings[status.num] = Ending(status, ended, dict(tags), captured)
        self._do(self._end_jobs)

    def close(self, state: JobState, ended: float, tags: Mapping[str, str]) -> None:
        """The sweep has ended; ``tags`` (the total cost among them) go to its own run. ``trouble`` says what
        is left. Waits for its turn where a relay that was killed may hold it still.
        """

        def work() -> None:
            to, runs = self._open()
            until = awake() + SILENCE_S + 1
            self._end_jobs()
            while self._endings and awake() < until:  # a VM that is gone may hold the right to play still
                time.sleep(1)
                self._end_jobs()
            if to.parent:
                to.set_tags(to.parent.run_id, prefixed(tags))
                runs.keep_changes()
                runs.end(to.parent, state, ended)

        self._do(work, wait_s=SILENCE_S + 1)
        self._turn.lease.release()

    def leave(self) -> None:
        """Another one may go on from here."""
        self._turn.lease.release()

    @property
    def trouble(self) -> str:
        return self._turn.trouble

    @property
    def progress(self) -> tuple[int, int]:
        """How many parts of the jobs' journals were played, and how many wait."""
        jobs = list(self._jobs.values())
        return sum(job.played for job in jobs), sum(job.waiting for job in jobs)

    @property
    def refused(self) -> list[Refusal]:
        return self._refusals.all

    @property
    def uri(self) -> str | None:
        """The store's own; None where it was not opened yet and MLflow's default is meant."""
        return self._uri

    def run_id(self, num: int) -> str | None:
        """MLflow's id of the job's run, None where there is none so far."""
        return self._points[num][0] if num in self._points else None

    def url(self) -> str | None:
        """The page that compares the sweep's runs, None where there are none so far."""
        points = list(self._points.values())
        if not points or self._uri is None:
            return None
        experiments = list(dict.fromkeys(experiment for _, experiment in points))
        server = links.server_of(self._uri)
        return links.runs_page(server, self._sweep.name, [run for run, _ in points], experiments)

    def hint(self) -> str | None:
        """What a person types, or opens, to see the runs; None where there are none so far."""
        url = self.url()
        return url if url is None or links.is_served(self._uri or "") else f"hydra-gce ui {self._sweep.name}"

    # How it is done

    def _do(self, work: Callable[[], None], wait_s: float = 0.0) -> None:
        """What may not be in the store is forgotten where that fails: the next attempt reads from it what is there."""
        if not self._turn.take(work, wait_s):
            self._store = None
            self._jobs.clear()

    def _open(self) -> tuple[Destination, Runs]:
        if self._store is None:
            to = Destination(self._uri, self._sweep.name, self._turn.lease.hold)
            self._uri = to.uri
            runs = Runs(to, self._sweep)
            runs.make()
            self._store = to, runs
            for num in self._sweep.job_overrides:
                self._note(num)
        return self._store

    def _look(self, now: bool = False) -> None:
        """For runs that were made elsewhere."""
        if now or awake() - self._looked >= _LOOK_S:
            self._open()[1].take_in()
            self._looked = awake()

    def _job(self, num: int) -> JobRelay:
        if num not in self._jobs:
            to, runs = self._open()
            self._jobs[num] = JobRelay(
                self._bucket, self._names, num, to, runs, self._refusals, lambda: self.on_progress()
            )
        return self._jobs[num]

    def _play(self, status: JobStatus) -> None:
        job = self._job(status.num)
        if self._mode is Mode.RELAY:
            job.play(status)
        job.tell(status)
        if self._mode is Mode.RELAY:
            job.bring_artifacts(status)
        self._note(status.num)

    def _end_jobs(self) -> None:
        if self._endings and self._mode is not Mode.RELAY:
            self._look(now=True)
        for num, ending in list(self._endings.items()):
            if not self._may_play(num):
                continue
            job = self._job(num)
            if self._mode is not Mode.DIRECT:
                job.play(ending.status, to_end=True)
            job.tell(ending.status)
            job.end(ending)
            self._note(num)
            del self._endings[num]
            if num in self._leases:
                self._leases.pop(num).release()

    def _may_play(self, num: int) -> bool:
        """What a VM has left of its own journal is played here, once that VM has let go of it."""
        if self._mode is not Mode.DURABLE:
            return True
        lease = self._leases.setdefault(num, Lease(self._bucket, self._names.relay_of(num)))
        return lease.hold()

    def _note(self, num: int) -> None:
        point = self._open()[0].point(num)
        if point:
            self._points[num] = point.run_id, point.experiment_id

    def _side_by_side(self, play: Callable[[JobStatus], None], statuses: Sequence[JobStatus]) -> None:
        """Jobs' records are independent of each other. A server takes several at once, a file one after the other."""
        if len(statuses) < 2 or not links.is_served(self._uri or ""):
            for status in statuses:
                play(status)
            return
        with ThreadPoolExecutor(_AT_ONCE, "relay") as pool:
            for _ in pool.map(play, statuses):
                pass
