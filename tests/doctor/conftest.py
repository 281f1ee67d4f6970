"""A healthy project for each test: `hydra-gce setup` was run, and the doctor finds nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hydra_gce.local.home import Home
from tests.doctor.clinic import Clinic
from tests.local.embedded import Embedded
from tests.local.fake_machine import FakeMachines


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Embedded]:
    """A server of this process, where the command finds it."""
    home, machines = Home(tmp_path / "local"), FakeMachines()
    with home.serving():
        embedded = Embedded(home.path, machines)
        try:
            yield embedded
        finally:
            machines.booting.set()
            embedded.close()
    assert embedded.server.broken == []


@pytest.fixture
def bare(
    cloud: Embedded,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Clinic:
    """A project as Google makes it."""
    monkeypatch.setenv("HYDRA_GCE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return Clinic(cloud, tmp_path, capsys, monkeypatch)


@pytest.fixture
def clinic(bare: Clinic) -> Clinic:
    code, out, err = bare.hydra_gce("setup", "--backend", "local", "--yes")
    assert code == 0, out + err
    return bare
