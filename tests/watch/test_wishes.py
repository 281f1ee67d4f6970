"""What people ask of a sweep lies in the bucket until it is granted, or wanted no more."""

from __future__ import annotations

from hydra_gce import claims
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.jobs import JobState, JobStatus
from hydra_gce.watch import wishes
from hydra_gce.watch.reopen import reopen

NAMES = SweepNames("calm-otter")


def test_jobs_are_wished_to_end_until_that_is_forgotten(bucket: Bucket) -> None:
    wishes.cancel(bucket, NAMES, [1, 12], "ada")
    wishes.cancel(bucket, NAMES, [1], "bob")
    bucket.write(f"{NAMES.wishes}something-new", b"")  # of a newer version
    wishes.cancel(bucket, SweepNames("calm-otters"), [3], "ada")
    assert wishes.cancelled(bucket, NAMES) == {1: "bob", 12: "ada"}
    wishes.forget_cancel(bucket, NAMES, 1)
    wishes.forget_cancel(bucket, NAMES, 1)
    assert wishes.cancelled(bucket, NAMES) == {12: "ada"}


def test_a_job_that_is_begun_again_is_to_be_ended_no_more(bucket: Bucket) -> None:
    held = claims.take(bucket, NAMES, 1, "vm")
    assert held is not None
    assert not reopen(bucket, NAMES, 1)  # it has not ended
    assert claims.finish(bucket, NAMES, held) is not None
    wishes.cancel(bucket, NAMES, [1], "ada")
    assert reopen(bucket, NAMES, 1)
    assert wishes.cancelled(bucket, NAMES) == {}
    (entry,) = bucket.list(NAMES.statuses)
    status = JobStatus.from_metadata(entry.metadata)
    assert (status.state, status.attempt) == (JobState.PENDING, 1)
    again = claims.take(bucket, NAMES, 1, "another")
    assert again is not None and again.attempt == 2
