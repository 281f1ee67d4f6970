"""A stubbed Compute Engine, and fleets that are closed at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.compute_stub import StubbedCompute, stubbed_compute
from tests.fleet.lab import Lab


@pytest.fixture
def compute() -> Iterator[StubbedCompute]:
    with stubbed_compute() as stub:
        yield stub


@pytest.fixture
def opened(compute: StubbedCompute) -> Iterator[Callable[..., Lab]]:
    labs: list[Lab] = []

    def open_lab(**more: Any) -> Lab:
        labs.append(Lab(compute, **more))
        return labs[-1]

    yield open_lab
    for lab in labs:
        lab.fleet.close()


@pytest.fixture
def lab(opened: Callable[..., Lab]) -> Lab:
    return opened()
