"""What stands around a relay in these tests: a program's process, an agent that uploads, a sweep."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from hydra_gce.agent.courier import Tree
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.jobs import JobState, JobStatus
from hydra_gce.lease import Lease
from hydra_gce.tracking.environment import Point, variables
from hydra_gce.tracking.journal import FILE_NAME, Journal, JournalParts
from hydra_gce.tracking.mode import Mode
from hydra_gce.tracking.relay.destination import Destination
from hydra_gce.tracking.relay.relay import Relay
from hydra_gce.tracking.relay.runs import TrackedSweep

if TYPE_CHECKING:
    from mlflow import MlflowClient

ROOT = Path(__file__).parents[2]
TRAINING = Path(__file__).with_name("program.py")
SWEEP = "calm-otter"
STARTED = 1_760_000_000.0
STARTED_MS = 1_760_000_000_000


class Killed(BaseException):
    """The relay's process ends here."""


def bucket_at(endpoint: str, name: str) -> storage.Bucket:
    """By way of ``endpoint``, which is a storage server or stands before one."""
    client = storage.Client(
        project="p", credentials=AnonymousCredentials(), client_options={"api_endpoint": endpoint}
    )
    bucket: storage.Bucket = client.bucket(name)
    return bucket


@contextmanager
def dying(before: int, after: int) -> Iterator[Callable[[int], None]]:
    """Relays die in each so many-th call of their store, before it is carried out or after it.

    The given function says from which number the calls are counted from now on.
    """
    original, calls = Destination.call, 0

    def killed_now_and_then(self: Destination, what: str, function: Callable[[], Any]) -> Any:
        nonlocal calls
        calls += 1
        if calls % before == 0:
            raise Killed
        answer = original(self, what, function)
        if calls % after == 0:
            raise Killed
        return answer

    def count_from(number: int) -> None:
        nonlocal calls
        calls = number

    with patch.object(Destination, "call", killed_now_and_then):
        yield count_from


@dataclass
class Machine:
    """What an agent does for the journal of one attempt: hands it over in parts, mirrors the artifacts."""

    bucket: Bucket
    directory: Path
    num: int
    attempt: int
    sweep: str = SWEEP
    parts: int = 0
    syncs: int = 0

    def __post_init__(self) -> None:
        self._parts = JournalParts(self.directory / FILE_NAME)
        self._tree = Tree(
            self.bucket, SweepNames(self.sweep).artifacts(self.num), self.directory / "artifacts"
        )

    def upload(self) -> JobStatus:
        names = SweepNames(self.sweep)
        while (part := self._parts.new_part()) is not None:
            self.bucket.write(names.journal(self.num, self.attempt, self.parts), part)
            self.parts += 1
        self._tree.sync()
        self.syncs += 1
        return self.status(JobState.RUNNING)

    def status(self, state: JobState) -> JobStatus:
        return JobStatus(
            self.num,
            state,
            self.attempt,
            instance=f"hg-{self.sweep}-{self.attempt}",
            zone="us-central1-a",
            journal_parts=self.parts,
            artifact_syncs=self.syncs,
        )


class Scribe:
    """Writes the journal that a program would write, record by record, and hands it over as an agent would."""

    def __init__(
        self, bucket: Bucket, directory: Path, num: int, attempt: int = 1, sweep: str = SWEEP
    ) -> None:
        self._journal = Journal(directory / f"{num}-{attempt}" / FILE_NAME)
        self._machine = Machine(bucket, self._journal.path.parent, num, attempt, sweep)
        self._point = Point(sweep, num, attempt)

    def run(self, name: str = "", parent: str = "", user_tags: dict[str, str] | None = None) -> str:
        """A program's ``start_run``; gives its id."""
        run_id = self._point.run_family("membrane", parent, name) + "0000"
        tags = [["mlflow.parentRunId", parent]] if parent else []
        tags += [[key, value] for key, value in (user_tags or {}).items()]
        made = {"run": run_id, "experiment": "membrane", "start_time": STARTED_MS, "tags": tags, "name": name}
        self.write("run", **made)
        return run_id

    def log(
        self,
        run_id: str,
        metrics: Sequence[tuple[str, float, int]] = (),
        params: dict[str, str] | None = None,
        tags: dict[str, str] | None = None,
    ) -> None:
        """``metrics`` are name, value and step."""
        self.write(
            "batch",
            run=run_id,
            metrics=[[name, value, STARTED_MS + step, step] for name, value, step in metrics],
            params=[[key, value] for key, value in (params or {}).items()],
            tags=[[key, value] for key, value in (tags or {}).items()],
        )

    def end(self, run_id: str, status: str = "FINISHED") -> None:
        self.write("run_info", run=run_id, status=status, end_time=STARTED_MS + 9000, name=None)

    def write(self, op: str, **args: Any) -> None:
        self._journal.append(op, args, time=STARTED)

    def put_artifact(self, run_id: str, name: str, content: bytes) -> None:
        path = self._machine.directory / "artifacts" / run_id / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def remove_artifact(self, run_id: str, name: str) -> None:
        (self._machine.directory / "artifacts" / run_id / name).unlink()

    def upload(self) -> JobStatus:
        return self._machine.upload()

    def status(self, state: JobState) -> JobStatus:
        return self._machine.status(state)


def program_environment() -> dict[str, str]:
    """Of a program that knows nothing of the shell of who runs the tests."""
    own = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    return own | {"PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}


def run_program(
    script: Path,
    environment: dict[str, str],
    cwd: Path,
    arguments: Sequence[str] = (),
    python: str = sys.executable,
) -> str:
    """Runs a program with nothing of ours in its environment but ``environment``; gives what it said on stderr."""
    result = subprocess.run(
        [python, str(script), *arguments],
        env=program_environment() | environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stderr


def run_on_vm(
    script: Path, bucket: Bucket, directory: Path, num: int, attempt: int, python: str = sys.executable
) -> Machine:
    directory.mkdir(parents=True, exist_ok=True)
    run_program(script, variables(directory, SWEEP, num, attempt, "membrane"), directory, python=python)
    return Machine(bucket, directory, num, attempt)


def root_run(client: MlflowClient, experiment: str) -> str:
    """The id of the only run of an experiment that is nested in no other."""
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    (root,) = [
        run for run in client.search_runs([found.experiment_id]) if "mlflow.parentRunId" not in run.data.tags
    ]
    run_id: str = root.info.run_id
    return run_id


def tracked_sweep(name: str = SWEEP, experiment: str | None = None, jobs: int = 0) -> TrackedSweep:
    """``jobs``: so many, ``x=0`` and so on, instead of the two that learn at different rates."""
    many = {num: [f"x={num}"] for num in range(jobs)}
    return TrackedSweep(
        name=name,
        created=STARTED,
        project="ml-lab",
        backend="local",
        job_overrides=many or {0: ["lr=1e-3"], 1: ["lr=1e-4"]},
        common_overrides=["epochs=3"],
        git_commit="0f" * 20,
        git_dirty=True,
        changes="--- a/train.py\n+++ b/train.py\n",
        experiment=experiment,
    )


def relay_for(
    bucket: Bucket,
    store: str | None,
    lease: Lease | None = None,
    experiment: str | None = None,
    mode: Mode = Mode.RELAY,
    sweep: str = SWEEP,
    jobs: int = 0,
) -> Relay:
    return Relay(bucket, SweepNames(sweep), tracked_sweep(sweep, experiment, jobs), store, lease, mode)
