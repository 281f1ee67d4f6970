"""A heartbeat is one small write, and never one over what a later attempt has said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from google.api_core.exceptions import ServiceUnavailable

from hydra_gce import claims
from hydra_gce.agent.pulse import Pulse, StatusLine
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.claims import Claim
from hydra_gce.errors import GenerationMismatch
from hydra_gce.jobs import JobState, JobStatus
from tests.patience import wait_until

NAMES = SweepNames("calm-otter")


class Counted(Bucket):
    """Writes down what it is asked; ``away`` makes it unreachable, ``lose`` loses the answer of the next write."""

    def __init__(self, bucket: Bucket) -> None:
        super().__init__(bucket._bucket)
        self.asked: list[str] = []
        self.away = False
        self.lose = False

    def _ask(self, verb: str) -> None:
        self.asked.append(verb)
        if self.away:
            raise ServiceUnavailable("away")

    def write(self, name: str, content: bytes, **more: Any) -> int:
        self._ask("write")
        generation = super().write(name, content, **more)
        if self.lose:
            self.lose = False
            raise GenerationMismatch("sent twice; the second was refused")
        return generation

    def find(self, name: str) -> Any:
        self._ask("find")
        return super().find(name)

    def read(self, name: str, start: int = 0) -> bytes:
        self._ask("read")
        return super().read(name, start)


@pytest.fixture
def counted(bucket: Bucket) -> Counted:
    return Counted(bucket)


@pytest.fixture
def claim(bucket: Bucket) -> Claim:
    taken = claims.take(bucket, NAMES, 0, "vm-1")
    assert taken is not None
    return taken


def running(attempt: int = 1, **fields: Any) -> JobStatus:
    return JobStatus(0, JobState.RUNNING, attempt, f"vm-{attempt}", **fields)


def stands(bucket: Bucket) -> JobStatus:
    entry = bucket.find(NAMES.status(0))
    assert entry is not None
    return JobStatus.from_metadata(entry.metadata)


def given_to_the_next(bucket: Bucket, claim: Claim) -> Claim:
    """What the laptop does with a VM that has not been heard of."""
    assert claims.release(bucket, NAMES, claim)
    second = claims.take(bucket, NAMES, 0, "vm-2")
    assert second is not None
    return second


def test_a_heartbeat_costs_one_write_and_one_look_at_the_claim(counted: Counted, claim: Claim) -> None:
    beats = 0

    def look() -> JobStatus:
        nonlocal beats
        beats += 1
        return running(heartbeat=float(beats))

    pulse = Pulse(counted, NAMES, claim, look)
    pulse._beat()
    counted.asked.clear()
    pulse._beat()
    pulse._beat()
    assert counted.asked == ["find", "write"] * 2
    assert stands(counted).heartbeat == 3


def test_a_vm_that_comes_back_after_its_job_was_given_to_another_says_nothing(
    counted: Counted, claim: Claim
) -> None:
    pulse = Pulse(counted, NAMES, claim, lambda: running(step=5))
    pulse._beat()
    given_to_the_next(counted, claim)
    pulse._look = lambda: running(step=6)
    pulse._beat()
    assert pulse.lost.is_set()
    assert stands(counted).step == 5


def test_a_vm_that_froze_between_its_look_and_its_write_overwrites_nothing(
    counted: Counted, claim: Claim
) -> None:
    pulse = Pulse(counted, NAMES, claim, running)
    pulse._beat()
    newer = running(2, step=1)

    def meanwhile() -> JobStatus:
        given_to_the_next(counted, claim)
        assert StatusLine(counted, NAMES, replace(claim, attempt=2)).write(newer)
        return running(step=6)

    pulse._look = meanwhile
    pulse._beat()
    assert pulse.lost.is_set()
    assert stands(counted) == newer


def test_an_attempt_that_begins_writes_over_what_the_former_has_left(counted: Counted, claim: Claim) -> None:
    assert StatusLine(counted, NAMES, claim).write(running(1))
    second = given_to_the_next(counted, claim)
    assert StatusLine(counted, NAMES, second).write(running(2))
    assert not StatusLine(counted, NAMES, claim).write(running(1))
    assert stands(counted).attempt == 2


def test_a_status_whose_answer_was_lost_is_written_again(counted: Counted, claim: Claim) -> None:
    line = StatusLine(counted, NAMES, claim)
    line.write(running(step=1))
    counted.lose = True
    assert line.write(running(step=2))
    assert line.write(running(step=3))
    assert stands(counted).step == 3


def test_a_late_beat_does_not_take_back_the_last_word(counted: Counted, claim: Claim) -> None:
    pulse = Pulse(counted, NAMES, claim, running)
    pulse._beat()
    preempted = replace(running(), state=JobState.PREEMPTED)

    def meanwhile() -> JobStatus:
        pulse._stop.set()
        pulse._line.close()
        StatusLine(counted, NAMES, claim).write(preempted)
        return running()

    pulse._look = meanwhile
    pulse._beat()
    assert stands(counted) == preempted


def test_a_claim_that_is_gone_is_nobodys(counted: Counted, claim: Claim) -> None:
    counted.delete(NAMES.claim(0))
    pulse = Pulse(counted, NAMES, claim, running)
    pulse._beat()
    assert pulse.lost.is_set()


def test_a_bucket_that_is_away_stops_neither_the_pulse_nor_the_job(counted: Counted, claim: Claim) -> None:
    pulse = Pulse(counted, NAMES, claim, running, every_s=0.01)
    counted.away = True
    pulse.start()
    wait_until(lambda: len(counted.asked) > 3, "it goes on trying")
    assert not pulse.lost.is_set()
    counted.away = False
    wait_until(lambda: counted.asked[-1] == "write", "it is heard again")
    pulse.stop(10)
    asked = len(counted.asked)
    assert not pulse._thread.is_alive()
    assert len(counted.asked) == asked
    assert stands(counted).state is JobState.RUNNING


def test_news_are_told_at_once(counted: Counted, claim: Claim) -> None:
    told = [running(step=1)]
    pulse = Pulse(counted, NAMES, claim, lambda: told[-1], every_s=1e6)
    pulse.start()
    wait_until(lambda: "write" in counted.asked, "the first beat")
    told.append(running(step=2))
    pulse.now()
    wait_until(lambda: counted.asked.count("write") == 2, "the second beat")
    pulse.stop(10)
    assert stands(counted).step == 2
