"""A VM's first seconds: startup.sh and bootstrap.py with a real uv and the paths of a cloud over HTTP."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from hydra_gce.agent import pins
from hydra_gce.agent.__main__ import CANNOT_DELETE
from tests.agent.machine import (
    BOOT_REPORT,
    INSTANCE,
    MINOR,
    SYSTEM_PYTHON,
    Cloud,
    bake,
    fake_command,
    guest_environment,
    power_on,
    start,
    told,
    want,
)


def wanted_file(
    prefix: Path,
    requirements: str,
    *,
    apt: tuple[str, ...] = (),
    setup: tuple[str, ...] = (),
    python: str = MINOR,
) -> Path:
    content = json.dumps({"python": python, "requirements": requirements, "apt": apt, "setup": setup})
    path = prefix / "wanted" / f"{hashlib.sha256(content.encode()).hexdigest()}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def boot(prefix: Path, wanted: Path, launcher: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    script = launcher / "hydra_gce" / "agent" / "bootstrap.py"
    return subprocess.run(
        [SYSTEM_PYTHON, "-I", "-S", str(script), str(wanted), str(launcher)],
        env=guest_environment(prefix, **environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )


def tree(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*") if "__pycache__" not in path.parts}


def test_a_baked_environment_is_taken_as_it_is(tmp_path: Path, index: Path, launcher: Path) -> None:
    prefix = tmp_path / "prefix"
    python = bake(prefix, index, "tinything==1.0")
    before = tree(python.parent.parent)
    wanted = wanted_file(prefix, "tinything==1.0\nabsent==9 ; sys_platform == 'win32'\n")
    done = boot(prefix, wanted, launcher, LD_LIBRARY_PATH="/usr/local/nvidia/lib64")
    assert done.returncode == 0, done.stdout
    assert told(done.stdout) == {
        "python": str(python),
        "tinything": "1.0",
        "libraries": "/usr/local/nvidia/lib64",
    }
    assert tree(python.parent.parent) == before


def test_an_environment_is_made_where_the_baked_one_lacks_something(
    tmp_path: Path, index: Path, launcher: Path
) -> None:
    prefix = tmp_path / "prefix"
    python = bake(prefix, index, "tinything==1.0")
    before = tree(python.parent.parent)
    wanted = wanted_file(prefix, f"--no-index\n--find-links {index}\ntinything==2.0\n")
    done = boot(prefix, wanted, launcher)
    assert done.returncode == 0, done.stdout
    assert f"hydra-gce: environment: {python} lacks tinything==2.0\n" in done.stdout
    assert "hydra-gce: environment: 1 packages installed in " in done.stdout
    assert told(done.stdout)["tinything"] == "2.0"
    assert tree(python.parent.parent) == before, "the image's environment is not ours to change"


def test_a_bare_machine_makes_its_environment_once(tmp_path: Path, index: Path, launcher: Path) -> None:
    prefix = tmp_path / "prefix"
    requirements = f"--no-index\n--find-links {index}\ntinything==2.0\n"
    wanted = wanted_file(prefix, requirements)
    first = boot(prefix, wanted, launcher)
    assert told(first.stdout)["tinything"] == "2.0"
    shutil.rmtree(index)
    again = boot(prefix, wanted, launcher)
    assert told(again.stdout) == told(first.stdout)
    assert "as at the last boot" in again.stdout
    other_sweep = boot(prefix, wanted_file(prefix, "tinything==2.0\n"), launcher)
    assert told(other_sweep.stdout) == told(first.stdout), (
        "an image baked from this disk serves other sweeps too"
    )


def test_an_interrupted_installation_is_begun_anew(tmp_path: Path, index: Path, launcher: Path) -> None:
    prefix = tmp_path / "prefix"
    wanted = wanted_file(prefix, f"--no-index\n--find-links {index}\ntinything==2.0\n")
    half = prefix / "environments" / wanted.stem
    (half / "bin").mkdir(parents=True)
    (half / "bin" / "python").write_text("#!/bin/sh\nexit 1\n")
    assert told(boot(prefix, wanted, launcher).stdout)["tinything"] == "2.0"


def test_uv_judges_what_is_no_plain_pin(tmp_path: Path, index: Path, launcher: Path) -> None:
    prefix = tmp_path / "prefix"
    python = bake(prefix, index, "tinything==1.0")
    enough = wanted_file(prefix, f"--no-index\n--find-links {index}\ntinything>=0.5\n")
    assert told(boot(prefix, enough, launcher).stdout)["python"] == str(python)
    more = wanted_file(prefix, f"--no-index\n--find-links {index}\ntinything>=1.5\n")
    assert told(boot(prefix, more, launcher).stdout)["tinything"] == "2.0"


def test_what_cannot_be_installed_is_said_in_one_line(tmp_path: Path, index: Path, launcher: Path) -> None:
    prefix = tmp_path / "prefix"
    wanted = wanted_file(prefix, f"--no-index\n--find-links {index}\ntinything==3.0\n")
    done = boot(prefix, wanted, launcher)
    assert done.returncode == 1
    last = done.stdout.splitlines()[-1]
    assert last.startswith("hydra-gce: environment: uv pip install failed: ")
    assert "tinything==3.0" in last
    assert not (prefix / "environments" / f"{wanted.stem}.json").exists()


def test_setup_commands_run_once_before_the_packages(tmp_path: Path, index: Path, launcher: Path) -> None:
    prefix = tmp_path / "prefix"
    ran = tmp_path / "ran"
    setup = (f"echo first >> {ran}", f"test ! -e {prefix}/environments && echo second >> {ran}")
    wanted = wanted_file(prefix, f"--no-index\n--find-links {index}\ntinything==1.0\n", setup=setup)
    for _ in range(2):
        assert boot(prefix, wanted, launcher).returncode == 0
    assert ran.read_text() == "first\nsecond\n"


def test_a_failing_setup_command_is_named(tmp_path: Path, launcher: Path) -> None:
    prefix = tmp_path / "prefix"
    done = boot(prefix, wanted_file(prefix, "", setup=("true", "exit 7")), launcher)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == (
        "hydra-gce: setup: exit code 7 of hydra.launcher.env.setup[1]: exit 7"
    )


def test_only_missing_debian_packages_are_installed(tmp_path: Path, index: Path, launcher: Path) -> None:
    prefix, bin_, asked = tmp_path / "prefix", tmp_path / "bin", tmp_path / "asked"
    bake(prefix, index, "tinything==1.0")
    fake_command(bin_, "dpkg-query", 'if [ "${@: -1}" = ffmpeg ]; then printf installed; else exit 1; fi')
    fake_command(bin_, "apt-get", f'echo "$DEBIAN_FRONTEND ${{@: -2}}" >> {asked}')
    wanted = wanted_file(prefix, "tinything==1.0", apt=("ffmpeg", "libgl1"))
    done = boot(prefix, wanted, launcher, PATH=f"{bin_}:/usr/bin:/bin")
    assert done.returncode == 0, done.stdout
    assert asked.read_text().splitlines()[1] == "noninteractive --no-install-recommends libgl1"
    assert "hydra-gce: apt: libgl1 installed in " in done.stdout


FACTS = {
    "python_version": "3.11",
    "python_full_version": "3.11.7",
    "sys_platform": "linux",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "implementation_name": "cpython",
    "extra": "",
}


@pytest.mark.parametrize(
    ("marker", "expected"),
    [
        ("sys_platform == 'win32'", False),
        ("sys_platform != 'win32' and platform_machine == 'x86_64'", True),
        ("(sys_platform == 'darwin' or python_full_version < '3.12') and extra == ''", True),
        ("python_version < '3.9'", False),
        ("python_version >= '3.9' and python_version < '3.11.0'", False),
        ("'linux' in sys_platform", True),
        ("platform_machine not in 'arm64 aarch64'", True),
    ],
)
def test_markers_hold_as_the_specification_says(marker: str, expected: bool) -> None:
    assert pins.holds(marker, FACTS) is expected


@pytest.mark.parametrize(
    "marker", ["python_version ~= '3.9'", "colour == 'red'", "sys_platform > 'a'", "f()", "1"]
)
def test_markers_that_are_not_understood_are_left_to_uv(marker: str) -> None:
    assert pins.compare(f"a==1 ; {marker}", {}, FACTS) == ([], [f"a==1 ; {marker}"])


@pytest.mark.parametrize(
    ("line", "installed", "met"),
    [
        ("Foo_Bar==1.0", {"foo-bar": "1.0.0"}, True),
        ("foo[extra]==1.0  # why", {"foo": "1.0"}, True),
        ("foo==1.0", {"foo": "1.0.1"}, False),
        ("foo==1.0", {"foo": "1.0+cpu"}, True),
        ("foo==1.0+cu121", {"foo": "1.0+cpu"}, False),
        ("foo==1.0rc1", {"foo": "1.0rc1"}, True),
        ("foo==1.0", {}, False),
        ("# foo==1.0", {}, True),
        ("--index-url https://example.org", {}, True),
    ],
)
def test_pins_are_compared_as_versions(line: str, installed: dict[str, str], met: bool) -> None:
    assert pins.compare(line, installed, FACTS) == ([] if met else [line.partition("  #")[0]], [])


def test_startup_brings_the_launcher_and_starts_the_agent(cloud: Cloud, tmp_path: Path, index: Path) -> None:
    python = bake(tmp_path / "prefix", index, "tinything==1.0")
    want(cloud, "tinything==1.0")
    done = start(cloud, tmp_path / "prefix")
    assert done.returncode == 0, done.stdout
    assert told(done.stdout)["python"] == str(python)
    assert not cloud.deleted
    assert BOOT_REPORT not in cloud.objects


def test_startup_outlasts_a_storage_that_is_not_ready(cloud: Cloud, tmp_path: Path, index: Path) -> None:
    bake(tmp_path / "prefix", index, "tinything==1.0")
    want(cloud, "tinything==1.0")
    cloud.failing = 3
    assert told(start(cloud, tmp_path / "prefix").stdout)["tinything"] == "1.0"


def test_a_reboot_fetches_nothing_again(cloud: Cloud, tmp_path: Path, index: Path) -> None:
    bake(tmp_path / "prefix", index, "tinything==1.0")
    want(cloud, "tinything==1.0")
    start(cloud, tmp_path / "prefix")
    cloud.objects.clear()
    assert start(cloud, tmp_path / "prefix").returncode == 0


def test_a_vm_that_cannot_boot_says_why_and_deletes_itself(cloud: Cloud, tmp_path: Path) -> None:
    name = want(cloud, "")
    del cloud.objects[f"hydra-gce/{name}"]
    done = start(cloud, tmp_path / "prefix")
    reason = f"hydra-gce: gs://b/hydra-gce/{name}: HTTP 404 No such object"
    assert done.returncode == 1
    assert reason in done.stdout.splitlines()
    assert reason in cloud.objects[BOOT_REPORT].decode().splitlines()
    assert cloud.deleted == [INSTANCE]


def test_a_failed_environment_reaches_the_report(cloud: Cloud, tmp_path: Path, index: Path) -> None:
    want(cloud, f"--no-index\n--find-links {index}\ntinything==3.0\n")
    start(cloud, tmp_path / "prefix")
    assert "hydra-gce: environment: uv pip install failed" in cloud.objects[BOOT_REPORT].decode()
    assert cloud.deleted == [INSTANCE]


def test_a_vm_is_kept_for_a_look_where_the_person_asks_for_it(cloud: Cloud, tmp_path: Path) -> None:
    cloud.attributes["hydra-gce-keep-failed"] = "true"
    start(cloud, tmp_path / "prefix")
    assert "no attribute hydra-gce-environment" in cloud.objects[BOOT_REPORT].decode()
    assert not cloud.deleted


def test_an_agent_that_dies_takes_its_vm_along(cloud: Cloud, tmp_path: Path, index: Path) -> None:
    bake(tmp_path / "prefix", index, "tinything==1.0")
    want(cloud, "tinything==1.0")
    done = start(cloud, tmp_path / "prefix", AGENT_EXIT="3")
    assert done.returncode == 3
    assert (
        cloud.objects[BOOT_REPORT].decode().splitlines()[-1].startswith("hydra-gce: ended with exit code 3")
    )
    assert cloud.deleted == [INSTANCE]


def test_a_shutdown_is_no_failure_and_the_agent_can_write_to_its_end(
    cloud: Cloud, tmp_path: Path, index: Path
) -> None:
    bake(tmp_path / "prefix", index, "tinything==1.0")
    want(cloud, "tinything==1.0")
    machine = power_on(cloud, tmp_path / "prefix", AGENT_WAITS="1", AGENT_EXIT="1")
    assert machine.stdout is not None
    assert any(line == "agent waits\n" for line in machine.stdout)
    os.killpg(machine.pid, signal.SIGTERM)
    console, _ = machine.communicate(timeout=60)
    assert "agent has saved" in console
    assert not cloud.deleted
    assert BOOT_REPORT not in cloud.objects


def test_an_object_that_is_not_what_its_name_says_is_not_used(cloud: Cloud, tmp_path: Path) -> None:
    want(cloud, "")
    cloud.objects[f"hydra-gce/{cloud.attributes['hydra-gce-launcher']}"] = b"evil"
    done = start(cloud, tmp_path / "prefix")
    assert "is not what its name says" in done.stdout
    assert not (tmp_path / "prefix" / "launcher").exists()


def test_the_way_to_the_agent_is_short(cloud: Cloud, tmp_path: Path, index: Path) -> None:
    bake(tmp_path / "prefix", index, "tinything==1.0")
    want(cloud, "tinything==1.0")
    before = os.times()
    start(cloud, tmp_path / "prefix")
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    assert spent < 1.0, "the aim is 0.4 s on a quiet machine"


def with_a_power_button(folder: Path) -> dict[str, str]:
    """A PATH on which ``poweroff`` only says that it was called."""
    fake_command(folder, "poweroff", 'echo "the power goes off"')
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def test_a_vm_whose_agent_may_not_delete_it_is_powered_off(cloud: Cloud, tmp_path: Path, index: Path) -> None:
    bake(tmp_path / "prefix", index, "tinything==1.0")
    want(cloud, "tinything==1.0")
    done = start(
        cloud, tmp_path / "prefix", AGENT_EXIT=str(CANNOT_DELETE), **with_a_power_button(tmp_path / "bin")
    )
    assert "the power goes off" in done.stdout
    assert "only its disk costs" in done.stdout
    assert BOOT_REPORT not in cloud.objects, "its work is done: this is no boot that failed"
    assert not cloud.deleted


def test_a_vm_that_cannot_boot_and_may_not_delete_itself_is_powered_off(cloud: Cloud, tmp_path: Path) -> None:
    cloud.refuses_deletion = True
    done = start(cloud, tmp_path / "prefix", **with_a_power_button(tmp_path / "bin"))
    assert cloud.deleted == [INSTANCE]
    assert "compute.instances.delete" in done.stdout
    assert "the power goes off" in done.stdout
    assert BOOT_REPORT in cloud.objects


def test_a_vm_that_is_kept_for_a_look_keeps_its_power(cloud: Cloud, tmp_path: Path) -> None:
    cloud.attributes["hydra-gce-keep-failed"] = "true"
    done = start(cloud, tmp_path / "prefix", **with_a_power_button(tmp_path / "bin"))
    assert "the power goes off" not in done.stdout
