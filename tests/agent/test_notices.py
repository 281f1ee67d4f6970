"""How an agent hears that its VM is taken back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from hydra_gce.agent.departure import Cause, Departure
from hydra_gce.agent.notices import NOTICES, await_notice, watch
from tests.agent.google import Google, google_at_hand
from tests.patience import wait_until

PREEMPTED, MAINTENANCE = NOTICES


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[Google]:
    with google_at_hand(monkeypatch) as made:
        yield made


@pytest.fixture
def departure() -> Iterator[Departure]:
    made = Departure()
    yield made
    made.announce(Cause.SHUT_DOWN, 0)  # whoever still waits for one goes


def held(google: Google, path: str) -> bool:
    """Whether a request of which the server knows the last value is being held."""
    return any(asked.startswith(path) and "last_etag=etag-of" in asked for asked in google.asked)


def test_a_preemption_is_heard_at_once_by_a_request_that_is_held(
    google: Google, departure: Departure
) -> None:
    watch(departure)
    wait_until(lambda: held(google, PREEMPTED.path), "a request is held")
    asked = len(google.asked)
    assert not departure.is_announced()
    google.turn(PREEMPTED.path, "TRUE")
    assert departure.wait(10)
    assert departure.cause is Cause.PREEMPTED
    assert 20 < departure.left_s() <= 30
    assert len(google.asked) <= asked + 2


def test_a_vm_that_is_being_taken_back_already_is_noticed_without_a_change(
    google: Google, departure: Departure
) -> None:
    google.answers[PREEMPTED.path] = "TRUE"
    await_notice(PREEMPTED, departure)
    assert departure.cause is Cause.PREEMPTED
    assert len(google.asked) == 1


def test_maintenance_that_ends_the_vm_is_a_reason_to_leave(google: Google, departure: Departure) -> None:
    watch(departure)
    wait_until(lambda: held(google, MAINTENANCE.path), "a request is held")
    google.turn(MAINTENANCE.path, "TERMINATE_ON_HOST_MAINTENANCE")
    assert departure.wait(10)
    assert departure.cause is Cause.MAINTENANCE
    assert 50 < departure.left_s() <= 60


def test_a_migration_is_none(google: Google, departure: Departure) -> None:
    watch(departure)
    wait_until(lambda: held(google, MAINTENANCE.path), "a request is held")
    google.turn(MAINTENANCE.path, "MIGRATE_ON_HOST_MAINTENANCE")
    wait_until(
        lambda: any("etag-of-MIGRATE" in asked for asked in google.asked), "the next request is being held"
    )
    google.turn(MAINTENANCE.path, "NONE")
    wait_until(lambda: google.asked[-1].endswith("last_etag=etag-of-NONE"), "and the next")
    assert not departure.is_announced()


def test_a_metadata_server_that_fails_is_asked_on(google: Google, departure: Departure) -> None:
    google.refusals = [503] * 5
    google.answers[PREEMPTED.path] = "TRUE"
    pauses: list[float] = []
    await_notice(PREEMPTED, departure, pauses.append)
    assert departure.is_announced()
    assert len(pauses) == 5
    assert max(pauses) <= 3.0


def test_a_metadata_server_that_is_down_for_a_while_ends_no_watch(
    google: Google, departure: Departure, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = os.environ["GCE_METADATA_HOST"]
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:1")  # nobody listens there
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            google.answers[PREEMPTED.path] = "TRUE"
            os.environ["GCE_METADATA_HOST"] = here

    await_notice(PREEMPTED, departure, pause)
    assert departure.is_announced()


def test_a_slow_metadata_server_is_heard_as_soon_as_it_says_it(google: Google, departure: Departure) -> None:
    google.late_s = 0.5
    watch(departure)
    wait_until(lambda: held(google, PREEMPTED.path), "a request is held")
    google.turn(PREEMPTED.path, "TRUE")
    assert departure.wait(10)


def test_the_first_cause_stays_and_the_earliest_end_counts() -> None:
    now = 100.0
    departure = Departure(lambda: now)
    assert departure.left_s() == float("inf")
    departure.announce(Cause.MAINTENANCE, 60)
    now = 110.0
    departure.announce(Cause.SHUT_DOWN, 30)
    assert (departure.cause, departure.left_s()) == (Cause.MAINTENANCE, 30)
    departure.announce(Cause.PREEMPTED, 300)
    assert departure.left_s() == 30


SLEEPER = """
import sys, threading
from hydra_gce.agent.departure import Departure
from hydra_gce.agent.notices import heed_sigterm

departure = Departure()
heed_sigterm(departure)
print("ready", flush=True)
sys.exit(0 if departure.wait(60) and departure.cause.value == "shut down" else 1)
"""


def test_sigterm_means_that_the_vm_is_being_shut_down() -> None:
    with subprocess.Popen([sys.executable, "-c", SLEEPER], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_no_watch_is_left_once_the_vm_goes(google: Google, departure: Departure) -> None:
    before = set(threading.enumerate())
    watch(departure)
    wait_until(lambda: held(google, PREEMPTED.path) and held(google, MAINTENANCE.path), "both are held")
    departure.announce(Cause.SHUT_DOWN, 30)
    google.turn(PREEMPTED.path, "FALSE ")
    google.turn(MAINTENANCE.path, "NONE ")
    mine = {"preempted", "maintenance-event"}
    wait_until(
        lambda: not any(one.name in mine for one in set(threading.enumerate()) - before), "they have ended"
    )
