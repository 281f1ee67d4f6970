"""A healthy project for each test: `hydra-gce setup` was run, and the doctor finds nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.doctor.clinic import Clinic
from tests.local.conftest import cloud, machines
from tests.local.embedded import Embedded

__all__ = ["cloud", "machines"]


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
