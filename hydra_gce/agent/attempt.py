"""One attempt at one job: its workplace, its process, its heartbeat, its end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from hydra_gce.agent import workplace
from hydra_gce.agent.child import Child
from hydra_gce.agent.courier import Courier
from hydra_gce.agent.departure import Departure
from hydra_gce.agent.gauge import Gauge
from hydra_gce.agent.pulse import Pulse
from hydra_gce.agent.room import Room, archives_in
from hydra_gce.agent.uplink import Uplink
from hydra_gce.agent.verdict import Ended, oom_kills
from hydra_gce.agent.workplace import Workplace
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.claims import Claim
from hydra_gce.jobs import JobResult, JobSpec, JobState, JobStatus
from hydra_gce.mirror import Mirror, restore_newest
from hydra_gce.tracking.environment import variables
from hydra_gce.tracking.journal import JournalParts, name_of
from hydra_gce.tracking.progress import Progress, ProgressReader

log = logging.getLogger(__name__)

_POLL_S = 0.05
_LOG_TAIL_LINES = 40
_PROGRAMS_SHARE = 2 / 3
_LAST_WORDS_S = 4.0
_SAME_MOMENT_S = 2.0
_PARTS_PER_HEARTBEAT = 3
_UPLINK_S = 30.0
"""For what MLflow's server has not got when the program ends; what is left then, the launcher brings."""


class Lost(Exception):
    """The job is another attempt's: nothing of this one counts any more, and nothing more is to be written."""


@dataclass
class Attempt:
    """``scratch`` is the agent's own directory for this attempt, ``archives`` what all of this VM's jobs share.

    ``bucket`` lasts until a request is done, ``quick_bucket`` gives up soon.
    """

    bucket: Bucket
    quick_bucket: Bucket
    names: SweepNames
    key: bytes
    claim: Claim
    spec: JobSpec
    program: bytes
    zone: str
    scratch: Path
    archives: Path
    departure: Departure
    project: str = ""
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self._started = self.clock()
        self._state, self._message = JobState.BOOTING, "unpacking"
        self._courier: Courier | None = None
        self._room: Room | None = None
        self._tracking = self.scratch / "tracking"
        self._progress = ProgressReader(self._tracking / "journal.jsonl")
        self._gauge = Gauge(self.scratch)
        self._pulse = Pulse(self.quick_bucket, self.names, self.claim, self.status, self.spec.heartbeat_s)

    def run(self) -> tuple[JobResult | None, bytes]:
        """The result and the pickled ``JobReturn``; None where the VM was taken back before the program had ended.

        :raises Lost: the job was given to another VM.
        :raises OutOfTime: the VM goes before the bucket is back.
        """
        self._pulse.start()
        self._gauge.start()
        try:
            return self._run()
        finally:
            self._gauge.stop()
            self._pulse.stop(max(0.0, min(_LAST_WORDS_S, self.departure.left_s())))

    def status(self) -> JobStatus:
        """How the job is now."""
        known = self._progress.look() if self._courier and self._has_journal else Progress()
        return JobStatus(
            num=self.spec.num,
            state=self._state,
            attempt=self.claim.attempt,
            instance=self.claim.instance,
            zone=self.zone,
            heartbeat=self.clock(),
            started=self._started,
            step=known.step,
            metric_name=known.metric_name,
            metric=known.metric,
            log_parts=self._courier.log_parts if self._courier else 0,
            journal_parts=self._courier.journal_parts if self._courier else 0,
            artifact_syncs=self._courier.artifact_syncs if self._courier else 0,
            message=self._message,
            warning=self._room.warning if self._room else "",
            first_step=known.first_step,
            total_steps=known.total_steps,
            steps_per_s=known.steps_per_s,
            speed=known.speed,
            speed_unit=known.speed_unit,
            best=known.best,
            history=known.history,
            usage=self._gauge.last.to_text() if self._gauge.last else "",
        )

    def _run(self) -> tuple[JobResult | None, bytes]:
        place = workplace.prepare(
            self.bucket, self.spec, self.archives, self.scratch / "root", self.archives / "made-here"
        )
        courier = self._make_courier(place)
        if self._pulse.lost.is_set():
            raise Lost
        if self.departure.is_announced():
            return None, b""
        kills_before = oom_kills()
        child = Child.start(self.spec, self.program, place, self.scratch, self._variables())
        uplink = self._make_uplink()
        courier.start()
        self._courier = courier
        self._say(JobState.RUNNING)
        try:
            left = self._watch(child, courier)
            ended = Ended(
                child.returncode, self.scratch / "job_return", oom_kills() > kills_before, place.output_dir
            )
            left = left or (not ended.completed and self._went_first(courier))
            # A VM that is taken back has seconds left: they are for the output directory.
            rescued = [] if left else place.rescue()
            whole = courier.finish(self._left_to_save)
            if uplink:
                uplink.finish(min(_UPLINK_S, self._left_to_save()))
        finally:
            if uplink:
                uplink.kill()
            courier.abandon()
            child.kill()
        if self._pulse.lost.is_set():
            raise Lost
        if left or not whole:  # a result without its outputs would be none
            return None, b""
        result, job_return = ended.judge(courier.log.tail(_LOG_TAIL_LINES))
        return (
            replace(
                result,
                sweep=self.spec.sweep,
                num=self.spec.num,
                attempt=self.claim.attempt,
                started=self._started,
                ended=self.clock(),
                metric=self._metric_of(result),
                working_dir_files=rescued,
                translate=[list(pair) for pair in place.translate],
            ),
            job_return,
        )

    def _make_courier(self, place: Workplace) -> Courier:
        num, number = self.spec.num, self.claim.attempt
        # The attempt before may be at its last sync still: what it leaves last is what counts.
        restored = restore_newest(
            self.bucket, self.names, self.key, num, number - 1, place.output_dir, self.spec.fresh_after
        )
        manifest = restored[0] if restored else None
        (self._tracking / "artifacts").mkdir(parents=True)
        self._room = Room(self.claim.instance, [self.scratch, place.output_dir])
        self._room.ways.append(archives_in(self.archives))
        return Courier(
            self.bucket,
            self.names,
            num,
            number,
            self.scratch / "log",
            Mirror(self.bucket, self.names, self.key, num, number, place.output_dir, manifest),
            JournalParts(self._tracking / "journal.jsonl") if self._has_journal else None,
            self._tracking / "artifacts" if self._has_journal else None,
            may_write=lambda: self._pulse.is_held(self.bucket),
            tell=self._pulse.soon,
            room=self._room,
            # Both are rarer where VMs are very many, and never more often than once a second.
            pause_s=max(1.0, self.spec.heartbeat_s / _PARTS_PER_HEARTBEAT),
        )

    def _make_uplink(self) -> Uplink | None:
        if self.spec.tracking != "durable":
            return None
        spec, claim = self.spec, self.claim
        return Uplink.start(spec, claim, self.zone, self.project, self.bucket.name, self.scratch)

    def _variables(self) -> dict[str, str]:
        """MLflow's, where the program's runs are to be recorded."""
        if self.spec.tracking == "none":
            return {}
        directory = self._tracking if self._has_journal else None
        return variables(directory, self.spec.sweep, self.spec.num, self.claim.attempt, self.spec.experiment)

    @property
    def _has_journal(self) -> bool:
        return self.spec.tracking in ("relay", "durable")

    def _watch(self, child: Child, courier: Courier) -> bool:
        """Waits for the program. True if it was stopped because the VM goes.

        :raises Lost: the job was given to another VM; the program is no more.
        """
        while not child.has_ended():
            if self._pulse.lost.is_set():
                raise Lost
            if self.departure.wait(_POLL_S):
                courier.hurry()
                cause = self.departure.cause.value if self.departure.cause else ""
                self._say(JobState.RUNNING, f"saving: {cause}")
                child.stop(self._grace_s())
                return True
        child.kill()
        return False

    def _went_first(self, courier: Courier) -> bool:
        """Whether the program ended because the VM does. A guest that shuts down tells all processes at once, and the
        program may be gone before the agent has heard of it.
        """
        if not self.departure.wait(_SAME_MOMENT_S):
            return False
        courier.hurry()
        return True

    def _grace_s(self) -> float:
        """How long the program may save: a share of what the VM has left, since what it saves must be sent as well."""
        return max(0.0, min(self.spec.preempt_grace_s, self.departure.left_s() * _PROGRAMS_SHARE))

    def _left_to_save(self) -> float:
        """Seconds for the output directory; then its manifest and the claim must have their turn."""
        return self.departure.left_s() - _LAST_WORDS_S

    def _say(self, state: JobState, message: str = "") -> None:
        self._state, self._message = state, message
        self._pulse.now()

    def _metric_of(self, result: JobResult) -> str:
        if result.returned is None or not self._has_journal:
            return ""
        return name_of(self._tracking / "journal.jsonl", result.returned)
