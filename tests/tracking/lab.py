"""What stands around a relay in these tests: a program's process, an agent that uploads, a sweep."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.jobs import JobState, JobStatus
from hydra_gce.tracking.environment import variables
from hydra_gce.tracking.journal import FILE_NAME, JournalParts
from hydra_gce.tracking.relay import Relay, TrackedSweep

ROOT = Path(__file__).parents[2]
SWEEP = "calm-otter"
STARTED = 1_760_000_000.0


@dataclass
class Machine:
    """What an agent does for the journal of one attempt: hands it over in parts, mirrors the artifacts."""

    bucket: Bucket
    directory: Path
    num: int
    attempt: int
    parts: int = 0

    def __post_init__(self) -> None:
        self._parts = JournalParts(self.directory / FILE_NAME)

    def upload(self) -> JobStatus:
        names = SweepNames(SWEEP)
        while (part := self._parts.new_part()) is not None:
            self.bucket.write(names.journal(self.num, self.attempt, self.parts), part)
            self.parts += 1
        artifacts = self.directory / "artifacts"
        for path in sorted(artifacts.rglob("*")):
            if path.is_file():
                name = path.relative_to(artifacts).as_posix()
                self.bucket.upload(names.artifacts(self.num) + name, path)
        return self.status(JobState.RUNNING)

    def status(self, state: JobState) -> JobStatus:
        return JobStatus(
            self.num,
            state,
            self.attempt,
            instance=f"hg-{SWEEP}-{self.attempt}",
            zone="us-central1-a",
            journal_parts=self.parts,
        )


def run_program(script: Path, environment: dict[str, str], cwd: Path) -> None:
    """Runs a program as a process that has nothing of ours in its environment but ``environment``."""
    own = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    own |= {"PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}
    result = subprocess.run(
        [sys.executable, str(script)],
        env=own | environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def run_on_vm(script: Path, bucket: Bucket, directory: Path, num: int, attempt: int) -> Machine:
    directory.mkdir(parents=True, exist_ok=True)
    run_program(script, variables(directory, SWEEP, num, attempt, "membrane"), script.parent)
    return Machine(bucket, directory, num, attempt)


def relay_for(bucket: Bucket, store: str | None) -> Relay:
    sweep = TrackedSweep(
        name=SWEEP,
        created=STARTED,
        project="ml-lab",
        backend="local",
        job_overrides={0: ["lr=1e-3"], 1: ["lr=1e-4"]},
        common_overrides=["epochs=3"],
        git_commit="0f" * 20,
        git_dirty=True,
    )
    return Relay(bucket, SweepNames(SWEEP), sweep, store)
