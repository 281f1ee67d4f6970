"""Without root, a guest has namespaces by a user namespace; where there are none, it lives by its environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hydra_gce.local.vm import MachineError

PACKAGES = str(Path(__file__).parents[3])
SYSTEM_PYTHON = "/usr/bin/python3"
PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from hydra_gce.local.vm import Machine, MachineSpec
machine = Machine(Path(sys.argv[2]))
script = "id -u; cd; mkdir locked; touch locked/file; chmod 0 locked; echo $HOME"
tree = {"instance": {"attributes": {"startup-script": script}}, "project": {}}
machine.create(MachineSpec("plain", 1, 1 << 30, metadata=tree))
machine.power_on()
while b"Finished running startup scripts" not in machine.serial_output():
    assert machine.running()
print(machine.isolation().value, *machine.serial_output().decode().split("startup-script: ")[1:])
machine.delete()
assert not Path(sys.argv[2]).exists()
"""


def run(prefix: list[str], directory: Path) -> str:
    done = subprocess.run(
        [*prefix, SYSTEM_PYTHON, "-B", "-c", PROGRAM, PACKAGES, directory / "vm"],
        capture_output=True,
        text=True,
        timeout=120,
        cwd="/",
        env={"PATH": os.environ["PATH"]},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def open_directory(tmp_path: Path) -> Path:
    """A directory where every user may make a VM."""
    for parent in tmp_path.parents:
        if parent.name.startswith(("pytest-", "popen-")):
            parent.chmod(0o755)
    tmp_path.chmod(0o777)
    return tmp_path


def test_a_user_without_rights_gets_namespaces_where_the_kernel_allows_it(open_directory: Path) -> None:
    if sys.platform != "linux" or os.getuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("only root can become another user to try this")
    become = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"]
    if subprocess.run([*become, "unshare", "-Urmn", "ls", PACKAGES], capture_output=True).returncode:
        pytest.skip("other users can make no namespaces here, or cannot read this package")
    said = run(become, open_directory)
    assert said.startswith("namespaces 0")
    assert "/root" in said


def test_where_there_are_no_namespaces_a_vm_lives_by_its_environment(tmp_path: Path) -> None:
    forbid = 'echo 0 > /proc/sys/user/max_net_namespaces && exec "$@"'
    forbidding = ["unshare", "--user", "--map-root-user", "sh", "-c", forbid, "sh"]
    if not shutil.which("unshare") or subprocess.run([*forbidding, "true"]).returncode:
        pytest.skip("namespaces cannot be forbidden here")
    said = run(forbidding, tmp_path)
    assert said.startswith("environment ")
    assert f"{tmp_path}/vm/disk/root" in said


def test_a_vm_whose_environment_is_gone_does_not_start_with_less(guests: Any, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    machine = guests.create(python=str(tmp_path / "env/bin/python"))
    shutil.rmtree(tmp_path / "env")
    with pytest.raises(MachineError, match=r"VM guest did not start: .*env, which is gone from this machine"):
        machine.power_on()
    assert not machine.running()


def test_an_isolation_that_there_is_not_is_refused(guests: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = guests.create()
    monkeypatch.setenv("HYDRA_GCE_LOCAL_ISOLATION", "jail")
    with pytest.raises(MachineError, match="write namespaces, environment or auto"):
        machine.power_on()
    assert not machine.running()
