"""The launcher's own wheel: what a VM unpacks and puts on PYTHONPATH."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from uv import find_uv_bin

import hydra_gce
from hydra_gce.cargo import wheel
from hydra_gce.errors import ConfigError

REPOSITORY = Path(hydra_gce.__file__).parent.parent


def unpacked(tmp_path: Path) -> Path:
    folder = tmp_path / "unpacked"
    with zipfile.ZipFile(wheel.build(tmp_path / "cache").path) as archive:
        archive.extractall(folder)
    return folder


def run(program: str, pythonpath: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(pythonpath)}
    command = [sys.executable, "-c", program]
    return subprocess.run(
        command, env=environment, cwd="/", check=True, capture_output=True, text=True
    ).stdout.strip()


def test_unpacked_it_is_found_with_its_version_and_entry_points(tmp_path: Path) -> None:
    folder = unpacked(tmp_path)
    program = (
        "import json, importlib.metadata as m\n"
        "d = m.distribution('hydra-gce-launcher')\n"
        "print(json.dumps([d.version, sorted((e.group, e.name) for e in d.entry_points), str(d.locate_file(''))]))"
    )
    version, entry_points, where = json.loads(run(program, folder))
    assert version == hydra_gce.__version__
    assert ["mlflow.tracking_store", "hydra-gce"] in entry_points
    assert ["hydra.plugins", "gce"] in entry_points
    assert Path(where) == folder


def test_it_carries_the_agent_and_the_plugin_but_no_cloud_of_its_own(tmp_path: Path) -> None:
    folder = unpacked(tmp_path)
    for name in ("hydra_gce/agent/bootstrap.py", "hydra_gce/agent/startup.sh", "hydra_gce/bucket.py"):
        assert (folder / name).read_bytes() == (REPOSITORY / name).read_bytes()
    assert (folder / "hydra_plugins" / "hydra_gce_launcher" / "launcher.py").exists()
    assert not (folder / "hydra_plugins" / "__init__.py").exists()
    assert not (folder / "hydra_gce" / "local").exists()
    assert not list(folder.rglob("*.pyc"))


def test_it_is_a_wheel_that_installers_accept(tmp_path: Path) -> None:
    built = wheel.build(tmp_path / "cache")
    named = tmp_path / f"hydra_gce_launcher-{hydra_gce.__version__}-py3-none-any.whl"
    named.write_bytes(built.path.read_bytes())
    install = [find_uv_bin(), "pip", "install", "-q", "--no-deps", "--offline", "--python", sys.executable]
    subprocess.run([*install, "--target", str(tmp_path / "target"), str(named)], check=True)
    assert (tmp_path / "target" / "hydra_gce" / "__init__.py").exists()


def test_the_same_package_has_the_same_name_and_bytes(tmp_path: Path) -> None:
    first, second = wheel.build(tmp_path / "one"), wheel.build(tmp_path / "two")
    assert first.object == second.object == f"launcher/{first.sha256}.whl"
    assert first.path.read_bytes() == second.path.read_bytes()


def test_it_is_made_from_a_plain_installation_too(tmp_path: Path) -> None:
    """Another machine, where nothing but the unpacked wheel is there, makes the very same wheel."""
    built = wheel.build(tmp_path / "cache")
    program = (
        "import sys; from pathlib import Path; from hydra_gce.cargo import wheel\n"
        f"print(wheel.build(Path({str(tmp_path / 'other')!r})).sha256)"
    )
    assert run(program, unpacked(tmp_path)) == built.sha256


def test_an_incomplete_installation_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheel, "_PARTS", ("hydra_gce", "hydra_gce_that_is_not_there"))
    with pytest.raises(ConfigError, match="installation is incomplete"):
        wheel.build(tmp_path)
