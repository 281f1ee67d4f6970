"""What goes along of a project, beside its code's own rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from hydra_gce.cargo import pack
from hydra_gce.settings import Env, Settings


def test_the_launchers_own_directory_is_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of sweeps and whole VMs of the embedded engine lie there."""
    project = tmp_path / "project"
    monkeypatch.setenv("HYDRA_GCE_HOME", str(project / "state"))
    for name in ("app.py", "state/sweeps/calm-otter.json", "state/local/vms/1/disk/etc/passwd"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("{}")
    settings = Settings(env=Env(requirements="none"))
    packed = pack.pack(settings, str(project / "app.py"), project, project / "multirun", print)
    assert packed.code.files == 1
