"""A finished job comes home: its value or its error, and its outputs. A failure is told, and nothing is lost."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from hydra.core.utils import JobReturn
from hydra.core.utils import JobStatus as HydraStatus

from hydra_gce import claims
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.collect import Collected, RemoteTraceback, collect, conclude
from hydra_gce.errors import JobFailed, ObjectMissing
from hydra_gce.jobs import Failure, JobResult, JobState, seal_result
from hydra_gce.launch.compose import Point
from hydra_gce.mirror import Mirror
from tests.scene import point

KEY = b"k" * 32
NAMES = SweepNames("calm-otter")
COMPLETED = JobResult("calm-otter", 0, 1, JobState.COMPLETED, 1.0, 2.0)
FAILED = replace(COMPLETED, state=JobState.FAILED, failure=Failure.RAISED, message="Traceback: it was here")


def returned(value: object, status: HydraStatus = HydraStatus.COMPLETED) -> bytes:
    job_return = JobReturn()
    job_return.return_value, job_return.status = value, status
    return pickle.dumps(job_return)


@pytest.fixture
def home(tmp_path: Path) -> Point:
    return point(0, tmp_path / "home")


def finish(bucket: Bucket, result: JobResult, job_return: bytes, num: int = 0) -> None:
    held = claims.take(bucket, NAMES, num, "vm")
    assert held
    bucket.write(NAMES.result(num, held.attempt), seal_result(KEY, result, job_return))
    assert claims.finish(bucket, NAMES, held)


def test_a_job_that_has_not_ended_has_nothing_to_collect(bucket: Bucket, home: Point) -> None:
    assert collect(bucket, NAMES, KEY, home) is None
    held = claims.take(bucket, NAMES, 0, "vm")
    assert held
    # Its result lies there, but it does not count yet.
    bucket.write(NAMES.result(0, 1), seal_result(KEY, COMPLETED, returned(1.0)))
    assert collect(bucket, NAMES, KEY, home) is None
    claims.release(bucket, NAMES, held)
    assert collect(bucket, NAMES, KEY, home) is None


def test_a_value_and_the_outputs_come_home(bucket: Bucket, home: Point, tmp_path: Path) -> None:
    (tmp_path / "vm").mkdir()
    (tmp_path / "vm" / "model").write_text("weights")
    Mirror(bucket, NAMES, KEY, 0, 1, tmp_path / "vm").sync()
    finish(bucket, COMPLETED, returned(0.75))
    collected = collect(bucket, NAMES, KEY, home)
    assert collected is not None
    assert collected.job_return.return_value == 0.75
    assert collected.uncollected is None
    assert (home.output_dir / "model").read_text() == "weights"


def test_an_exception_has_the_remote_traceback_as_its_cause(bucket: Bucket, home: Point) -> None:
    finish(bucket, FAILED, returned(ValueError("bad lr"), HydraStatus.FAILED))
    collected = collect(bucket, NAMES, KEY, home)
    assert collected is not None
    with pytest.raises(ValueError, match="bad lr") as raised:
        _ = collected.job_return.return_value
    assert isinstance(raised.value.__cause__, RemoteTraceback)
    assert "Traceback: it was here" in str(raised.value.__cause__)


def test_a_job_without_a_value_fails_with_its_last_lines(bucket: Bucket, home: Point) -> None:
    killed = replace(
        FAILED, failure=Failure.KILLED, message="it was killed by SIGSEGV", log_tail=["step 1", "step 2"]
    )
    finish(bucket, killed, b"")
    collected = collect(bucket, NAMES, KEY, home)
    assert collected is not None
    with pytest.raises(
        JobFailed, match=r"(?s)job 0: it was killed by SIGSEGV.*hydra-gce logs.*step 1\n +step 2"
    ):
        _ = collected.job_return.return_value
    assert collected.job_return.status is HydraStatus.FAILED
    assert collected.job_return.overrides == home.overrides
    assert collected.job_return.cfg == {"lr": 0.1}
    assert collected.job_return.hydra_cfg is not None
    assert collected.job_return.hydra_cfg.hydra.job.name == "train"
    assert collected.job_return.working_dir == str(home.output_dir)


def test_a_value_of_a_class_that_is_not_here_is_said_and_not_fatal(bucket: Bucket, home: Point) -> None:
    unknown = returned(1.0).replace(b"hydra.core.utils", b"hydra.gone.utils")
    finish(bucket, replace(COMPLETED, message="as text"), unknown)
    collected = collect(bucket, NAMES, KEY, home)
    assert collected is not None
    with pytest.raises(JobFailed, match=r"cannot be read here.*hydra\.gone.*as text"):
        _ = collected.job_return.return_value


def test_a_result_that_is_missing_fails_its_job_alone(bucket: Bucket, home: Point) -> None:
    finish(bucket, COMPLETED, returned(1.0))
    bucket.delete(NAMES.result(0, 1))
    collected = collect(bucket, NAMES, KEY, home)
    assert collected is not None
    assert collected.result.state is JobState.FAILED
    with pytest.raises(ObjectMissing):
        _ = collected.job_return.return_value


def test_outputs_that_cannot_be_written_do_not_cost_the_value(
    bucket: Bucket, home: Point, tmp_path: Path
) -> None:
    (tmp_path / "vm").mkdir()
    (tmp_path / "vm" / "model").write_text("weights")
    Mirror(bucket, NAMES, KEY, 0, 1, tmp_path / "vm").sync()
    finish(bucket, COMPLETED, returned(0.75))
    home.sweep_dir.write_text("a file where the directory should be")
    collected = collect(bucket, NAMES, KEY, home)
    assert collected is not None
    assert collected.job_return.return_value == 0.75
    assert collected.uncollected is not None
    assert f"gs://{bucket.name}" in str(collected.uncollected)
    assert "hydra-gce collect calm-otter" in str(collected.uncollected)


def concluded(bucket: Bucket, home: Point, failure: Failure, message: str) -> Collected:
    collected = conclude(bucket, NAMES, KEY, home, JobState.FAILED, failure, message, at=5.0)
    assert collected is not None
    return collected


def test_a_job_that_is_given_up_has_ended_for_all_who_look(bucket: Bucket, home: Point) -> None:
    held = claims.take(bucket, NAMES, 0, "vm")
    assert held
    conclude(bucket, NAMES, KEY, home, JobState.CANCELLED, None, "cancelled by ada", at=5.0)
    assert not claims.is_held(bucket, NAMES, held) and claims.finish(bucket, NAMES, held) is None
    seen = collect(bucket, NAMES, KEY, home)
    assert seen is not None and seen.result.state is JobState.CANCELLED
    with pytest.raises(JobFailed, match="job 0: cancelled by ada"):
        _ = seen.job_return.return_value


def test_a_job_that_has_ended_meanwhile_keeps_its_result(bucket: Bucket, home: Point) -> None:
    finish(bucket, COMPLETED, returned(0.75))
    collected = concluded(bucket, home, Failure.LOST_VM, "gone")
    assert collected.job_return.return_value == 0.75


def test_a_lost_job_looks_as_if_hydra_itself_had_returned_it(bucket: Bucket, home: Point) -> None:
    collected = concluded(bucket, home, Failure.LOST_VM, "its VM was lost 3 times")
    assert (collected.result.state, collected.result.failure) == (JobState.FAILED, Failure.LOST_VM)
    assert collected.result.ended == 5.0
    with pytest.raises(JobFailed, match="job 0: its VM was lost 3 times"):
        _ = collected.job_return.return_value
    assert collected.uncollected is None
    assert not home.output_dir.exists()  # no attempt ever began
    assert home.config.hydra.job.name == "train"  # the point's own config is as it was


def test_a_lost_job_brings_home_what_its_last_attempt_has_saved(
    bucket: Bucket, home: Point, tmp_path: Path
) -> None:
    (tmp_path / "vm").mkdir()
    for epoch in (1, 2):
        held = claims.take(bucket, NAMES, 0, f"vm-{epoch}")
        assert held
        (tmp_path / "vm" / "model").write_text(f"weights of attempt {epoch}")
        Mirror(bucket, NAMES, KEY, 0, held.attempt, tmp_path / "vm").sync()
        claims.release(bucket, NAMES, held)
    collected = concluded(bucket, home, Failure.BUDGET, "$10 is spent")
    assert collected.uncollected is None
    assert (home.output_dir / "model").read_text() == "weights of attempt 2"


def test_a_lost_jobs_outputs_that_cannot_be_written_are_told_of(
    bucket: Bucket, home: Point, tmp_path: Path
) -> None:
    held = claims.take(bucket, NAMES, 0, "vm")
    assert held
    (tmp_path / "vm").mkdir()
    Mirror(bucket, NAMES, KEY, 0, 1, tmp_path / "vm").sync()
    home.sweep_dir.write_text("a file where the directory should be")
    collected = concluded(bucket, home, Failure.LOST_VM, "gone")
    assert "hydra-gce collect calm-otter" in str(collected.uncollected)
    with pytest.raises(JobFailed):
        _ = collected.job_return.return_value
