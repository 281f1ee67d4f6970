"""A job that has ended is begun again, under the same number: a new attempt goes on from what the last one saved."""

from __future__ import annotations

from hydra_gce import claims
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.jobs import JobStatus
from hydra_gce.watch import wishes


def reopen(bucket: Bucket, names: SweepNames, num: int) -> bool:
    """False where somebody else has changed what is known of the job meanwhile."""
    claim = claims.read(bucket, names, num)
    if claim is None or claim.state != "done":
        return claim is None
    wishes.forget_cancel(bucket, names, num)
    # The status first: a watcher that sees the claim open must not find the job ended.
    waiting = JobStatus(num, attempt=claim.attempt)
    bucket.write(names.status(num), b"", metadata=waiting.to_metadata())
    return claims.release(bucket, names, claim) is not None
