"""Fixtures of the embedded Compute Engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local.embedded import Embedded
from tests.local.fake_machine import FakeMachines


@pytest.fixture
def machines() -> FakeMachines:
    return FakeMachines()


@pytest.fixture
def cloud(tmp_path: Path, machines: FakeMachines) -> Iterator[Embedded]:
    (tmp_path / "local").mkdir()
    embedded = Embedded(tmp_path / "local", machines)
    try:
        yield embedded
    finally:
        machines.booting.set()
        embedded.close()
    assert embedded.server.broken == []
