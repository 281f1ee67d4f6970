"""Reads statuses and VMs, and gives a job a VM as often as it needs one.

Each ``tick`` costs one listing of statuses and one of instances, however many jobs there are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from hydra_gce import claims
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.claims import Claim
from hydra_gce.collect import Collected, collect, lost
from hydra_gce.compose import Point
from hydra_gce.compute import GONE, LEAVING, OFF, QUEUED, Instance
from hydra_gce.errors import ObjectMissing
from hydra_gce.fleet import Adopted, Fleet, Placed
from hydra_gce.jobs import Failure, JobState, JobStatus, heartbeat_s
from hydra_gce.money.budget import Budget
from hydra_gce.settings import Settings
from hydra_gce.view import JobView
from hydra_gce.watch import past
from hydra_gce.watch.demand import Demand
from hydra_gce.watch.track import Track, cause

_BOOT_FAILURES = 2
_UNLISTED_S = 1.0
"""For so long a VM may be missing in a listing that was made before it."""
_PARALLEL_READS = 8
_RUN_LIMIT_SLACK_S = 60.0
_SHUT_DOWN, _PREEMPTED = "shut down", "preempted"
_CONSOLE_CHARACTERS = 80


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
        self._instances: dict[str, Instance] = {}
        self._given_up: set[str] = set()
        self._deleted: set[str] = set()
        self._since: dict[str, float] = {}  # when each VM was made
        self._budget = Budget.of(self.settings)
        self._over_budget = False
        self._demand = Demand(self.fleet, self.settings, self._budget, self.tell, self.clock)

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

    def take_up(self) -> None:
        """Goes on from what a launcher before this one has left: its VMs, its jobs' claims."""
        adopted = self.fleet.adopt()
        self._instances = {one.instance: _as_listed(one) for one in adopted}
        past.settle(self.bucket, self.names, self.fleet, self._instances)
        with ThreadPoolExecutor(_PARALLEL_READS) as pool:
            read = pool.map(lambda num: claims.read(self.bucket, self.names, num), self.tracks)
            held = dict(zip(self.tracks, read, strict=True))
        for one in sorted(adopted, key=lambda vm: vm.attempt):
            self._take_up_vm(one, held)
        for track in self.tracks.values():
            self._take_up_claim(track, held[track.num])
        self._demand.look_at_queue(self.tracks)

    def tick(self) -> None:
        """:raises NoPlace: nowhere is there a VM to be had, now or later."""
        self._hear_fleet()
        self._read_statuses()
        for track in self.tracks.values():
            self._follow(track)
        self._keep_within_budget()
        self._tidy()
        if self._over_budget:
            return
        wanting = (track for track in self.tracks.values() if track.wants_vm and not self._is_held(track))
        made = [one for one in self._instances.values() if one.status not in (*GONE, QUEUED)]
        self._demand.ask(wanting, len(made))

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def views(self) -> list[JobView]:
        """The jobs as the display wants them."""
        now = self.clock()
        return [track.view(*self.fleet.ledger.bill(track.num, now)) for track in self.tracks.values()]

    @property
    def return_name(self) -> str:
        """What the return values are, where all programs logged theirs as the same metric."""
        results = [track.collected.result for track in self.tracks.values() if track.collected is not None]
        names = {result.metric for result in results if result.state is JobState.COMPLETED}
        return names.pop() if len(names) == 1 else ""

    # What was there before

    def _take_up_vm(self, adopted: Adopted, held: Mapping[int, Claim | None]) -> None:
        """A VM that runs: its job's own, unless that has another."""
        track = self.tracks.get(adopted.num)
        claim = held.get(adopted.num)
        saves = adopted.status in LEAVING and claim is not None and claim.instance == adopted.instance
        if track is None or (adopted.status in GONE and not saves):
            return
        other = track.instance and claim is not None and claim.instance == track.instance
        if (claim is not None and claim.state == "done") or other:
            return  # ``_tidy`` sees to it
        self._take(track, adopted)

    def _take(self, track: Track, adopted: Adopted) -> None:
        track.take(Placed(track.num, adopted.attempt, adopted.instance, adopted.candidate), self.clock())
        track.placed = self._since[adopted.instance] = adopted.created

    def _take_up_claim(self, track: Track, claim: Claim | None) -> None:
        track.vms = self.fleet.attempts_made(track.num, claim.instance if claim else "")
        if claim is None:
            return
        if claim.state == "done":
            self._collect(track)
        elif claim.state == "held" and claim.instance != track.instance and not self._alive(claim.instance):
            claims.release(self.bucket, self.names, claim)  # its holder went while nobody looked

    # What happens

    def _hear_fleet(self) -> None:
        for answer in self.fleet.answers():
            track = self.tracks[answer.num]
            track.asked = False
            if isinstance(answer, Placed):
                self._demand.has_room(track.num)
                track.take(answer, self.clock())
                self._since[answer.instance] = track.placed
                if track.previous_zone:
                    self.tell(f"job {track.num} goes on in {track.zone}")
            else:
                started = any(one.placed for one in self.tracks.values())
                self._demand.has_none(track, answer, self._others_alive(), started)
        if any(track.vms for track in self.tracks.values()):
            before = _holding(self._instances)
            self._instances = self.fleet.instances()
            self._demand.left(before - _holding(self._instances))
        self._demand.look_at_queue(self.tracks)

    def _others_alive(self) -> bool:
        return self.fleet.asking > 0 or any(one.status not in GONE for one in self._instances.values())

    def _read_statuses(self) -> None:
        listed = [
            (JobStatus.from_metadata(entry.metadata), entry)
            for entry in self.bucket.list(self.names.statuses)
        ]
        for status, entry in sorted(listed, key=lambda one: one[0].started):
            track = self.tracks.get(status.num)
            if track is None or track.generation == entry.generation:
                continue
            track.hear(status, entry.generation, self.clock())
            self.fleet.has_run(status.instance, status.started)
            candidate = self.fleet.ledger.works_for(status.instance, status.num, status.started)
            if candidate is not None:
                track.machine, track.zone = str(candidate), candidate.zone

    def _follow(self, track: Track) -> None:
        if track.done:
            return
        if track.ending is not None:
            if track.collecting is None:
                track.collecting = self._pool.submit(track.ending)
            elif track.collecting.done():
                self._settle(track)
            return
        status = track.status
        if status is not None and status.state.final:
            self._collect(track)
        elif status is not None and status.instance == track.instance and track.instance:
            track.state, track.note = status.state, status.message
            if status.state is JobState.PREEMPTED:
                self._left(track, status.message)
            else:
                self._check_alive(track)
        elif status is not None and status.instance and self._alive(status.instance):
            # Another job's VM took it.
            track.instance, track.zone, track.state = status.instance, status.zone, status.state
            track.placed = self._since.get(status.instance, self.clock())
        elif track.instance:
            self._check_alive(track)

    def _alive(self, instance: str) -> bool:
        """Whether anything is to be hoped for from it: one that was given up may take minutes to go."""
        listed = self._instances.get(instance)
        return instance not in self._given_up and listed is not None and listed.status not in GONE

    def _is_held(self, track: Track) -> bool:
        """Whether a VM that was made for another job works on it."""
        status = track.status
        return status is not None and not status.state.final and self._alive(status.instance)

    # VMs that are lost

    def _check_alive(self, track: Track) -> None:
        """Finds the VM that vanished, that never came up, or that has fallen silent."""
        now = self.clock()
        booting = track.status is None or track.status.instance != track.instance
        listed = self._instances.get(track.instance)
        leaving = listed is not None and listed.status in LEAVING
        if leaving and not booting and now - track.heard <= self.settings.heartbeat_timeout_s:
            # Another attempt must not begin before its agent has sent what the program saves.
            track.note = "saving"
        elif not self._alive(track.instance):
            if now - track.placed > _UNLISTED_S:
                self._vanished(track, booting)
        elif now - track.heard > self._silence_s(booting):
            self._silent(track, booting, now - track.heard)

    def _silence_s(self, booting: bool) -> float:
        beat_s = heartbeat_s(self.settings.max_vms or len(self.points))
        return self.settings.boot_timeout_s if booting else max(self.settings.heartbeat_timeout_s, 5 * beat_s)

    def _silent(self, track: Track, booting: bool, silent_s: float) -> None:
        """Its VM runs and says nothing: hung, or its kernel panicked. What it wrote last is kept."""
        words = self.fleet.last_words(track.instance).strip()
        self.bucket.write(self.names.console(track.instance), words.encode())
        did = "has not started its agent" if booting else "has not been heard of"
        last = f". Its console ends with: {_last_line(words)}" if words else ""
        self.fleet.delete(track.instance)
        line = f"VM {track.instance} of job {track.num} {did} for {silent_s:.0f} s; it is replaced{last}"
        self._vanished(track, booting, line)

    def _vanished(self, track: Track, booting: bool, line: str = "") -> None:
        """``line``: what the person is told, if not that the VM is gone."""
        claim = claims.read(self.bucket, self.names, track.num)
        if claim is not None and claim.state == "done":
            self._collect(track)
            return
        held = claim is not None and claim.state == "held" and claim.instance == track.instance
        if claim is not None and held and claims.release(self.bucket, self.names, claim) is None:
            return  # it finished this very moment: the next look finds it done
        # All is asked before anything is counted: if the network fails in between, the next look begins anew.
        reason = self._boot_failure(track.instance) if booting else ""
        preempted = self.fleet.was_preempted(track.instance)
        if reason:
            track.boot_failures += 1
            self.tell(f"VM {track.instance} could not start its agent: {reason.splitlines()[-1]}")
        if reason and track.boot_failures >= _BOOT_FAILURES:
            self._fail(track, Failure.ENVIRONMENT, f"no VM could make its environment:\n{reason}")
        elif preempted:
            self._left(track, "")
        else:
            self._lost(track, "is gone", line)

    def _boot_failure(self, instance: str) -> str:
        try:
            return self.bucket.read(self.names.boot(instance)).decode(errors="replace").strip()
        except ObjectMissing:
            return ""

    def _left(self, track: Track, message: str) -> None:
        """Compute Engine took the VM back, or its time was over."""
        if self.clock() - track.placed >= self.settings.vm.max_run_hours * 3600 - _RUN_LIMIT_SLACK_S:
            self._lost(track, f"reached its vm.max_run_hours={self.settings.vm.max_run_hours:g}")
            return
        if message == _SHUT_DOWN and self.fleet.was_preempted(track.instance):
            message = _PREEMPTED  # the agent heard of the shutdown first
        track.preemptions += 1
        self._give_up(track, f"was taken back{f' ({message})' if message else ''}")

    def _lost(self, track: Track, why: str, line: str = "") -> None:
        track.lost += 1
        self._give_up(track, why, line)
        if track.lost >= self.settings.max_attempts:
            times = "time" if track.lost == 1 else "times"
            message = f"its VM was lost {track.lost} {times} (hydra.launcher.max_attempts={self.settings.max_attempts})"
            self._fail(track, Failure.LOST_VM, f"{message}; the last one {why}")

    def _give_up(self, track: Track, why: str, line: str = "") -> None:
        self._given_up.add(track.instance)
        self.tell(line or f"VM {track.instance} of job {track.num} {why} in {track.zone}")
        track.lose()

    # Jobs that end

    def _fail(self, track: Track, failure: Failure, message: str) -> None:
        """The end of a job that no VM can bring to one; what its attempts have left is brought home."""
        at = self.clock()
        track.ending = lambda: lost(self.bucket, self.names, self.key, track.point, failure, message, at)

    def _collect(self, track: Track) -> None:
        track.note = "collecting"
        track.ending = lambda: collect(self.bucket, self.names, self.key, track.point)

    def _settle(self, track: Track) -> None:
        assert track.collecting is not None
        collecting, track.collecting = track.collecting, None  # one that fails is begun anew
        collected = collecting.result()
        if collected is not None:
            self._end(track, collected)
        else:
            track.ending = None

    def _end(self, track: Track, collected: Collected) -> None:
        track.collected = collected
        track.ended = self.clock()
        track.state = collected.result.state
        track.note = cause(collected)
        for name in collected.result.working_dir_files[:3]:
            self._note(
                f"job {track.num} wrote {name} beside its output directory; kept as working_dir/{name} in it"
            )
        if collected.uncollected is not None:
            self._note(str(collected.uncollected))
        if track.state is JobState.FAILED:
            self.tell(f"job {track.num} failed: {track.note}")

    def _note(self, line: str) -> None:
        """To be read now, and once more when all is over."""
        self.tell(line)
        self.notes.append(line)

    # Money, and what goes on costing

    def _keep_within_budget(self) -> None:
        if self._budget is None:
            return
        ledger, now = self.fleet.ledger, self.clock()
        if not self._over_budget and self._budget.reached(ledger, now):
            self._over_budget = True
            self.tell(f"{self._budget.said(ledger, now)}: the VMs save their work and end")
        if self._over_budget:
            self._end_all()
        over = self._over_budget or self._budget.exhausted(ledger, self.fleet.candidates, now)
        if over and not self.fleet.asking:
            for track in self.tracks.values():
                if track.wants_vm and not self._is_held(track):
                    self._fail(track, Failure.BUDGET, self._budget.said(ledger, now))

    def _end_all(self) -> None:
        """Each VM that a job has, also one that was asked for before and came since, or is to come from the queue."""
        self._demand.leave_queue(self.tracks)
        for track in self.tracks.values():
            if track.instance and not track.done and track.instance not in self._deleted:
                self.fleet.delete(track.instance)
                self._deleted.add(track.instance)

    def _tidy(self) -> None:
        """Deletes what does nothing any more and costs: VMs that are off, too many, or linger after their job."""
        now = self.clock()
        for name, instance in self._instances.items():
            if name in self._deleted or instance.status in LEAVING or not self._is_idle(instance, now):
                continue
            self.fleet.delete(name)
            self._deleted.add(name)

    def _is_idle(self, instance: Instance, now: float) -> bool:
        if instance.status in OFF:
            return True
        adopted = self.fleet.recognized(instance)
        track = self.tracks.get(adopted.num) if adopted else None
        if adopted is None or track is None or track.asked:
            return False  # of another batch, or on its way to its job
        if not track.done and track.instance == instance.name:
            return False
        if track.wants_vm and instance.name not in self._given_up and not self._is_held(track):
            self._take(track, adopted)
            return False
        patience = self.settings.heartbeat_timeout_s + self.settings.keep_warm_s
        worked_for = [
            one for one in self.tracks.values() if one.status and one.status.instance == instance.name
        ]
        since = max(adopted.created, *(max(one.ended, one.placed) for one in (track, *worked_for)))
        return all(one.done for one in worked_for) and now - since > patience


def _as_listed(adopted: Adopted) -> Instance:
    return Instance(adopted.instance, adopted.candidate.zone, adopted.status, "", {}, adopted.created)


def _last_line(words: str) -> str:
    """The last line of a console, without what the guest's runner of scripts puts before it."""
    line = words.splitlines()[-1].strip().rpartition("startup-script: ")[2]
    return line if len(line) <= _CONSOLE_CHARACTERS else f"{line[: _CONSOLE_CHARACTERS - 1]}…"


def _holding(instances: Mapping[str, Instance]) -> set[str]:
    """Those that hold stock and quota: a VM that is being shut down does so to its end."""
    return {name for name, one in instances.items() if one.status not in (*OFF, QUEUED)}
