"""Which attempt may speak for a job: an object per job that changes hands by compare-and-swap.

``jobs/<num>/claim`` holds ``{"attempt", "instance", "state"}`` with state *held*, *released* or *done*. A new attempt
takes a claim that is missing or released; the laptop, or the agent itself when its VM is taken back, releases it; the
attempt that finishes marks it done. Each of these changes names the generation that it replaces, so of two attempts
that believe to hold a job only one can ever finish it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.errors import GenerationMismatch, ObjectMissing


@dataclass(frozen=True)
class Claim:
    num: int
    attempt: int
    instance: str
    state: str
    generation: int

    def content(self) -> bytes:
        return json.dumps({"attempt": self.attempt, "instance": self.instance, "state": self.state}).encode()


def read(bucket: Bucket, names: SweepNames, num: int) -> Claim | None:
    """The job's claim as it stands; None if nobody ever took the job."""
    try:
        envelope, generation = bucket.read_generation(names.claim(num))
    except ObjectMissing:
        return None
    content = json.loads(envelope)
    return Claim(num, int(content["attempt"]), content["instance"], content["state"], generation)


def nobodys(num: int) -> Claim:
    """Of a job that nobody has taken so far."""
    return Claim(num, 0, "", "held", 0)


def is_done(bucket: Bucket, names: SweepNames, num: int) -> bool:
    """Whether the job has come to its end."""
    claim = read(bucket, names, num)
    return claim is not None and claim.state == "done"


def take(bucket: Bucket, names: SweepNames, num: int, instance: str) -> Claim | None:
    """Takes a job that is free; None if it is held or done, or somebody else was quicker."""
    current = read(bucket, names, num)
    if current is not None and current.state != "released":
        return None
    if current is None:
        return _replace(bucket, names, Claim(num, _said_last(bucket, names, num) + 1, instance, "held", 0))
    return _replace(bucket, names, Claim(num, current.attempt + 1, instance, "held", current.generation))


def _said_last(bucket: Bucket, names: SweepNames, num: int) -> int:
    """The last attempt by the job's status: somebody may have deleted its claim, and no two attempts share a number."""
    entry = bucket.find(names.status(num))
    return int(entry.metadata.get("attempt") or 0) if entry else 0


def is_held(bucket: Bucket, names: SweepNames, held: Claim) -> bool:
    """Whether the claim is as ``held`` says still: one small request."""
    found = bucket.find(names.claim(held.num))
    return found is not None and found.generation == held.generation


def release(bucket: Bucket, names: SweepNames, held: Claim) -> Claim | None:
    """Gives a job that is held, or done, to the next attempt; None if the claim is no longer what ``held`` says."""
    return _replace(bucket, names, Claim(held.num, held.attempt, held.instance, "released", held.generation))


def mend(bucket: Bucket, names: SweepNames, num: int, attempt: int) -> Claim | None:
    """Writes down once more that a job is done, whose claim somebody has deleted; None if there is one."""
    return _replace(bucket, names, Claim(num, attempt, "", "done", 0))


def finish(bucket: Bucket, names: SweepNames, held: Claim) -> Claim | None:
    """Marks a job done; None if this attempt lost the job in the meantime, and its result does not count."""
    return _replace(bucket, names, Claim(held.num, held.attempt, held.instance, "done", held.generation))


def _replace(bucket: Bucket, names: SweepNames, claim: Claim) -> Claim | None:
    try:
        generation = bucket.write(names.claim(claim.num), claim.content(), if_generation=claim.generation)
    except GenerationMismatch:
        # Ours may be the write that is in the way: carried out, its answer lost, and sent again by the client.
        current = read(bucket, names, claim.num)
        if current is None or current.content() != claim.content():
            return None
        generation = current.generation
    return Claim(claim.num, claim.attempt, claim.instance, claim.state, generation)
