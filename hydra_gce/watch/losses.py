"""VMs that are lost: taken back, deleted, broken, hung, never come up. Each job gets another, as often as it may."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hydra_gce import claims
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.compute import LEAVING
from hydra_gce.errors import ObjectMissing
from hydra_gce.fleet import Fleet
from hydra_gce.jobs import Failure, JobState
from hydra_gce.settings import Settings
from hydra_gce.watch.board import Board
from hydra_gce.watch.ends import Ends
from hydra_gce.watch.track import Track

_BOOT_FAILURES = 2
_UNLISTED_S = 1.0
"""For so long a VM may be missing in a listing that was made before it."""
_RUN_LIMIT_SLACK_S = 60.0
_HEARTBEATS = 5
_SHUT_DOWN, _PREEMPTED = "shut down", "preempted"
_CONSOLE_CHARACTERS = 80


@dataclass
class Losses:
    """``beat_s``: seconds from one heartbeat of a job to the next. ``tell`` takes lines for the person."""

    bucket: Bucket
    names: SweepNames
    fleet: Fleet
    settings: Settings
    board: Board
    ends: Ends
    beat_s: float
    tell: Callable[[str], None]
    clock: Callable[[], float]

    def check(self, track: Track) -> None:
        """Finds the VM that vanished, that never came up, or that has fallen silent."""
        now = self.clock()
        booting = track.status is None or track.status.instance != track.instance
        listed = self.board.instances.get(track.instance)
        leaving = listed is not None and listed.status in LEAVING
        if leaving and not booting and now - track.heard <= self.settings.heartbeat_timeout_s:
            # Another attempt must not begin before its agent has sent what the program saves.
            track.note = "saving"
        elif not self.board.is_alive(track.instance):
            if now - track.placed > _UNLISTED_S:
                self._vanished(track, booting)
        elif now - track.heard > self._silence_s(booting):
            self._silent(track, booting, now - track.heard)

    def cancel(self, track: Track) -> None:
        """One step of ending a job that nobody wants any more: its VM goes, with what its program saves until then."""
        if track.status is not None and track.status.state.final:
            self.ends.collect(track)
        elif track.asked:
            track.note = "cancelled"  # the answer to its search must come first
        elif track.instance and (self._may_live(track) or self._saves(track)):
            if track.instance not in self.board.deleted:
                self.fleet.delete(track.instance)
                self.board.deleted.add(track.instance)
            track.note = "saving"
        else:
            self.ends.cancel(track)

    def _saves(self, track: Track) -> bool:
        """Whether its VM is being shut down, and its agent has not sent all that the program saves."""
        listed, status = self.board.instances.get(track.instance), track.status
        if listed is None or listed.status not in LEAVING or status is None:
            return False
        at_work = status.instance == track.instance and status.state is JobState.RUNNING
        return at_work and self.clock() - track.heard <= self.settings.heartbeat_timeout_s

    def _may_live(self, track: Track) -> bool:
        """A VM that was made after the listing counts as one that lives."""
        is_new = self.clock() - track.placed <= _UNLISTED_S
        return self.board.is_alive(track.instance) or is_new

    def left(self, track: Track, message: str) -> None:
        """Compute Engine took the VM back, or its time was over. ``message``: what its agent says of that."""
        if self.clock() - track.placed >= self.settings.vm.max_run_hours * 3600 - _RUN_LIMIT_SLACK_S:
            why = f"reached its vm.max_run_hours={self.settings.vm.max_run_hours:g}"
            self._lost(track, why, failure=Failure.DEADLINE)
            return
        if message == _SHUT_DOWN and self.fleet.was_preempted(track.instance):
            message = _PREEMPTED  # the agent heard of the shutdown first
        track.preemptions += 1
        self._give_up(track, f"was taken back{f' ({message})' if message else ''}", how="preempted")

    def _silence_s(self, booting: bool) -> float:
        heard_s = max(self.settings.heartbeat_timeout_s, _HEARTBEATS * self.beat_s)
        return self.settings.boot_timeout_s if booting else heard_s

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
            self.ends.collect(track)
            return
        if claim is not None and claim.state == "held" and self._is_anothers(claim.instance, track):
            track.instance, track.heard = claim.instance, self.clock()
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
            self.ends.fail(track, Failure.ENVIRONMENT, f"no VM could make its environment:\n{reason}")
        elif preempted:
            self.left(track, "")
        else:
            self._lost(track, "is gone", line)

    def _is_anothers(self, instance: str, track: Track) -> bool:
        """Whether another VM that lives has taken up the job."""
        return instance != track.instance and self.board.is_alive(instance)

    def _boot_failure(self, instance: str) -> str:
        try:
            return self.bucket.read(self.names.boot(instance)).decode(errors="replace").strip()
        except ObjectMissing:
            return ""

    def _lost(self, track: Track, why: str, line: str = "", failure: Failure = Failure.LOST_VM) -> None:
        track.lost += 1
        self._give_up(track, why, line)
        if track.lost >= self.settings.max_attempts:
            times = "time" if track.lost == 1 else "times"
            message = f"its VM was lost {track.lost} {times} (hydra.launcher.max_attempts={self.settings.max_attempts})"
            self.ends.fail(track, failure, f"{message}; the last one {why}")

    def _give_up(self, track: Track, why: str, line: str = "", how: str = "lost") -> None:
        self.board.given_up.add(track.instance)
        self.tell(line or f"VM {track.instance} of job {track.num} {why} in {track.zone}")
        track.lose(how)


def _last_line(words: str) -> str:
    """The last line of a console, without what the guest's runner of scripts puts before it."""
    line = words.splitlines()[-1].strip().rpartition("startup-script: ")[2]
    return line if len(line) <= _CONSOLE_CHARACTERS else f"{line[: _CONSOLE_CHARACTERS - 1]}…"
