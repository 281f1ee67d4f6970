"""Sweeps under watch, at a stubbed Compute Engine where nothing else is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hydra_gce.bucket import Bucket
from hydra_gce.cloud.backend import Backend
from tests.compute_stub import StubbedCompute, stubbed_compute
from tests.scene import Scene
from tests.watch.places import PLACES, Opened


@pytest.fixture
def compute() -> Iterator[StubbedCompute]:
    with stubbed_compute() as stub:
        yield stub


@pytest.fixture
def opened(bucket: Bucket, compute: StubbedCompute, tmp_path: Path) -> Iterator[Opened]:
    """Opens scenes, and closes them at the end."""
    scenes: list[Scene] = []

    def open_scene(backend: Backend = compute.backend, **more: Any) -> Scene:
        scene = Scene(backend, **{"bucket": bucket, "candidates": PLACES, "directory": tmp_path, **more})
        compute.clock = scene.clock
        scenes.append(scene)
        return scene

    yield open_scene
    for scene in scenes:
        scene.close()


@pytest.fixture
def scene(opened: Opened) -> Scene:
    return opened()
