"""What a watcher shows lies in the bucket: when it changes, not too often, and whatever the network does."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal

import pytest
from google.api_core.exceptions import ServiceUnavailable

from hydra_gce.bucket import Bucket
from hydra_gce.follow.publish import Publisher, published
from hydra_gce.jobs import JobState
from hydra_gce.view import JobView, SweepView, to_json
from tests.patience import wait_until

NAME = "sweeps/calm-otter/view.json"
JOBS = [JobView(0, ["x=1"], JobState.RUNNING)]
VIEW = SweepView("calm-otter", "p", "local", JOBS, 1000.0, 1001.0, earlier_cost=Decimal("0.25"))


@dataclass
class Slow:
    """A bucket that counts, and that may be away."""

    bucket: Bucket
    away: bool = False
    writes: list[bytes] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def write(self, name: str, content: bytes) -> int:
        self.writes.append(content)
        try:
            if self.away:
                raise ServiceUnavailable("away")  # type: ignore[no-untyped-call, unused-ignore]
            return self.bucket.write(name, content)
        finally:
            self.done.set()


@pytest.fixture
def slow(bucket: Bucket) -> Slow:
    return Slow(bucket)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def ticks(slow: Slow) -> tuple[Callable[[SweepView], int], Publisher]:
    """A tick two seconds after the last; gives how often was written by then."""
    clock = Clock()
    publisher = Publisher(slow, NAME, clock)  # type: ignore[arg-type]

    def tick(view: SweepView) -> int:
        clock.now += 2.0
        before = len(slow.writes)
        publisher.tick(view)
        if len(slow.writes) > before:
            wait_until(slow.done.is_set, "it is written")
        publisher._pool.submit(lambda: None).result()
        slow.done.clear()
        return len(slow.writes)

    return tick, publisher


def test_what_has_not_changed_is_not_written_again(slow: Slow) -> None:
    tick, publisher = ticks(slow)
    assert tick(VIEW) == 1
    assert tick(replace(VIEW, now=1003.0)) == 1
    assert tick(replace(VIEW, now=1005.0, outlook="more")) == 2
    publisher.close(None)
    found = published(slow.bucket, NAME)
    assert found is not None and found.outlook == "more" and found.jobs == VIEW.jobs


def test_what_did_not_arrive_is_written_once_more(slow: Slow) -> None:
    tick, publisher = ticks(slow)
    slow.away = True
    assert tick(VIEW) == 1
    slow.away = False
    assert tick(VIEW) == 2
    publisher.close(None)
    assert published(slow.bucket, NAME) is not None


def test_the_last_word_may_be_somebody_elses(slow: Slow) -> None:
    _, publisher = ticks(slow)
    slow.bucket.write(NAME, to_json(replace(VIEW, outlook="theirs")))
    publisher.close(None)
    found = published(slow.bucket, NAME)
    assert found is not None and found.outlook == "theirs"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b'{"sweep": "calm-otter"}', json.dumps({"jobs": [{"num": 0}]}).encode()],
)
def test_a_view_that_cannot_be_read_is_none(bucket: Bucket, content: bytes) -> None:
    assert published(bucket, NAME) is None
    bucket.write(NAME, content)
    assert published(bucket, NAME) is None


def test_what_another_version_has_written_besides_is_left_out(bucket: Bucket) -> None:
    more = json.loads(to_json(VIEW))
    more["mood"] = more["jobs"][0]["mood"] = "good"
    bucket.write(NAME, json.dumps(more).encode())
    assert published(bucket, NAME) == VIEW
