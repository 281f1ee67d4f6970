"""A guest sees its image and its own disk, and nothing of the machine that it runs on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hydra_gce.local.vm import Isolation, Machine, MachineError


def environment_in(project: Path) -> str:
    """Makes an empty Python environment in project/.venv; returns its executable."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project / ".venv"], check=True)
    return str(project / ".venv/bin/python")


@pytest.mark.usefixtures("namespaces")
def test_files_of_the_project_of_home_and_of_tmp_are_not_there(guests: Any, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "secret.txt").write_text("mine")
    in_home, python = Path.home(), Path(sys.base_prefix)
    # A Python that this machine has in its home is there, as the distribution's would be, and the way to it.
    way = python.relative_to(in_home).parts[0] if python.is_relative_to(in_home) else "-"
    lines = guests.output(
        f"cat {project}/secret.txt; ls -A {in_home} | grep -vxF -e {way}; ls -A /home; echo end"
    )
    assert not any("mine" in line for line in lines)
    assert lines[-1] == "end"
    assert [line for line in lines if line != "end"] == [
        f"cat: {project}/secret.txt: No such file or directory"
    ]


@pytest.mark.usefixtures("namespaces")
def test_what_a_guest_writes_lies_on_its_disk_and_not_on_this_machine(guests: Any, tmp_path: Path) -> None:
    target = tmp_path / "made" / "by-guest"
    machine = guests.boot(
        f"mkdir -p {target.parent} /opt/x && echo hi > {target}; echo hi > /tmp/by-guest-only; cat {target}"
    )
    guests.says(machine, "startup-script: hi")
    guests.says(machine, "exit status 0")
    assert not target.exists()
    assert not Path("/tmp/by-guest-only").exists()
    assert (machine.directory / "disk" / str(target).lstrip("/")).read_text() == "hi\n"


@pytest.mark.usefixtures("namespaces")
def test_the_system_and_the_python_environment_are_read_only(guests: Any, python: str) -> None:
    prefix = Path(python).parent.parent
    lines = guests.output(
        f"touch /usr/written || echo usr kept; touch {prefix}/written || echo prefix kept; "
        f"{python} -c 'import numpy; print(numpy.__name__)'",
        python=python,
    )
    assert [line for line in lines if not line.startswith("touch")] == ["usr kept", "prefix kept", "numpy"]


@pytest.mark.usefixtures("namespaces")
def test_only_the_environment_is_shown_where_it_lies_inside_a_project(guests: Any, tmp_path: Path) -> None:
    project = tmp_path / "project"
    python = environment_in(project)
    (project / "train.py").write_text("print('the laptop')")
    lines = guests.output(f"ls -A {project}; {python} -c 'import sys; print(sys.prefix)'", python=python)
    assert lines == [".venv", str(project / ".venv")]


@pytest.mark.usefixtures("namespaces")
def test_an_environment_that_is_reached_through_links_runs(guests: Any, tmp_path: Path) -> None:
    environment_in(tmp_path / "project")
    (tmp_path / "links").symlink_to("project")
    python = str(tmp_path / "links/.venv/bin/python")
    assert guests.output(f"{python} -c 'import ssl; print(1 + 1)'", python=python) == ["2"]


@pytest.mark.usefixtures("namespaces")
def test_a_link_that_a_guest_leaves_on_its_disk_leads_nowhere_on_this_machine(
    guests: Any, tmp_path: Path
) -> None:
    outside, project = tmp_path / "outside", tmp_path / "project"
    outside.mkdir()
    python = environment_in(project)
    machine = guests.create(f"{python} -c 'print(40 + 2)'; ls -A {outside}", python=python)
    disk = machine.directory / "disk"
    (disk / str(outside).lstrip("/")).mkdir(parents=True)
    (disk / str(project).lstrip("/")).symlink_to(outside)
    machine.power_on()
    guests.says(machine, "startup-script: 42")
    guests.says(machine, "startup-script: .venv")
    assert list(outside.iterdir()) == []


def test_nothing_of_our_environment_block_reaches_the_guest(
    guests: Any, isolation: Isolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", "hunter2")
    lines = guests.output(
        "env; cat /proc/$PPID/environ | tr '\\0' '\\n'; cat /proc/1/environ | tr '\\0' '\\n'"
    )
    assert not any("hunter2" in line or "MY_TOKEN" in line for line in lines)
    variables = dict(line.split("=", 1) for line in lines if "=" in line)
    assert variables["USER"] == "root"
    assert variables["TERM"] == "dumb"
    assert "VIRTUAL_ENV" not in variables


@pytest.mark.usefixtures("namespaces")
def test_the_guest_sees_its_own_processes_only(guests: Any) -> None:
    lines = guests.output("ls /proc | grep -c '^[0-9]'; hostname", name="alone")
    assert int(lines[0]) < 10
    assert lines[1] == "alone"


@pytest.mark.usefixtures("namespaces")
def test_the_console_device_is_the_serial_console(guests: Any) -> None:
    machine = guests.boot("echo kernel-like > /dev/ttyS0; echo again > /dev/console")
    guests.says(machine, "kernel-like")
    guests.says(machine, "again")


def test_a_baked_image_carries_its_mark_and_a_bare_one_does_not(
    guests: Any, isolation: Isolation, python: str
) -> None:
    script = "cat $HYDRA_GCE_PREFIX/environment.json || echo none; echo; python3 --version"
    baked = guests.output(script, python=python)
    assert json.loads(baked[0]) == {"python": python}
    bare = guests.output(script)
    assert "none" in bare
    assert bare[-1].startswith("Python 3.")


def test_an_image_whose_python_does_not_run_is_refused(guests: Any, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="no-python does not run"):
        guests.create(python=str(tmp_path / "no-python"))


def test_home_tmp_and_opt_are_the_machines_own(guests: Any, isolation: Isolation) -> None:
    lines = guests.output('cd; echo x > f; t=$(mktemp); mkdir -p "$HYDRA_GCE_PREFIX/y"; echo "$HOME $t $PWD"')
    machine: Machine = guests.machines[0]
    assert (machine.directory / "disk/root/f").exists()
    assert (machine.directory / "disk/opt/hydra-gce/y").exists()
    assert any(entry.name.startswith("tmp.") for entry in (machine.directory / "disk/tmp").iterdir())
    assert lines


def test_a_shell_enters_the_running_guest(guests: Any, isolation: Isolation) -> None:
    machine = guests.boot("echo x > $HOME/seen; sleep 1000", name="entered", python=None)
    wait = 'until [ -e "$HOME/seen" ]; do :; done; '
    command = [*machine.shell_command(), "-c", wait + 'cat "$HOME/seen"; echo $USER']
    answer = subprocess.run(
        command, capture_output=True, text=True, env=dict(os.environ), timeout=60, check=True
    )
    assert answer.stdout == "x\nroot\n"
