"""Hydra's suites expect a process in which no program has said its version base."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hydra.core.singleton import Singleton


@pytest.fixture(autouse=True)
def _no_version_base() -> Iterator[None]:
    """Importing a program says it: ``@hydra.main(version_base=…)`` takes hold when the module is read."""
    for kind in [kind for kind in Singleton._instances if kind.__name__ == "VersionBase"]:
        del Singleton._instances[kind]
    yield
