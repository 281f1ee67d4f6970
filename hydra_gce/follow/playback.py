"""Plays the VMs' MLflow records into the laptop's MLflow, in a thread of its own: a slow store delays nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hydra_gce.identity import note_tracking, store_of
from hydra_gce.jobs import JobState, JobStatus
from hydra_gce.launch.batch import Batch
from hydra_gce.logs import text_of
from hydra_gce.money.report import tags
from hydra_gce.tracking.mode import URI, Mode
from hydra_gce.view import JobView
from hydra_gce.watch import Track, Watch
from hydra_gce.watch.settled import own_values

if TYPE_CHECKING:
    from hydra_gce.tracking.relay.capture import Captured
    from hydra_gce.tracking.relay.relay import Relay

_PAUSE_S = 1.0
_MANY_PARTS = 20
_LOOK_S = 0.5
_LEAVE_S = 10.0


class Playback:
    """``relay`` is None where nothing is tracked; ``capture`` records programs that never call MLflow, too."""

    def __init__(self, relay: Relay | None, watch: Watch, capture: bool = False) -> None:
        self._relay = relay
        self._watch = watch
        self._capture = capture
        self._started = watch.clock()
        self._statuses: dict[int, JobStatus] = {}
        self._finished: set[int] = set()
        self._stop = threading.Event()
        self._news = threading.Event()
        self._thread = threading.Thread(target=self._work, name="relay", daemon=True)
        self.link = ""
        self._played_before: int | None = None
        self._runs: dict[int, str] = {}

    def tick(self) -> None:
        """Hands over what has been seen last. The first time it begins: who only looks on plays nothing."""
        if self._relay is not None and not self._thread.ident:
            self._thread.start()
        statuses = self._watch.statuses
        if statuses != self._statuses:
            self._statuses = statuses
            self._news.set()

    @property
    def share(self) -> float | None:
        """Of the records that have piled up, how much is in MLflow; None where there is no pile worth a word."""
        if self._relay is None:
            return None
        played, waiting = self._relay.progress
        if not waiting or (self._played_before is None and waiting < _MANY_PARTS):
            self._played_before = None
            return None
        if self._played_before is None or played < self._played_before:
            self._played_before = played
        done = played - self._played_before
        return done / (done + waiting)

    def close(self, meanwhile: Callable[[], None] = lambda: None) -> str:
        """Plays what is left and ends the sweep's own run. What stands in the way, in one sentence, or nothing.

        ``meanwhile`` is called now and then while that takes its time.
        """
        self._stop.set()
        self._news.set()
        if self._relay is None:
            return ""
        while self._thread.is_alive():
            self._thread.join(_PAUSE_S)
            meanwhile()
        self._relay.on_progress = _now_and_then(meanwhile)
        self._play()
        tracks = self._watch.tracks.values()
        dollars = self._watch.fleet.ledger.spent(self._watch.clock())
        self._relay.close(
            _state_of_all([track.state for track in tracks]),
            self._watch.clock(),
            {"cost_usd": f"{dollars:.4f}"},
        )
        self._note()
        return self._relay.trouble

    def leave(self) -> None:
        """Another process goes on: with what is not played yet, too."""
        self._stop.set()
        self._news.set()
        if self._relay is None or not self._thread.ident:
            return
        self._thread.join(_LEAVE_S)
        self._relay.leave()

    def with_runs(self, jobs: Sequence[JobView]) -> list[JobView]:
        return [replace(job, mlflow_run=self._runs.get(job.num, "")) for job in jobs]

    def _work(self) -> None:
        while not self._stop.is_set():
            self._play()
            self._news.wait(_PAUSE_S)
            self._news.clear()

    def _play(self) -> None:
        assert self._relay is not None
        self._relay.tick(self._statuses)
        for track in list(self._watch.tracks.values()):
            if track.collected is None:
                self._finished.discard(track.num)  # it may have been begun again
            if track.collected is not None and track.num not in self._finished:
                self._finished.add(track.num)
                ended, tags = track.collected.result.ended, self._tags(track)
                self._relay.finish(_last_status(track), ended, tags, self._captured(track))
        self._note()

    def _tags(self, track: Track) -> dict[str, str]:
        """What its VMs were and took. Of a VM that was begun by a launch before this one, the times are not known."""
        status, machine = track.status, track.machine.rpartition(" in ")[0]
        known = {
            **tags(self._watch.fleet.ledger, track.num, self._watch.clock()),
            "machine": machine,
            "spot": str(machine.startswith("spot ")).lower(),
            "zone": track.zone,
            "instance": track.instance,
            "preemptions": str(track.preemptions),
        }
        if track.first_placed:
            known["queue_s"] = f"{track.first_placed - self._started:.1f}"
        if track.placed and status and status.started > track.placed:
            known["boot_s"] = f"{status.started - track.placed:.1f}"
        return known

    def _captured(self, track: Track) -> Captured | None:
        if not self._capture or track.collected is None:
            return None
        from hydra_gce.tracking.relay.capture import Captured

        config = own_values(track.point.config)
        bucket, sweep, num = self._watch.bucket, self._watch.names.sweep, track.num

        def log() -> str:
            return text_of(bucket, sweep, num)

        return Captured(config, track.collected.value, track.point.output_dir, log)

    def _note(self) -> None:
        assert self._relay is not None
        if not self.link and self._relay.uri and self._relay.hint():
            note_tracking(self._watch.names.sweep, self._relay.uri)
        self.link = self._relay.hint() or ""
        self._runs = {num: run for num in self._watch.tracks if (run := self._relay.run_id(num))}


def relay_to_mlflow(batch: Batch, environ: Mapping[str, str]) -> Relay | None:
    """The relay into the MLflow that the environment names, or that the sweep was launched with; None where nothing is
    tracked.
    """
    plan = batch.plan
    if plan.mode is Mode.NONE:
        return None
    from hydra_gce.tracking.relay.relay import Relay

    uri = environ.get(URI) or store_of(batch.identity.names.sweep) or plan.tracking_uri
    return Relay(batch.bucket, batch.identity.names, plan.tracked, uri, mode=plan.mode)


def _state_of_all(states: Sequence[JobState]) -> JobState:
    for worst in (JobState.FAILED, JobState.CANCELLED):
        if worst in states:
            return worst
    return JobState.COMPLETED


def _now_and_then(call: Callable[[], None]) -> Callable[[], None]:
    """By one thread at a time, and no more often than a person looks."""
    turn = threading.Lock()
    again_at = 0.0

    def perhaps() -> None:
        nonlocal again_at
        if time.monotonic() >= again_at and turn.acquire(blocking=False):
            try:
                call()
                again_at = time.monotonic() + _LOOK_S
            finally:
                turn.release()

    return perhaps


def _last_status(track: Track) -> JobStatus:
    assert track.collected is not None
    known = track.status or JobStatus(track.num)
    return replace(known, state=track.collected.result.state)
