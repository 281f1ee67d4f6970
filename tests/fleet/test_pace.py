"""Requests go at a rate that Compute Engine bears, however many ask at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hydra_gce.fleet import pace
from hydra_gce.fleet.pace import Pace
from tests.compute_stub import Made, StubbedCompute
from tests.fleet.lab import Lab


class Clock:
    """Time passes only in pauses."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds


def gone_by(clock: Clock, requests: int, **how: Any) -> list[float]:
    began = clock()
    shared = Pace(clock, clock.pause, **how)
    times = []
    for _ in range(requests):
        shared.wait()
        times.append(clock() - began)
    return times


def test_the_first_few_go_at_once_and_the_others_one_by_one() -> None:
    times = gone_by(Clock(), 10, per_second=2.0, burst=4)
    assert times == pytest.approx([0.0] * 4 + [0.5, 1.0, 1.5, 2.0, 2.5, 3.0])


def test_a_thousand_requests_stay_below_googles_limit_by_the_minute() -> None:
    times = gone_by(Clock(), 1500)
    assert max(sum(start <= time < start + 60 for time in times) for start in range(150)) < 1500 / 2


def test_a_quiet_time_earns_a_burst_and_no_more() -> None:
    clock = Clock()
    shared = Pace(clock, clock.pause, per_second=2.0, burst=4)
    shared.wait()
    clock.now += 3600
    began = clock()
    for _ in range(6):
        shared.wait()
    assert clock() - began == pytest.approx(1.0)


def test_threads_share_one_pace() -> None:
    pauses: list[float] = []
    shared = Pace(lambda: 0.0, pauses.append, per_second=2.0, burst=4)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: shared.wait(), range(12)))
    assert sorted(pauses) == pytest.approx([0.5 * number for number in range(1, 9)])


def test_vms_are_asked_for_at_that_pace(lab: Lab, compute: StubbedCompute) -> None:
    compute.decide = lambda insert: Made()
    lab.ask(*range(pace.BURST + 10))
    assert sorted(lab.paused) == pytest.approx([number / pace.PER_SECOND for number in range(1, 11)])
