"""Which points of a launch an earlier one has run, and what becomes of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from hydra_gce import claims
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.cargo.pack import Sent
from hydra_gce.coming_back.resume import (
    Decision,
    Job,
    Marks,
    Matching,
    begin_again,
    decide,
    looked_up,
    marks_of,
    said,
)
from hydra_gce.identity import Identity
from hydra_gce.jobs import JobResult, JobState, Placement, seal_result
from hydra_gce.launch.compose import Point
from hydra_gce.watch import wishes

SENT = Sent(Placement("code/1", "/project"), [Placement("data/1", "/data")], "environments/1", "launcher/1")
OTHER_CODE = replace(SENT, code=Placement("code/2", "/project"))


def point(num: int, lr: float, launched: str = "12:34") -> Point:
    config = OmegaConf.create({"lr": lr, "hydra": {"job": {"name": "train", "num": num, "at": launched}}})
    return Point(num, [f"lr={lr}"], config, Path("/sweep"), Path(f"/sweep/{num}"))


def known(*rates: float) -> dict[int, Marks]:
    return {num: marks_of(point(num, lr), SENT) for num, lr in enumerate(rates)}


def test_the_time_of_the_launch_and_newer_packages_make_no_other_job() -> None:
    first = marks_of(point(0, 0.1), SENT)
    assert marks_of(point(3, 0.1, "23:45"), replace(SENT, environment="e/2", launcher="l/2")) == first


@pytest.mark.parametrize(
    "other, what",
    [
        (OTHER_CODE, "code"),
        (replace(SENT, data=[Placement("data/2", "/data")]), "data"),
        (replace(SENT, data=[]), "data"),
    ],
)
def test_other_cargo_is_told_by_what_it_is(other: Sent, what: str) -> None:
    (job,) = Matching(known(0.1)).match([point(0, 0.1)], other)
    assert (job.is_new, job.changed) == (False, (what,))


def test_points_are_found_by_their_config_wherever_they_stand() -> None:
    launch = [point(0, 0.5), point(1, 0.1), point(2, 0.2), point(3, 0.7)]
    jobs = Matching(known(0.1, 0.2, 0.3)).match(launch, SENT)
    assert [(job.point.num, job.is_new) for job in jobs] == [(3, True), (0, False), (1, False), (4, True)]
    assert [str(job.point.output_dir) for job in jobs] == [f"/sweep/{num}" for num in range(4)]


def test_the_same_point_twice_is_two_jobs() -> None:
    matching = Matching(known(0.1, 0.1))
    jobs = matching.match([point(0, 0.1), point(1, 0.1), point(2, 0.1)], SENT)
    assert [(job.point.num, job.is_new) for job in jobs] == [(0, False), (1, False), (2, True)]
    later = matching.match([point(3, 0.1)], SENT)  # a sweeper asks once more
    assert [(job.point.num, job.is_new) for job in later] == [(3, True)]


def test_without_an_earlier_launch_all_is_as_hydra_numbers_it() -> None:
    jobs = Matching({}).match([point(5, 0.1), point(6, 0.2)], SENT)
    assert [(job.point.num, job.is_new) for job in jobs] == [(5, True), (6, True)]


def job(state: JobState | None, *changed: str, num: int = 0) -> Job:
    return Job(point(num, 0.1), {}, {}, changed, state, attempt=2)


def decided(jobs: Sequence[Job], rerun: bool = True) -> list[tuple[bool, bool, bool]]:
    return [(one.runs, one.anew, one.fresh) for one in decide(jobs, lambda stale: rerun)]


@pytest.mark.parametrize(
    "one, runs, anew, fresh",
    [
        (job(JobState.COMPLETED), False, False, False),
        (job(JobState.COMPLETED, "code"), True, True, True),
        (job(JobState.FAILED), True, True, False),
        (job(JobState.CANCELLED, "code"), True, True, False),
        (job(JobState.FAILED, "data"), True, True, True),
        (job(None), True, False, False),
        (job(None, "code"), True, True, False),
        (Job(point(0, 0.1), {}), True, False, False),
    ],
)
def test_what_runs_and_from_where(one: Job, runs: bool, anew: bool, fresh: bool) -> None:
    assert decided([one]) == [(runs, anew, fresh)]


def test_a_completed_point_keeps_its_result_if_the_person_says_so() -> None:
    assert decided([job(JobState.COMPLETED, "code")], rerun=False) == [(False, False, False)]


def test_nobody_is_asked_where_nothing_completed_has_changed() -> None:
    def never(stale: Sequence[Job]) -> bool:
        raise AssertionError(stale)

    decide([job(JobState.COMPLETED), job(JobState.FAILED, "code"), job(None, "data")], never)


def test_it_is_said_what_runs_and_why() -> None:
    jobs = [
        job(JobState.COMPLETED, num=0),
        job(JobState.COMPLETED, "code", num=1),
        job(JobState.FAILED, num=2),
        job(JobState.FAILED, num=3),
        job(None, num=4),
        Job(point(5, 0.2), {}),
    ]
    decisions: list[Decision] = decide(jobs, lambda stale: True)
    assert said(decisions, "calm-otter") == [
        "goes on with sweep calm-otter: 1 of 6 points are completed",
        "job 1 runs again: the code changed since; from nothing",
        "jobs 2, 3 run again: failed before",
        "job 5 runs for the first time: no point before had this config",
    ]


# A launch that is killed while it begins jobs again

NAMES, KEY = SweepNames("calm-otter"), b"k" * 32
IDENTITY = Identity(NAMES, KEY, 1000.0, taken_up=True)
MARKS = marks_of(point(0, 0.1), SENT)


def completed(bucket: Bucket, attempt: int = 1) -> None:
    """The job's newest attempt, with a result."""
    claim = claims.take(bucket, NAMES, 0, "vm")
    assert claim is not None and claim.attempt == attempt
    result = JobResult(NAMES.sweep, 0, attempt, JobState.COMPLETED, 1.0, 2.0)
    bucket.write(NAMES.result(0, attempt), seal_result(KEY, result, b""))
    assert claims.finish(bucket, NAMES, claim) is not None


def launched(bucket: Bucket, known: Marks, sent: Sent) -> Decision:
    """What the next launch decides of the job, by the marks of the newest plan."""
    jobs = looked_up(bucket, IDENTITY, Matching({0: known}).match([point(0, 0.1)], sent))
    (decision,) = decide(jobs, lambda stale: True)
    return decision


def test_a_result_of_the_code_before_never_passes_for_one_of_the_code_now(bucket: Bucket) -> None:
    completed(bucket)
    first = launched(bucket, MARKS, OTHER_CODE)
    assert (first.runs, first.anew, first.fresh_after) == (True, True, 1)
    # Its plan is written, and it is killed before it has given the job back.
    again = launched(bucket, first.marks, OTHER_CODE)
    assert (again.runs, again.anew, again.fresh_after) == (True, True, 1)
    begin_again(bucket, IDENTITY, [again])
    completed(bucket, attempt=2)
    done = launched(bucket, again.marks, OTHER_CODE)
    assert (done.runs, done.marks) == (False, again.marks)
    assert (
        said([again], "calm-otter")[1]
        == "job 0 runs again: the launch that changed it ended before it had begun"
    )


def test_an_attempt_at_the_code_before_is_given_up_also_by_the_launch_after_that(bucket: Bucket) -> None:
    held = claims.take(bucket, NAMES, 0, "vm")
    assert held is not None
    first = launched(bucket, MARKS, OTHER_CODE)
    assert (first.anew, first.fresh_after) == (True, 0)  # it goes on from what the other has saved
    again = launched(bucket, first.marks, OTHER_CODE)
    assert again.anew
    begin_again(bucket, IDENTITY, [again])
    assert claims.finish(bucket, NAMES, held) is None
    assert not launched(
        bucket, again.marks, OTHER_CODE
    ).anew  # it is free: the next attempt is at the new code


def test_what_began_from_nothing_does_so_after_a_failure_too(bucket: Bucket) -> None:
    completed(bucket)
    first = launched(bucket, MARKS, OTHER_CODE)
    begin_again(bucket, IDENTITY, [first])
    failed = JobResult(NAMES.sweep, 0, 2, JobState.FAILED, 1.0, 2.0)
    claim = claims.take(bucket, NAMES, 0, "vm")
    assert claim is not None
    bucket.write(NAMES.result(0, 2), seal_result(KEY, failed, b""))
    assert claims.finish(bucket, NAMES, claim) is not None
    third = replace(SENT, code=Placement("code/3", "/project"))
    assert launched(bucket, first.marks, third).fresh_after == 1  # not what the first code has left


def test_who_launches_again_wants_no_job_to_end_that_somebody_cancelled(bucket: Bucket) -> None:
    wishes.cancel(bucket, NAMES, [0, 5], "ada")
    begin_again(bucket, IDENTITY, [launched(bucket, MARKS, SENT)])
    assert wishes.cancelled(bucket, NAMES).keys() == {5}


def test_a_number_whose_plan_somebody_deleted_is_no_new_jobs() -> None:
    jobs = Matching(known(0.1), frozenset({0, 1, 2})).match([point(0, 0.1), point(1, 0.7)], SENT)
    assert [(job.point.num, job.is_new) for job in jobs] == [(0, False), (3, True)]
