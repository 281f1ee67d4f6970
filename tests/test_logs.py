"""What jobs print is read line by line, whole and in order, over all attempts."""

from __future__ import annotations

from pathlib import Path

import pytest

from hydra_gce import claims, home
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.errors import ConfigError, SealBroken
from hydra_gce.home import SweepRecord
from hydra_gce.jobs import JobSpec, JobState, JobStatus, Placement, seal_spec
from hydra_gce.logs import follow
from hydra_gce.mirror import Mirror
from hydra_gce.recollect import recollect

NAMES = SweepNames("calm-otter")
KEY = b"k" * 32


class Printing:
    """Jobs that print: what an agent does with their logs."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.parts: dict[tuple[int, int], int] = {}

    def status(self, num: int, state: JobState, attempt: int = 1) -> None:
        metadata = JobStatus(num, state, attempt).to_metadata()
        self.bucket.write(NAMES.status(num), b"", metadata=metadata)

    def prints(self, num: int, *parts: bytes, attempt: int = 1) -> None:
        for part in parts:
            number = self.parts.setdefault((num, attempt), 0)
            self.bucket.write(NAMES.log(num, attempt, number), part)
            self.parts[num, attempt] += 1

    def lines(self, job: int | None = None, attempt: int | None = None) -> list[str]:
        return list(follow(self.bucket, "calm-otter", job, attempt, forever=False))


@pytest.fixture
def jobs(bucket: Bucket) -> Printing:
    return Printing(bucket)


def test_lines_that_were_cut_between_parts_are_put_together(jobs: Printing) -> None:
    jobs.status(0, JobState.RUNNING)
    jobs.prints(0, b"one\ntw", b"o\nthr\xc3", b"\xa9e\r\nstill being wri")
    assert jobs.lines() == ["one", "two", "thrée"]
    jobs.status(0, JobState.COMPLETED)
    assert jobs.lines() == ["one", "two", "thrée", "still being wri"]


def test_lines_of_several_jobs_say_whose_they_are(jobs: Printing) -> None:
    for num in (0, 1, 10):
        jobs.status(num, JobState.COMPLETED)
        jobs.prints(num, b"a\nb\n")
    assert jobs.lines() == ["0 | a", "0 | b", "1 | a", "1 | b", "10 | a", "10 | b"]
    assert jobs.lines(job=1) == ["a", "b"]


def test_a_job_that_is_not_there_is_said_with_those_that_are(jobs: Printing) -> None:
    jobs.status(0, JobState.RUNNING)
    jobs.status(2, JobState.PENDING)
    with pytest.raises(ConfigError, match=r"has no job 7; it has 0, 2"):
        jobs.lines(job=7)


def test_the_newest_attempt_is_shown_unless_another_is_asked_for(jobs: Printing) -> None:
    jobs.status(0, JobState.RUNNING, attempt=2)
    jobs.prints(0, b"first\n", attempt=1)
    jobs.prints(0, b"second\n", attempt=2)
    assert jobs.lines() == ["second"]
    assert jobs.lines(attempt=1) == ["first"]


def test_following_goes_on_until_all_jobs_have_ended(jobs: Printing) -> None:
    jobs.status(0, JobState.PENDING, attempt=0)
    seen: list[str] = []
    steps = iter(
        [
            (JobState.RUNNING, 1, b"one\n"),
            (JobState.RUNNING, 1, b"two\nunfinished"),
            (JobState.RUNNING, 2, b"again\n"),
            (JobState.FAILED, 2, b"end"),
        ]
    )

    def go_on(seconds: float) -> None:
        state, attempt, printed = next(steps)
        jobs.prints(0, printed, attempt=attempt)
        jobs.status(0, state, attempt)

    lines = follow(jobs.bucket, "calm-otter", None, None, forever=True, pause=go_on)
    seen.extend(lines)
    assert seen == ["one", "two", "unfinished", "again", "end"]


SPEC = JobSpec(
    sweep="calm-otter",
    num=0,
    overrides=[],
    code=Placement("code", "/p"),
    cwd="/p",
    script=None,
    data=[],
    sweep_dir="",
    output_dir="",
    variables={},
    preempt_grace_s=0.0,
    tracking="none",
    experiment=None,
    sys_path=[],
)


@pytest.fixture
def record(bucket: Bucket, tmp_path: Path) -> SweepRecord:
    """A sweep of two jobs: the first has left an output, the second has not begun."""
    from dataclasses import replace

    sweep_dir = tmp_path / "multirun"
    for num in (0, 1):
        spec = replace(SPEC, num=num, sweep_dir=str(sweep_dir), output_dir=str(sweep_dir / str(num)))
        bucket.write(NAMES.spec(num), seal_spec(KEY, spec, b""))
        bucket.write(NAMES.status(num), b"", metadata=JobStatus(num).to_metadata())
    (tmp_path / "vm").mkdir()
    (tmp_path / "vm" / "model").write_text("weights")
    assert claims.take(bucket, NAMES, 0, "vm")
    Mirror(bucket, NAMES, KEY, 0, 1, tmp_path / "vm").sync()
    return SweepRecord("calm-otter", KEY.hex(), "local", "p", bucket.name, str(sweep_dir), 1.0, 1)


def test_outputs_can_be_brought_once_more_and_elsewhere(
    bucket: Bucket, record: SweepRecord, tmp_path: Path
) -> None:
    lines = list(recollect(bucket, record, None))
    assert lines == [
        f"job 0: 1 files in {tmp_path}/multirun/0 (7 bytes fetched)",
        "job 1: nothing yet",
    ]
    assert (tmp_path / "multirun" / "0" / "model").read_text() == "weights"
    assert next(iter(recollect(bucket, record, tmp_path / "usb"))).startswith(
        f"job 0: 1 files in {tmp_path}/usb/0 "
    )
    assert (tmp_path / "usb" / "0" / "model").read_text() == "weights"
    assert "(0 bytes fetched)" in next(iter(recollect(bucket, record, None)))


def test_a_spec_that_is_not_the_sweeps_own_writes_nothing(
    bucket: Bucket, record: SweepRecord, tmp_path: Path
) -> None:
    bucket.write(NAMES.spec(0), seal_spec(b"another key", SPEC, b""))
    with pytest.raises(SealBroken):
        list(recollect(bucket, record, tmp_path / "usb"))
    assert not (tmp_path / "usb").exists()


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HYDRA_GCE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def test_the_laptop_keeps_its_sweeps_newest_first_and_their_keys_to_itself(
    state: Path, record: SweepRecord
) -> None:
    from dataclasses import replace

    assert home.sweep_records() == []
    record.save()
    newer = replace(record, sweep="wild-yak", started=2.0)
    newer.save()
    assert home.sweep_records() == [newer, record]
    path = state / "sweeps" / "calm-otter.json"
    assert path.stat().st_mode & 0o077 == 0
    assert [child.name for child in path.parent.iterdir() if child.suffix != ".json"] == []


def test_whether_a_launcher_is_alive_is_asked_of_the_system(record: SweepRecord) -> None:
    import os
    import subprocess
    import time
    from dataclasses import replace

    now = time.time()
    assert replace(record, pid=os.getpid(), started=now).launcher_alive
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    assert not replace(record, pid=gone.pid, started=now).launcher_alive
    assert replace(record, pid=1, started=now).launcher_alive


def test_a_process_that_has_got_a_dead_launchers_number_is_none(record: SweepRecord) -> None:
    import os
    from dataclasses import replace

    from hydra_gce.home import only_launch_in

    before_we_began = replace(record, pid=os.getpid(), started=1.0)
    assert not before_we_began.launcher_alive
    with only_launch_in(Path(record.sweep_dir)):  # the clock was set since: the lock tells
        assert before_we_began.launcher_alive
    assert not before_we_began.launcher_alive
