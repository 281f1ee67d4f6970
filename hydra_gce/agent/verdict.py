"""What the end of a program's process means for its job."""

from __future__ import annotations

import pickle
import shutil
import signal
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra_gce.jobs import Failure, JobResult, JobState

_DISK_FULL_BYTES = 16 << 20


@dataclass(frozen=True)
class Ended:
    """How the program's process ended."""

    returncode: int
    job_return: Path
    oom: bool
    output_dir: Path

    @property
    def completed(self) -> bool:
        """Whether it came to a return value. It is written last: a crash while the process ended takes nothing back."""
        return self._returned is not None and not self._returned["failed"]

    @cached_property
    def _returned(self) -> dict[str, Any] | None:
        return pickle.loads(self.job_return.read_bytes()) if self.job_return.exists() else None

    def judge(self, log_tail: list[str]) -> tuple[JobResult, bytes]:
        """A result, but for what only the attempt knows, and the pickled ``JobReturn``."""
        failed = JobResult("", 0, 0, JobState.FAILED, 0.0, 0.0, log_tail=log_tail)
        returned = self._returned
        if returned is not None:
            if self.completed:
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


def oom_kills() -> int:
    """How often the kernel killed for memory since it booted."""
    path = Path("/proc/vmstat")
    if not path.exists():
        return 0
    counts = dict(line.split() for line in path.read_text().splitlines())
    return int(counts.get("oom_kill", 0))
