"""One job on one VM after the other: each is taken away, announced or not, until the last one ends the program."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from hydra_gce import claims
from hydra_gce.agent.courier import Courier
from hydra_gce.agent.departure import Cause, Departure
from hydra_gce.agent.lasting_bucket import LastingBucket
from hydra_gce.agent.pulse import StatusLine
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.claims import Claim
from hydra_gce.jobs import JobState, JobStatus
from hydra_gce.mirror import Mirror, restore_newest
from hydra_gce.tracking.environment import variables
from hydra_gce.tracking.journal import FILE_NAME, JournalParts
from tests.lossy_proxy import lossy_proxy
from tests.patience import wait_until
from tests.tracking.chaos.recording import STEPS
from tests.tracking.lab import SWEEP, bucket_at, program_environment

PROGRAM = Path(__file__).with_name("recording.py")
KEY = b"k" * 32
_PAUSE_S = 0.05
_NOTICE_S = 30.0


class Job(threading.Thread):
    """``losses``: so many VMs are taken away. A share of the journal's uploads, ``refused``, fails."""

    def __init__(
        self, bucket: Bucket, endpoint: str, num: int, losses: int, refused: float, seed: int, home: Path
    ) -> None:
        super().__init__(name=f"job-{num}", daemon=True)
        self.failed_uploads = 0
        self.error: BaseException | None = None
        self.last = JobStatus(num)
        self._own_bucket = bucket
        self._endpoint = endpoint
        self._num = num
        self._dice = random.Random(f"{seed}/{num}")
        self._losses = losses
        self._refused = refused
        self._home = home
        self._names = SweepNames(SWEEP)

    def run(self) -> None:
        try:
            for step in [*self._steps(), None]:
                claim = claims.take(self._own_bucket, self._names, self._num, f"hg-{self._num}")
                assert claim is not None
                self._attempt(claim, step)
        except BaseException as error:
            self.error = error

    def _steps(self) -> Iterator[int]:
        """At which each VM is taken away, one after the other."""
        yield from sorted(self._dice.sample(range(1, STEPS), self._losses))

    def _attempt(self, claim: Claim, ends_at: int | None) -> None:
        home = self._home / f"{self._num}-{claim.attempt}"
        output, tracking = home / "output", home / "tracking"
        (tracking / "artifacts").mkdir(parents=True)
        output.mkdir()
        departure = Departure()
        with lossy_proxy(self._endpoint) as proxy:

            def refuse(method: str, path: str) -> int | None:
                is_journal = method == "POST" and "journal" in path
                return 503 if is_journal and self._dice.random() < self._refused else None

            proxy.refuse = refuse
            bucket = LastingBucket(bucket_at(proxy.url, self._own_bucket.name), departure)
            restored = restore_newest(bucket, self._names, KEY, self._num, claim.attempt - 1, output)
            (home / "log").touch()
            line = StatusLine(bucket, self._names, claim)
            mirror = Mirror(
                bucket, self._names, KEY, self._num, claim.attempt, output, restored[0] if restored else None
            )

            def tell() -> None:
                line.write(self._status(courier, claim, JobState.RUNNING))

            courier = Courier(
                bucket,
                self._names,
                self._num,
                claim.attempt,
                home / "log",
                mirror,
                JournalParts(tracking / FILE_NAME),
                tracking / "artifacts",
                pause_s=0.2,
                mirror_every_s=0.5,
                tell=tell,
            )
            program = self._start_program(output, tracking, claim.attempt, home)
            courier.start()
            try:
                if ends_at is not None:
                    self._take_away(program, courier, departure, output, ends_at)
                    claims.release(self._own_bucket, self._names, claim)
                    return
                wait_until(lambda: program.poll() is not None, "the program ends", 250)
                assert program.returncode == 0, (home / "program.log").read_text()
                courier.finish()
                self.last = self._status(courier, claim, JobState.COMPLETED)
                line.write(self.last)
                claims.finish(self._own_bucket, self._names, claim)
            finally:
                courier.abandon()
                self.failed_uploads += proxy.refused

    def _take_away(
        self,
        program: subprocess.Popen[bytes],
        courier: Courier,
        departure: Departure,
        output: Path,
        at_step: int,
    ) -> None:
        wait_until(lambda: _step(output) >= at_step or program.poll() is not None, f"step {at_step}", 250)
        if self._dice.random() < 0.5:
            departure.announce(Cause.PREEMPTED, _NOTICE_S)
            os.killpg(program.pid, signal.SIGKILL)
            program.wait()
            courier.finish(departure.left_s)
            return
        # Gone: nothing more comes from here, what is under way included.
        departure.announce(Cause.SHUT_DOWN, 0.0)
        os.killpg(program.pid, signal.SIGKILL)
        program.wait()
        courier.abandon()
        courier._thread.join()

    def _start_program(
        self, output: Path, tracking: Path, attempt: int, home: Path
    ) -> subprocess.Popen[bytes]:
        known = variables(tracking, SWEEP, self._num, attempt, "membrane")
        with (home / "program.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, str(PROGRAM), str(output), str(self._num), str(_PAUSE_S)],
                env=program_environment() | known,
                cwd=home,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _status(self, courier: Courier, claim: Claim, state: JobState) -> JobStatus:
        return JobStatus(
            self._num,
            state,
            claim.attempt,
            instance=claim.instance,
            journal_parts=courier.journal_parts,
            artifact_syncs=courier.artifact_syncs,
        )


def _step(output: Path) -> int:
    checkpoint = output / "checkpoint.json"
    return int(json.loads(checkpoint.read_text())["step"]) if checkpoint.exists() else 0
