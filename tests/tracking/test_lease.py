"""Of two relays on one sweep, one plays and the other waits, whatever happens to the first."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.jobs import JobState
from hydra_gce.lease import SILENCE_S, Awake, Holder, Lease
from hydra_gce.tracking.relay.destination import Destination
from tests.patience import wait_until
from tests.tracking.lab import STARTED, SWEEP, Scribe, relay_for

NAME = SweepNames(SWEEP).relay
LAPTOP, OTHER = Holder("laptop", "", 1), Holder("other", "", 2)


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_one_holds_it_until_it_falls_silent(bucket: Bucket, clock: Clock) -> None:
    first, second = Lease(bucket, NAME, LAPTOP, clock), Lease(bucket, NAME, OTHER, clock)
    assert first.hold() and not second.hold()
    assert second.other == LAPTOP
    for _ in range(5):  # as long as it is renewed
        clock.now += SILENCE_S / 2
        assert first.hold() and not second.hold()
    clock.now += SILENCE_S - 1
    assert not second.hold()
    clock.now += 1
    assert second.hold()
    assert not first.hold() and first.other == OTHER


def test_what_is_given_up_is_free_at_once(bucket: Bucket, clock: Clock) -> None:
    first, second = Lease(bucket, NAME, LAPTOP, clock), Lease(bucket, NAME, OTHER, clock)
    assert first.hold()
    first.release()
    assert second.hold() and not first.hold()


def test_who_lost_it_gives_up_nothing_of_the_other(bucket: Bucket, clock: Clock) -> None:
    first, second = Lease(bucket, NAME, LAPTOP, clock), Lease(bucket, NAME, OTHER, clock)
    assert first.hold() and not second.hold()
    clock.now += SILENCE_S
    assert second.hold()
    first.release()
    assert second.hold() and not first.hold()


def test_a_process_that_is_known_to_be_dead_is_followed_at_once(bucket: Bucket, clock: Clock) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    here = Holder.here()
    dead, alive = replace(here, pid=process.pid), replace(here, pid=os.getppid(), began="")
    assert Lease(bucket, NAME, dead, clock).hold()
    assert Lease(bucket, NAME, here, clock).hold()
    rebooted = replace(here, boot="an earlier start of this machine", pid=os.getppid())
    assert rebooted.is_dead(here)
    assert not alive.is_dead(here) and not replace(rebooted, host="elsewhere").is_dead(here)


def test_a_number_that_another_process_has_got_since_is_no_sign_of_life() -> None:
    here = Holder.here()
    assert here.began and not here.is_dead(here)
    assert replace(here, began=f"{int(here.began) - 1}").is_dead(here)
    assert not replace(here, began="").is_dead(here)  # where nobody has noted it


def test_who_has_it_again_knows_that_somebody_else_may_have_had_it(bucket: Bucket, clock: Clock) -> None:
    first, second = Lease(bucket, NAME, LAPTOP, clock), Lease(bucket, NAME, OTHER, clock)
    assert first.hold() and (first.terms, first.is_certain) == (1, True)
    clock.now += SILENCE_S - 1
    assert first.hold() and first.terms == 1
    clock.now += SILENCE_S  # asleep
    assert not first.is_certain
    assert second.hold() is False and not second.other_lives
    clock.now += SILENCE_S
    assert second.hold() and second.terms == 1
    second.release()
    assert first.hold() and first.terms == 2


def test_who_is_seen_to_renew_it_lives(bucket: Bucket, clock: Clock) -> None:
    first, second = Lease(bucket, NAME, LAPTOP, clock), Lease(bucket, NAME, OTHER, clock)
    assert first.hold() and not second.hold()
    assert (second.other, second.other_lives) == (LAPTOP, False)
    clock.now += SILENCE_S / 2
    assert not second.hold() and not second.other_lives
    assert first.hold()
    assert not second.hold() and second.other_lives


@pytest.mark.parametrize(
    "content",
    [b'{"host": "laptop", "boot": "", "pid": 1, "mood": "good"}', b"{", b"[1]", b'{"host": "laptop"}'],
)
def test_what_another_version_or_a_hand_has_written_is_waited_out(
    bucket: Bucket, clock: Clock, content: bytes
) -> None:
    bucket.write(NAME, content)
    lease = Lease(bucket, NAME, OTHER, clock)
    assert not lease.hold() and lease.other is not None
    clock.now += SILENCE_S
    assert lease.hold()


def test_seconds_never_go_back_whatever_the_clocks_do() -> None:
    steady, wall = Clock(), Clock(1_000_000.0)
    awake = Awake(steady, wall)
    wall.now += 600  # set forward, or asleep
    assert awake() == 600
    wall.now -= 1200  # set back
    steady.now += 5
    assert awake() == 605
    steady.now, wall.now = steady.now + 7, wall.now + 7
    assert awake() == 612


def test_it_is_renewed_while_something_takes_long(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hydra_gce.lease._RENEW_S", 0.02)
    lease = Lease(bucket, NAME, LAPTOP)
    assert lease.hold()
    before = bucket.read_generation(NAME)[1]
    with lease.kept():
        wait_until(lambda: bucket.read_generation(NAME)[1] > before, "it is renewed")
    lease.release()
    assert bucket.read(NAME) == b""


def test_of_two_relays_one_plays_and_one_that_slept_looks_first(
    bucket: Bucket, store: str, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept = relay_for(bucket, store, Lease(bucket, NAME, LAPTOP, clock))
    other = relay_for(bucket, store, Lease(bucket, NAME, OTHER, clock))
    vm = Scribe(bucket, tmp_path, 0)
    run_id = vm.run()
    vm.log(run_id, [("loss", 1.0, 0)])
    slept.tick({0: vm.upload()})
    other.tick({0: vm.status(JobState.RUNNING)})
    assert slept.trouble == "" and "process 1 on laptop" in other.trouble

    nested = vm.run("fold", parent=run_id)
    vm.log(nested, [("loss", 0.5, 1)])
    status = vm.upload()
    create_run = Destination.create_run

    def falls_asleep(self: Destination, *args: Any) -> Any:
        """Between one call and the next, the lid is closed and the other one takes over."""
        monkeypatch.setattr(Destination, "create_run", create_run)
        clock.now += SILENCE_S
        other.tick({0: status})
        assert other.trouble == ""
        return create_run(self, *args)

    monkeypatch.setattr(Destination, "create_run", falls_asleep)
    slept.tick({0: status})
    assert "process 2 on other" in slept.trouble or "taken over" in slept.trouble
    other.finish(vm.status(JobState.COMPLETED), STARTED + 60, {})
    other.close(JobState.COMPLETED, STARTED + 61, {})
    slept.finish(vm.status(JobState.COMPLETED), STARTED + 60, {})
    assert slept.trouble == ""

    client = MlflowClient(store)
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert sorted(run.info.run_name for run in runs) == [SWEEP, "fold", "lr=1e-3", "lr=1e-4"]
    (fold,) = (run for run in runs if run.info.run_name == "fold")
    assert [(m.step, m.value) for m in client.get_metric_history(fold.info.run_id, "loss")] == [(1, 0.5)]
