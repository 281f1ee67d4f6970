"""What becomes of each job: reads statuses and VMs, and gives a job a VM as often as it needs one.

Each ``tick`` costs one listing of statuses and one of instances, however many jobs there are.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from hydra_gce import claims
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.collect import Collected, collect, lost
from hydra_gce.compose import Point
from hydra_gce.compute import GONE, LEAVING
from hydra_gce.errors import NoPlace, ObjectMissing
from hydra_gce.fleet import Fleet, NotPlaced, Placed
from hydra_gce.jobs import Failure, JobState, JobStatus
from hydra_gce.settings import Settings
from hydra_gce.view import JobView

_HISTORY = 12
_BOOT_TIMEOUT_S = 1500.0
_BOOT_FAILURES = 2
_FIRST_PAUSE_S = 2.0
_LONGEST_PAUSE_S = 60.0
_GIVE_UP_S = 600.0


@dataclass
class Track:
    """One job as the laptop sees it. ``vms`` counts the machines asked for it, ``instance`` is the one it has now."""

    point: Point
    state: JobState = JobState.PENDING
    status: JobStatus | None = None
    instance: str = ""
    zone: str = ""
    previous_zone: str = ""
    machine: str = ""
    vms: int = 0
    lost: int = 0
    boot_failures: int = 0
    asked: bool = False
    generation: int = 0
    heard: float = 0.0
    placed: float = 0.0
    note: str = ""
    history: deque[float] = field(default_factory=lambda: deque(maxlen=_HISTORY))
    collecting: Future[Collected | None] | None = None
    collected: Collected | None = None

    @property
    def done(self) -> bool:
        return self.collected is not None

    @property
    def num(self) -> int:
        return self.point.num


@dataclass
class Watch:
    """Follows the jobs of one batch until each has a result. ``tell`` takes lines for the person."""

    bucket: Bucket
    names: SweepNames
    key: bytes
    fleet: Fleet
    settings: Settings
    points: Sequence[Point]
    tell: Callable[[str], None]
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self.notes: list[str] = []
        self.tracks = {point.num: Track(point) for point in self.points}
        self._pool = ThreadPoolExecutor(2, "collect")
        self._instances: dict[str, str] = {}
        self._given_up: set[str] = set()
        self._room_at = 0.0
        self._pause = _FIRST_PAUSE_S
        self._full_since: float | None = None
        self._one_at_a_time = False

    @property
    def done(self) -> bool:
        return all(track.done for track in self.tracks.values())

    @property
    def statuses(self) -> dict[int, JobStatus]:
        return {num: track.status for num, track in self.tracks.items() if track.status is not None}

    def tick(self) -> None:
        """:raises NoPlace: nowhere is there a VM to be had, now or later."""
        self._hear_fleet()
        self._read_statuses()
        for track in self.tracks.values():
            self._follow(track)
        self._ask_for_vms()

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _hear_fleet(self) -> None:
        for answer in self.fleet.answers():
            track = self.tracks[answer.num]
            track.asked = False
            if isinstance(answer, Placed):
                self._take_place(track, answer)
            else:
                self._wait_for_room(track, answer)
        if any(track.vms for track in self.tracks.values()):
            before = _holding(self._instances)
            self._instances = self.fleet.instances()
            if before - _holding(self._instances):
                self.fleet.forget_refusals()
                self._room_at = 0.0

    def _take_place(self, track: Track, placed: Placed) -> None:
        track.instance, track.zone = placed.instance, placed.candidate.zone
        track.machine = str(placed.candidate)
        track.placed = track.heard = self.clock()
        track.note = ""
        self._full_since, self._pause, self._room_at = None, _FIRST_PAUSE_S, 0.0
        if track.state in (JobState.PROVISIONING, JobState.PREEMPTED):
            track.state = JobState.BOOTING
        if track.previous_zone:
            self.tell(f"job {track.num} goes on in {track.zone}")

    def _wait_for_room(self, track: Track, answer: NotPlaced) -> None:
        now = self.clock()
        track.state = JobState.PENDING
        track.vms -= 1
        self._full_since = self._full_since or now
        if not self._others_alive() and (not answer.may_pass or now - self._full_since > _GIVE_UP_S):
            raise NoPlace(_no_place(answer, started=any(track.placed for track in self.tracks.values())))
        if track.note != "waiting for a place":
            track.note = "waiting for a place"
        if not self._one_at_a_time:
            self.tell(f"no room for all at once ({answer}); the others wait for a place")
        self._one_at_a_time = True
        self._room_at = now + self._pause
        self._pause = min(self._pause * 1.5, _LONGEST_PAUSE_S)

    def _others_alive(self) -> bool:
        return self.fleet.asking > 0 or any(status not in GONE for status in self._instances.values())

    def _read_statuses(self) -> None:
        listed = [
            (JobStatus.from_metadata(entry.metadata), entry)
            for entry in self.bucket.list(self.names.statuses)
        ]
        for status, entry in sorted(listed, key=lambda one: one[0].started):
            track = self.tracks.get(status.num)
            if track is None or track.generation == entry.generation:
                continue
            track.generation = entry.generation
            track.status = status
            track.heard = self.clock()
            candidate = self.fleet.works_for(status.instance, status.num, status.started)
            if candidate is not None:
                track.machine, track.zone = str(candidate), candidate.zone
            if status.metric is not None and (not track.history or track.history[-1] != status.metric):
                track.history.append(status.metric)

    def _follow(self, track: Track) -> None:
        if track.done:
            return
        if track.collecting is not None:
            if track.collecting.done():
                self._settle(track)
            return
        status = track.status
        if status is not None and status.state.final:
            self._collect(track)
        elif status is not None and status.instance == track.instance and track.instance:
            track.state, track.note = status.state, status.message
            if status.state is JobState.PREEMPTED:
                self._give_up(track, "was taken back")
            else:
                self._check_alive(track)
        elif status is not None and status.instance and self._alive(status.instance):
            # Another job's VM took it.
            track.instance, track.zone, track.state = status.instance, status.zone, status.state
        elif track.instance:
            self._check_alive(track)

    def _alive(self, instance: str) -> bool:
        """Whether anything is to be hoped for from it: one that was given up may take minutes to go."""
        return instance not in self._given_up and self._instances.get(instance, "TERMINATED") not in GONE

    def _check_alive(self, track: Track) -> None:
        """Finds the VM that vanished, that never came up, or that has fallen silent."""
        now = self.clock()
        booting = track.status is None or track.status.instance != track.instance
        leaving = self._instances.get(track.instance) in LEAVING
        if leaving and not booting and now - track.heard <= self.settings.heartbeat_timeout_s:
            # Another attempt must not begin before its agent has sent what the program saves.
            track.note = "saving"
        elif not self._alive(track.instance):
            if now - track.placed > 1.0:  # a listing made before the VM was may still be on its way
                self._vanished(track, booting)
        elif now - track.heard > (_BOOT_TIMEOUT_S if booting else self.settings.heartbeat_timeout_s):
            self.tell(
                f"VM {track.instance} has not been heard of for {now - track.heard:.0f} s; it is replaced"
            )
            self.fleet.delete(track.instance)
            self._vanished(track, booting)

    def _vanished(self, track: Track, booting: bool) -> None:
        claim = claims.read(self.bucket, self.names, track.num)
        if claim is not None and claim.state == "done":
            self._collect(track)
            return
        if booting and (reason := self._boot_failure(track.instance)):
            track.boot_failures += 1
            self.tell(f"VM {track.instance} could not start its agent: {reason.splitlines()[-1]}")
            if track.boot_failures >= _BOOT_FAILURES:
                message = f"no VM could make its environment:\n{reason}"
                self._end(track, lost(self.names, track.point, Failure.ENVIRONMENT, message, self.clock()))
                return
        held = claim is not None and claim.state == "held"
        if claim is not None and held and claims.release(self.bucket, self.names, claim) is None:
            return  # it finished this very moment: the next look finds it done
        self._give_up(track, "is gone")

    def _boot_failure(self, instance: str) -> str:
        try:
            return self.bucket.read(self.names.boot(instance)).decode(errors="replace").strip()
        except ObjectMissing:
            return ""

    def _give_up(self, track: Track, why: str) -> None:
        track.lost += 1
        self._given_up.add(track.instance)
        self.tell(f"VM {track.instance} of job {track.num} {why} in {track.zone}")
        if track.lost >= self.settings.max_attempts:
            message = f"its VM was lost {track.lost} times (hydra.launcher.max_attempts={self.settings.max_attempts})"
            self._end(track, lost(self.names, track.point, Failure.LOST_VM, message, self.clock()))
            return
        track.state = JobState.PREEMPTED
        track.previous_zone, track.instance = track.zone, ""

    def _collect(self, track: Track) -> None:
        track.note = "collecting"
        track.collecting = self._pool.submit(collect, self.bucket, self.names, self.key, track.point)

    def _settle(self, track: Track) -> None:
        assert track.collecting is not None
        collecting, track.collecting = track.collecting, None  # one that failed is begun anew
        collected = collecting.result()
        if collected is not None:
            self._end(track, collected)

    def _end(self, track: Track, collected: Collected) -> None:
        track.collected = collected
        track.state = collected.result.state
        track.note = _cause(collected)
        for name in collected.result.working_dir_files[:3]:
            self._note(
                f"job {track.num} wrote {name} beside its output directory; kept as working_dir/{name} in it"
            )
        if collected.uncollected is not None:
            self._note(str(collected.uncollected))
        if track.state is JobState.FAILED:
            self.tell(f"job {track.num} failed: {track.note}")

    def _ask_for_vms(self) -> None:
        """A VM for each job that has none, as far as ``max_vms`` and the places allow."""
        if self.clock() < self._room_at:
            return
        # Without a limit each job has one, and those that were given up may linger.
        limit = self.settings.max_vms or math.inf
        vms = self.fleet.asking + sum(status not in GONE for status in self._instances.values())
        for track in self.tracks.values():
            free = not (track.done or track.collecting or track.asked or track.instance)
            held = (
                track.status is not None
                and not track.status.state.final
                and self._alive(track.status.instance)
            )
            if not free or held:
                continue
            if vms >= limit or (self._one_at_a_time and self.fleet.asking):
                return
            vms += 1
            track.vms += 1
            track.asked = True
            track.state = JobState.PROVISIONING
            self.fleet.ask(track.num, track.vms, round_=int(self.clock()))

    def _note(self, line: str) -> None:
        """To be read now, and once more when all is over."""
        self.tell(line)
        self.notes.append(line)

    @property
    def return_name(self) -> str:
        """What the return values are, where all programs logged theirs as the same metric."""
        results = [track.collected.result for track in self.tracks.values() if track.collected is not None]
        names = {result.metric for result in results if result.state is JobState.COMPLETED}
        return names.pop() if len(names) == 1 else ""

    def views(self) -> list[JobView]:
        """The jobs as the display wants them."""
        return [self._view(track) for track in self.tracks.values()]

    def _view(self, track: Track) -> JobView:
        status = track.status or JobStatus(track.num)
        dollars, seconds = self.fleet.bill(track.num)
        value = track.collected.job_return._return_value if track.collected else None
        return JobView(
            num=track.num,
            overrides=track.point.overrides,
            state=track.state,
            attempt=max(status.attempt, 1 if track.instance else 0),
            instance=track.instance,
            zone=track.zone,
            machine=track.machine,
            step=status.step,
            metric_name=status.metric_name,
            metric=status.metric,
            history=list(track.history),
            return_value=None if isinstance(value, BaseException) else value,
            cost=dollars,
            vm_seconds=seconds,
            note=track.note,
            previous_zone=track.previous_zone,
        )


def _holding(instances: Mapping[str, str]) -> set[str]:
    """Those that hold stock and quota: a VM that is being shut down does so to its end."""
    return {name for name, status in instances.items() if status in LEAVING or status not in GONE}


def _cause(collected: Collected) -> str:
    """A failure in one line."""
    result = collected.result
    if result.state is not JobState.FAILED:
        return ""
    last = (result.message.strip().splitlines() or ["no reason is known"])[-1]
    return last if result.failure in (None, Failure.RAISED) else f"{result.failure.value}: {last}"


def _no_place(answer: NotPlaced, started: bool) -> str:
    lines = [
        f"  {candidate.zone:24} {refusal.code}: {refusal.message}" for candidate, refusal in answer.refused
    ]
    shown = "\n".join(lines[:20])
    if len(lines) > 20:
        shown += f"\n  and {len(lines) - 20} more"
    charged = (
        "What has run so far is paid for, and safe" if started else "Nothing was started; nothing is charged"
    )
    return (
        f"No VM could be had for job {answer.num}. {len(answer.refused)} places were asked:\n{shown}\n"
        "What would help: another hydra.launcher.vm.machine_type or vm.gpu, more regions, or a higher quota"
        f" (https://console.cloud.google.com/iam-admin/quotas). {charged}."
    )
