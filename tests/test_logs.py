"""What jobs print is read line by line, whole and in order, over all attempts."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from hydra_gce import claims, home
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.cloud.backend import Backend
from hydra_gce.coming_back.recollect import recollect
from hydra_gce.errors import SealBroken, UnknownName
from hydra_gce.found import FoundSweep
from hydra_gce.home import SweepRecord
from hydra_gce.jobs import JobSpec, JobState, JobStatus, Placement, seal_spec
from hydra_gce.logs import PROBED, Logs, tail
from hydra_gce.mirror import Mirror
from tests.patience import wait_until

NAMES = SweepNames("calm-otter")
KEY = b"k" * 32


class Printing:
    """Jobs that print: what an agent does with their logs."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.parts: dict[tuple[int, int], int] = {}

    def status(self, num: int, state: JobState, attempt: int = 1) -> None:
        said = JobStatus(num, state, attempt, log_parts=self.parts.get((num, attempt), 0))
        self.bucket.write(NAMES.status(num), b"", metadata=said.to_metadata())

    def prints(self, num: int, *parts: bytes, attempt: int = 1) -> None:
        for part in parts:
            number = self.parts.setdefault((num, attempt), 0)
            self.bucket.write(NAMES.log(num, attempt, number), part)
            self.parts[num, attempt] += 1

    def logs(self, *jobs: int, attempt: int | None = None, **more: Any) -> Logs:
        return Logs(self.bucket, "calm-otter", jobs, attempt, **more)

    def lines(self, *jobs: int, attempt: int | None = None) -> list[str]:
        with self.logs(*jobs, attempt=attempt) as logs:
            return [f"{line.job} {line.text}" for line in tail(logs)]

    def followed(self, *steps: Callable[[], None], **chosen: Any) -> list[str]:
        """What is seen by somebody who follows while ``steps`` happen, one between two looks."""
        left = list(steps)

        def go_on() -> bool:
            if left:
                left.pop(0)()
            return True

        def over(logs: Logs) -> bool:
            return logs.all_ended and not left

        with self.logs(**chosen) as logs:
            return [f"{line.job}.{line.attempt} {line.text}" for line in tail(logs, True, go_on, over)]


@pytest.fixture
def jobs(bucket: Bucket) -> Printing:
    return Printing(bucket)


def test_lines_that_were_cut_between_parts_are_put_together(jobs: Printing) -> None:
    jobs.status(0, JobState.RUNNING)
    jobs.prints(0, b"one\ntw", b"o\nthr\xc3", b"\xa9e\r\nstill being wri")
    assert jobs.lines() == ["0 one", "0 two", "0 thrée"]
    jobs.status(0, JobState.COMPLETED)
    assert jobs.lines() == ["0 one", "0 two", "0 thrée", "0 still being wri"]


def test_lines_of_several_jobs_come_job_by_job(jobs: Printing) -> None:
    for num in (0, 1, 10):
        jobs.prints(num, b"a\nb\n")
        jobs.status(num, JobState.COMPLETED)
    assert jobs.lines() == ["0 a", "0 b", "1 a", "1 b", "10 a", "10 b"]
    assert jobs.lines(10, 1) == ["1 a", "1 b", "10 a", "10 b"]


def test_many_parts_come_in_order(jobs: Printing) -> None:
    jobs.prints(0, *(f"{number}\n".encode() for number in range(150)))
    jobs.status(0, JobState.COMPLETED)
    assert jobs.lines() == [f"0 {number}" for number in range(150)]


def test_more_jobs_than_are_probed_are_all_read(jobs: Printing) -> None:
    for num in range(PROBED + 5):
        jobs.status(num, JobState.RUNNING)  # which knows of no part yet
        jobs.prints(num, b"a\n")
    assert jobs.lines() == [f"{num} a" for num in range(PROBED + 5)]


def test_a_job_that_is_not_there_is_said_with_those_that_are(jobs: Printing) -> None:
    for num in (0, 1, 2, 5):
        jobs.status(num, JobState.RUNNING)
    with pytest.raises(UnknownName, match=r"has no job 7; it has 0-2, 5"):
        jobs.lines(7)


def test_the_newest_attempt_is_shown_unless_another_is_asked_for(jobs: Printing) -> None:
    jobs.prints(0, b"first\n", attempt=1)
    jobs.prints(0, b"second\n", attempt=2)
    jobs.status(0, JobState.RUNNING, attempt=2)
    assert jobs.lines() == ["0 second"]
    assert jobs.lines(attempt=1) == ["0 first"]


def test_a_part_that_somebody_deleted_is_told_and_the_others_are_shown(jobs: Printing) -> None:
    jobs.prints(0, b"one\n", b"two\n", b"three\n")
    jobs.status(0, JobState.COMPLETED)
    jobs.bucket.delete(NAMES.log(0, 1, 1))
    said: list[str] = []
    with jobs.logs(tell=said.append) as logs:
        assert [line.text for line in tail(logs)] == ["one", "three"]
    assert len(said) == 1
    assert "part 1 of the log of job 0, attempt 1, is gone" in said[0]


def test_following_goes_on_until_all_jobs_have_ended(jobs: Printing) -> None:
    jobs.status(0, JobState.PENDING, attempt=0)

    def step(state: JobState, attempt: int, printed: bytes) -> Callable[[], None]:
        def happen() -> None:
            jobs.prints(0, printed, attempt=attempt)
            jobs.status(0, state, attempt)

        return happen

    seen = jobs.followed(
        step(JobState.RUNNING, 1, b"one\n"),
        step(JobState.RUNNING, 1, b"two\nunfinished"),
        step(JobState.RUNNING, 2, b"again\n"),
        step(JobState.FAILED, 2, b"end"),
    )
    assert seen == ["0.1 one", "0.1 two", "0.1 unfinished", "0.2 again", "0.2 end"]


def test_no_line_of_an_attempt_is_lost_that_came_and_went_between_two_looks(jobs: Printing) -> None:
    jobs.status(0, JobState.PENDING, attempt=0)

    def three_attempts() -> None:
        for attempt in (1, 2, 3):
            jobs.prints(0, b"begins\n", b"ends\n", attempt=attempt)
        jobs.status(0, JobState.RUNNING, attempt=3)

    def the_end() -> None:
        jobs.prints(0, b"last words\n", attempt=3)
        jobs.status(0, JobState.COMPLETED, attempt=3)

    assert jobs.followed(three_attempts, the_end) == [
        *("0.1 begins", "0.1 ends", "0.2 begins", "0.2 ends", "0.3 begins", "0.3 ends", "0.3 last words"),
    ]


def test_last_words_of_an_attempt_that_was_given_up_are_shown(jobs: Printing) -> None:
    jobs.prints(0, b"one\n")
    jobs.status(0, JobState.RUNNING)
    assert jobs.followed(
        lambda: jobs.status(0, JobState.RUNNING, attempt=2),
        lambda: jobs.prints(0, b"it thawed\n", attempt=1),
        lambda: jobs.prints(0, b"two\n", attempt=2),
        lambda: jobs.status(0, JobState.COMPLETED, attempt=2),
    ) == ["0.1 one", "0.1 it thawed", "0.2 two"]


def test_following_does_not_end_with_the_first_batch(jobs: Printing) -> None:
    jobs.prints(0, b"first batch\n")
    jobs.status(0, JobState.COMPLETED)

    def second_batch() -> None:
        jobs.prints(1, b"second batch\n")
        jobs.status(1, JobState.COMPLETED)

    assert jobs.followed(second_batch) == ["0.1 first batch", "1.1 second batch"]


def test_one_attempt_is_followed_until_the_next_one_begins(jobs: Printing) -> None:
    jobs.prints(0, b"one\n")
    jobs.status(0, JobState.RUNNING)

    def taken_back() -> None:
        jobs.prints(0, b"two", attempt=1)
        jobs.prints(0, b"not asked for\n", attempt=2)
        jobs.status(0, JobState.RUNNING, attempt=2)

    assert jobs.followed(taken_back, attempt=1) == ["0.1 one", "0.1 two"]


def test_what_was_printed_before_a_moment_is_left_out_and_no_line_is_cut(jobs: Printing) -> None:
    jobs.prints(0, b"long ago\nbegun long ago, ")
    middle = jobs.bucket.find(NAMES.log(0, 1, 0))
    assert middle is not None
    wait_until(lambda: time.time() > middle.updated + 0.05, "time has passed")
    jobs.prints(0, b"ended now\nnow\n")
    jobs.status(0, JobState.COMPLETED)
    with jobs.logs(since=middle.updated + 0.001) as logs:
        assert [line.text for line in tail(logs)] == ["begun long ago, ended now", "now"]


def test_earlier_attempts_of_that_time_are_shown_first(jobs: Printing) -> None:
    jobs.prints(0, b"first\n", attempt=1)
    jobs.prints(0, b"second\n", attempt=2)
    jobs.status(0, JobState.COMPLETED, attempt=2)
    with jobs.logs(since=1.0) as logs:
        assert [(line.attempt, line.text) for line in tail(logs)] == [(1, "first"), (2, "second")]


def test_a_look_costs_as_many_requests_however_long_the_logs_are(
    jobs: Printing, monkeypatch: pytest.MonkeyPatch
) -> None:
    for num in range(5):
        jobs.prints(num, *[b"a\n"] * 20)
        jobs.status(num, JobState.RUNNING)
    counts: list[int] = []
    asked = 0

    def counting(verb: str) -> None:
        ask = getattr(Bucket, verb)

        def counted(self: Bucket, *words: Any) -> Any:
            nonlocal asked
            asked += 1
            return ask(self, *words)

        monkeypatch.setattr(Bucket, verb, counted)

    for verb in ("read", "list", "find"):
        counting(verb)
    with jobs.logs() as logs:
        for _ in range(4):
            asked = 0
            logs.look()
            assert all(line.text == "a" for line in logs.lines())
            counts.append(asked)
    assert counts[1:] == [6, 6, 6]  # the statuses, and for each job the part that might have come


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


def brought(bucket: Bucket, record: SweepRecord, to: Path | None, *jobs: int) -> list[str]:
    found = FoundSweep(record.sweep, cast(Backend, None), bucket, record)
    return [one.line for one in recollect(found, to, jobs)]


def test_outputs_can_be_brought_once_more_and_elsewhere(
    bucket: Bucket, record: SweepRecord, tmp_path: Path
) -> None:
    assert brought(bucket, record, None) == [
        f"job 0: 1 files in {tmp_path}/multirun/0 (7 bytes fetched)",
        "job 1: nothing yet",
    ]
    assert (tmp_path / "multirun" / "0" / "model").read_text() == "weights"
    assert brought(bucket, record, tmp_path / "usb", 0) == [
        f"job 0: 1 files in {tmp_path}/usb/0 (7 bytes fetched)"
    ]
    assert (tmp_path / "usb" / "0" / "model").read_text() == "weights"
    assert "(0 bytes fetched)" in brought(bucket, record, None)[0]
    with pytest.raises(UnknownName, match="has no job 7; it has 0-1"):
        brought(bucket, record, None, 7)


def test_a_spec_that_is_not_the_sweeps_own_writes_nothing(
    bucket: Bucket, record: SweepRecord, tmp_path: Path
) -> None:
    bucket.write(NAMES.spec(0), seal_spec(b"another key", SPEC, b""))
    with pytest.raises(SealBroken):
        brought(bucket, record, tmp_path / "usb")
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
    with subprocess.Popen(["true"], stdout=subprocess.PIPE) as ended:
        assert ended.stdout is not None
        ended.stdout.read()  # and its parent has not asked yet how
        wait_until(
            lambda: not replace(record, pid=ended.pid, started=now).launcher_alive, "it counts as ended"
        )


def test_a_process_that_has_got_a_dead_launchers_number_is_none(record: SweepRecord) -> None:
    import os
    from dataclasses import replace

    from hydra_gce.home import only_launch_in

    before_we_began = replace(record, pid=os.getpid(), started=1.0)
    assert not before_we_began.launcher_alive
    with only_launch_in(Path(record.sweep_dir)):  # the clock was set since: the lock tells
        assert before_we_began.launcher_alive
    assert not before_we_began.launcher_alive
