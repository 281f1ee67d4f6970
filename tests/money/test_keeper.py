"""The ledger lies in the bucket as it was last, and is read back by whoever goes on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest
from requests.exceptions import ConnectionError as NoConnection

from hydra_gce.bucket import Bucket
from hydra_gce.errors import ConfigError
from hydra_gce.money.keeper import Keeper, restored
from hydra_gce.money.ledger import Ledger
from tests.money.places import place
from tests.patience import wait_until

NAME = "sweeps/calm-otter/ledger.json"
PLACE = place("1.00")


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def keeper(bucket: Bucket, ledger: Ledger) -> Iterator[Keeper]:
    made = Keeper(bucket, NAME, ledger)
    yield made
    made.close()


class Writes:
    """Counts what is written, and fails as often as it is told to."""

    def __init__(self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.fail = 0
        self.go = threading.Event()
        self.go.set()
        write = bucket.write

        def counted(name: str, content: bytes) -> int:
            assert self.go.wait(60)
            self.count += 1
            if self.fail:
                self.fail -= 1
                raise NoConnection("reset by peer")
            return write(name, content)

        monkeypatch.setattr(bucket, "write", counted)


@pytest.fixture
def writes(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Writes:
    return Writes(bucket, monkeypatch)


def spent(bucket: Bucket, now: float) -> str:
    return str(restored(bucket, NAME, [PLACE]).spent(now))


def settle(keeper: Keeper) -> None:
    wait_until(lambda: keeper._writing is None or keeper._writing.done(), "it is written")
    keeper.tick()
    wait_until(lambda: keeper._writing is None or keeper._writing.done(), "it is written")


def test_a_sweep_that_has_no_ledger_begins_with_an_empty_one(bucket: Bucket) -> None:
    assert restored(bucket, NAME, []).jobs() == []


def test_what_is_written_is_read_back(bucket: Bucket, ledger: Ledger, keeper: Keeper) -> None:
    ledger.began("vm-0", 0, 1, PLACE, 1000.0)
    keeper.tick()
    settle(keeper)
    again = restored(bucket, NAME, [PLACE])
    assert again.bill(0, 4600.0) == ledger.bill(0, 4600.0)
    assert again.candidate("vm-0") is PLACE
    assert again.version == ledger.version


def test_it_is_written_only_when_it_has_changed(ledger: Ledger, keeper: Keeper, writes: Writes) -> None:
    for _ in range(3):
        settle(keeper)
    assert writes.count == 0
    ledger.began("vm-0", 0, 1, PLACE, 1000.0)
    for _ in range(3):
        settle(keeper)
    assert writes.count == 1


def test_a_slow_bucket_delays_nobody_and_gets_the_latest(
    bucket: Bucket, ledger: Ledger, keeper: Keeper, writes: Writes
) -> None:
    writes.go.clear()
    for num in range(20):
        ledger.began(f"vm-{num}", num, 1, PLACE, 1000.0)
        keeper.tick()
    writes.go.set()
    settle(keeper)
    settle(keeper)
    assert writes.count == 2
    assert restored(bucket, NAME, [PLACE]).jobs() == list(range(20))


def test_a_bucket_that_cannot_be_reached_is_tried_again(
    bucket: Bucket, ledger: Ledger, keeper: Keeper, writes: Writes
) -> None:
    writes.fail = 2
    ledger.began("vm-0", 0, 1, PLACE, 1000.0)
    for _ in range(4):
        keeper.tick()
        settle(keeper)
    assert writes.count == 3
    assert restored(bucket, NAME, [PLACE]).jobs() == [0]


def test_the_end_is_written_before_it_is_closed(bucket: Bucket, ledger: Ledger, writes: Writes) -> None:
    keeper = Keeper(bucket, NAME, ledger)
    ledger.began("vm-0", 0, 1, PLACE, 1000.0)
    keeper.tick()
    ledger.ended("vm-0", 4600.0)
    keeper.close()
    assert spent(bucket, 9999.0) == "1.000000"
    assert writes.count == 2


def test_a_write_under_way_at_the_end_that_fails_is_made_good(
    bucket: Bucket, ledger: Ledger, writes: Writes
) -> None:
    keeper = Keeper(bucket, NAME, ledger)
    writes.fail = 1
    ledger.began("vm-0", 0, 1, PLACE, 1000.0)
    keeper.tick()
    keeper.close()
    assert restored(bucket, NAME, [PLACE]).jobs() == [0]


def test_a_bucket_that_stays_away_at_the_end_is_said_and_ends_nothing(
    bucket: Bucket, ledger: Ledger, writes: Writes, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = Keeper(bucket, NAME, ledger)
    writes.fail = 5
    ledger.began("vm-0", 0, 1, PLACE, 1000.0)
    with caplog.at_level(logging.WARNING):
        keeper.close()
    assert "hydra-gce cost lacks the last moments of this sweep" in caplog.text
    assert writes.count == 1


def test_who_only_looks_on_writes_nothing(bucket: Bucket, ledger: Ledger) -> None:
    ledger.began("vm", 0, 1, PLACE, 0.0)
    Keeper(bucket, NAME, Ledger()).close()
    watching = Keeper(bucket, NAME, Ledger())
    watching._ledger.take_in(ledger)
    watching.close()
    before = bucket.read_generation(NAME)[1]
    onlooker = Keeper(bucket, NAME, restored(bucket, NAME, [PLACE]))
    onlooker.tick()
    onlooker.close()
    late = restored(bucket, NAME, [PLACE])
    overtaken = Keeper(bucket, NAME, late)
    late.ended("vm", 10.0)
    overtaken.close(is_ours=False)
    assert bucket.read_generation(NAME)[1] == before


def test_what_another_has_written_of_the_same_vms_counts(bucket: Bucket) -> None:
    mine, theirs = Ledger(), Ledger()
    mine.began("first", 0, 1, PLACE, 0.0)
    mine.began("mine", 1, 1, PLACE, 0.0)
    theirs.began("first", 0, 1, PLACE, 0.0)
    theirs.ended("first", 3600.0)
    theirs.began("second", 0, 2, PLACE, 3600.0)
    version = mine.version
    mine.take_in(theirs)
    assert mine.running() == ["mine", "second"] and mine.version > version
    assert [one.instance for one in mine.attempts(0, 7200.0)] == ["first", "second"]
    assert mine.spent(7200.0) == PLACE.price.hourly * 4
    mine.take_in(theirs)
    assert mine.spent(7200.0) == PLACE.price.hourly * 4


@pytest.mark.parametrize("content", [b"", b"{}", b'{"format": 99}', b'{"format": 1}'])
def test_a_bill_that_cannot_be_read_is_said(bucket: Bucket, content: bytes) -> None:
    bucket.write(NAME, content)
    with pytest.raises(ConfigError, match="the bill of a sweep, cannot be read"):
        restored(bucket, NAME, [PLACE])
