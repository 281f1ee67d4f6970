"""The bench of live points: that no point is left out because it came late, and what the table says."""

from __future__ import annotations

import pytest

from bench import sightings
from bench.live_points import ages_of, section
from bench.sightings import StoreWatch
from tests.patience import wait_until


def test_calls_are_known_once_every_run_has_a_later_one(monkeypatch: pytest.MonkeyPatch) -> None:
    logged = {"first": [1.0, 2.0, 3.0], "second": [1.5]}
    monkeypatch.setattr(sightings, "history", lambda server, run: list(logged[run]))
    with StoreWatch("http://127.0.0.1:1", ["first", "second"]) as watch:
        wait_until(lambda: watch.calls(["first"], 1.5, 3.0) == [2.0], "the first run's points are seen")
        assert watch.calls(["first", "second"], 1.5, 3.0) is None
        logged["second"] += [2.5, 3.5]
        wait_until(lambda: watch.calls(["first", "second"], 1.5, 3.0) == [2.0, 1.5, 2.5], "all are seen")


def test_a_server_that_is_busy_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([OSError("database is locked")])

    def history(server: str, run: str) -> list[float]:
        for error in answers:
            raise error
        return [1.0]

    monkeypatch.setattr(sightings, "history", history)
    with StoreWatch("http://127.0.0.1:1", ["first"]) as watch:
        wait_until(lambda: watch.sightings.keys() == {1.0}, "the point is seen")


def test_ages_wait_for_the_last_point() -> None:
    assert ages_of([10.0, 20.0], {10.0: 12.0}) is None
    assert ages_of([10.0, 20.0], {10.0: 12.0, 20.0: 25.0, 30.0: 31.0}) == [2.0, 5.0]


def test_the_table_has_the_distribution_by_where_points_are_seen() -> None:
    table = section({"in the store": [float(second) for second in range(1, 12)]}, "Measured today.\n")
    assert table.startswith("Measured today.\n")
    assert "| in the store | 11 | 1.0 | 6.0 | 10.0 | 11.0 |" in table
