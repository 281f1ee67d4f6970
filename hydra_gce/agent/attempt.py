"""One attempt at one job: its workplace, its process, its heartbeat, its end."""

from __future__ import annotations

import json
import logging
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from hydra_gce.agent import workplace
from hydra_gce.agent.courier import Courier
from hydra_gce.agent.workplace import Workplace
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.claims import Claim
from hydra_gce.jobs import Failure, JobResult, JobSpec, JobState, JobStatus
from hydra_gce.mirror import Mirror, restore_newest
from hydra_gce.tracking.environment import variables
from hydra_gce.tracking.journal import JournalParts, latest, name_of
from hydra_gce.unreachable import UNREACHABLE

log = logging.getLogger(__name__)

_HEARTBEAT_S = 3.0
_POLL_S = 0.05
_LOG_TAIL_LINES = 40
_DISK_FULL_BYTES = 16 << 20


@dataclass(frozen=True)
class Attempt:
    """``scratch`` is the agent's own directory for this attempt; ``leave`` is set when the VM is about to go."""

    bucket: Bucket
    names: SweepNames
    key: bytes
    claim: Claim
    spec: JobSpec
    program: bytes
    zone: str
    scratch: Path
    archives: Path
    leave: threading.Event
    clock: Callable[[], float] = time.time

    def run(self) -> tuple[JobResult | None, bytes]:
        """The result and the pickled ``JobReturn``; None where the VM was taken back before the program had ended."""
        started = self.clock()
        self._say(JobState.BOOTING, "unpacking", started)
        register = self.archives / "made-here"
        place = workplace.prepare(self.bucket, self.spec, self.archives, self.scratch / "root", register)
        num, number = self.spec.num, self.claim.attempt
        # The attempt before may be at its last sync still: what it leaves last is what counts.
        restored = restore_newest(self.bucket, self.names, self.key, num, number - 1, place.output_dir)
        manifest = restored[0] if restored else None
        mirror = Mirror(self.bucket, self.names, self.key, num, number, place.output_dir, manifest)
        tracking = self.scratch / "tracking"
        (tracking / "artifacts").mkdir(parents=True)
        courier = Courier(
            self.bucket,
            self.names,
            num,
            number,
            self.scratch / "log",
            mirror,
            JournalParts(tracking / "journal.jsonl") if self.spec.tracking else None,
            tracking / "artifacts" if self.spec.tracking else None,
        )
        kills_before = _oom_kills()
        process = self._start(place, tracking)
        courier.start()
        left = self._watch(process, courier, tracking, started)
        # A VM that is taken back has seconds left: they are for the output directory.
        rescued = [] if left else place.rescue()
        courier.finish()
        self._say(JobState.PREEMPTED if left else JobState.RUNNING, "", started, courier, tracking)
        if left:
            return None, b""
        ended = _Ended(
            process.returncode, self.scratch / "job_return", _oom_kills() > kills_before, place.output_dir
        )
        result, job_return = ended.judge(courier.log.tail(_LOG_TAIL_LINES))
        return (
            replace(
                result,
                sweep=self.spec.sweep,
                num=num,
                attempt=number,
                started=started,
                ended=self.clock(),
                metric=self._metric_of(result, tracking),
                working_dir_files=rescued,
                translate=[list(pair) for pair in place.translate],
            ),
            job_return,
        )

    def _metric_of(self, result: JobResult, tracking: Path) -> str:
        if result.returned is None or not self.spec.tracking:
            return ""
        return name_of(tracking / "journal.jsonl", result.returned)

    def _start(self, place: Workplace, tracking: Path) -> subprocess.Popen[bytes]:
        program = self.scratch / "program"
        program.write_bytes(self.program)
        order = self.scratch / "order.json"
        order.write_text(
            json.dumps(
                {
                    "program": str(program),
                    "job_return": str(self.scratch / "job_return"),
                    "cwd": str(place.cwd),
                    "script": self.spec.script and place.here(self.spec.script),
                    "sys_path": [place.here(path) for path in self.spec.sys_path],
                    "translate": place.translate,
                }
            ),
            encoding="utf-8",
        )
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", **self.spec.variables}
        if self.spec.tracking:
            environment |= variables(
                tracking, self.spec.sweep, self.spec.num, self.claim.attempt, self.spec.experiment
            )
        with (self.scratch / "log").open("wb") as log_file:
            return subprocess.Popen(
                [sys.executable, "-m", "hydra_gce.agent.program", str(order)],
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=place.cwd,
                start_new_session=True,
            )

    def _watch(
        self, process: subprocess.Popen[bytes], courier: Courier, tracking: Path, started: float
    ) -> bool:
        """Waits for the program and sends heartbeats meanwhile. True if it was stopped because the VM goes."""
        said = 0.0
        while process.poll() is None:
            if self.leave.is_set():
                self._stop(process)
                return True
            if self.clock() - said >= _HEARTBEAT_S:
                self._say(JobState.RUNNING, "", started, courier, tracking)
                said = self.clock()
            self.leave.wait(_POLL_S)
        # Children that the program left behind would keep writing into what is collected now.
        _signal(process, signal.SIGKILL)
        return False

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        log.info("telling the program to save: %.0f s", self.spec.preempt_grace_s)
        _signal(process, signal.SIGTERM)
        try:
            process.wait(self.spec.preempt_grace_s)
        except subprocess.TimeoutExpired:
            log.warning("the program did not end in time")
        _signal(process, signal.SIGKILL)
        process.wait()

    def _say(
        self,
        state: JobState,
        message: str,
        started: float,
        courier: Courier | None = None,
        tracking: Path | None = None,
    ) -> None:
        """Writes the job's status; a heartbeat that does not get through is no reason to stop the program."""
        metric = latest(tracking / "journal.jsonl") if tracking and self.spec.tracking else None
        status = JobStatus(
            num=self.spec.num,
            state=state,
            attempt=self.claim.attempt,
            instance=self.claim.instance,
            zone=self.zone,
            heartbeat=self.clock(),
            started=started,
            step=metric.step if metric else None,
            metric_name=metric.name if metric else "",
            metric=metric.value if metric else None,
            log_parts=courier.log_parts if courier else 0,
            journal_parts=courier.journal_parts if courier else 0,
            message=message,
        )
        write_status(self.bucket, self.names, status)


def write_status(bucket: Bucket, names: SweepNames, status: JobStatus) -> None:
    try:
        bucket.write(names.status(status.num), b"", metadata=status.to_metadata())
    except UNREACHABLE:
        log.exception("the status of job %s could not be written", status.num)


@dataclass(frozen=True)
class _Ended:
    """How the program's process ended."""

    returncode: int
    job_return: Path
    oom: bool
    output_dir: Path

    def judge(self, log_tail: list[str]) -> tuple[JobResult, bytes]:
        failed = JobResult("", 0, 0, JobState.FAILED, 0.0, 0.0, log_tail=log_tail)
        # It is written last: a crash while the process was ending takes nothing back.
        if self.job_return.exists():
            returned = pickle.loads(self.job_return.read_bytes())
            if not returned["failed"]:
                done = replace(
                    failed, state=JobState.COMPLETED, exit_code=0, log_tail=[], returned=returned["number"]
                )
                return done, returned["job_return"]
            full = self._disk_full() or "[Errno 28]" in returned["traceback"]
            failure = Failure.DISK_FULL if full else Failure.RAISED
            return replace(failed, failure=failure, message=returned["traceback"]), returned["job_return"]
        if self.returncode >= 0:
            message = f"the program ended with exit code {self.returncode} and without a return value"
            failure = Failure.DISK_FULL if self._disk_full() else Failure.EXITED
            return replace(failed, failure=failure, message=message, exit_code=self.returncode), b""
        name = signal.Signals(-self.returncode).name
        if self.oom and name == "SIGKILL":
            message = "the program was killed because the VM's memory was full"
            return replace(failed, failure=Failure.OUT_OF_MEMORY, message=message, signal=name), b""
        return replace(
            failed, failure=Failure.KILLED, message=f"the program was killed by {name}", signal=name
        ), b""

    def _disk_full(self) -> bool:
        return shutil.disk_usage(self.output_dir).free < _DISK_FULL_BYTES


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """To the program and all that it started: it leads a session, and so a group, of its own."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def _oom_kills() -> int:
    """How often the kernel killed for memory since it booted."""
    path = Path("/proc/vmstat")
    if not path.exists():
        return 0
    counts = dict(line.split() for line in path.read_text().splitlines())
    return int(counts.get("oom_kill", 0))
