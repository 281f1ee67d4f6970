"""Launches that are killed or interrupted in the middle, and what becomes of their VMs."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from hydra_gce.cloud.backend import Backend
from hydra_gce.compute import HereCompute
from tests.e2e.project import Project, eventually, hydra_gce

LONG = """
    print("well under way", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def long(project: Project) -> Project:
    project.program(LONG)
    return project


def test_after_the_launcher_was_killed_ls_shows_what_runs_and_down_removes_it(
    long: Project, engine: Backend
) -> None:
    running = long.start()
    sweep = running.sweep()
    running.until("job 0  (BOOTING|RUNNING)")

    os.killpg(running.process.pid, signal.SIGKILL)
    running.process.wait()
    shown = hydra_gce("ls", "--backend", "local")
    listed = json.loads(hydra_gce("ls", "--backend", "local", "--json").out)
    gone = hydra_gce("down", sweep)

    assert sweep in shown.out
    assert f"nobody watches them: hydra-gce down {sweep}" in shown.out
    [row] = [row for row in listed if row["sweep"] == sweep]
    assert not row["launcher_alive"]
    assert [vm["name"] for vm in row["vms"]] == [f"hg-{sweep}-0"]
    assert gone.code == 0
    assert f"VM hg-{sweep}-0 in " in gone.out
    assert "nothing is left" in gone.out
    assert not HereCompute(engine).instances(sweep)


def test_an_interrupt_where_nobody_can_be_asked_deletes_the_vms_and_says_so(
    long: Project, engine: Backend
) -> None:
    running = long.start()
    sweep = running.sweep()
    running.until("job 0  (BOOTING|RUNNING)")

    running.process.send_signal(signal.SIGINT)
    ended = running.end()

    assert ended.code not in (0, -signal.SIGINT)
    assert "no VM is left" in ended.out
    assert "Traceback" not in ended.said
    assert not HereCompute(engine).instances(sweep)


def processes_of(home: Path) -> list[str]:
    """Command lines of all processes that work in this home."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes()
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(home).encode() in environment or str(home) in command:
            found.append(command)
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nothing_outlives_the_longest_run_though_launcher_and_server_were_killed(
    long: Project, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    env = {"HYDRA_GCE_HOME": str(home)}
    running = long.start("hydra.launcher.vm.max_run_hours=0.0084", env=env)  # Compute Engine's least: 30 s
    running.until("job 0  (BOOTING|RUNNING)")
    server = json.loads((home / "local/server.json").read_text())["pid"]

    os.killpg(running.process.pid, signal.SIGKILL)
    os.kill(server, signal.SIGKILL)
    running.process.wait()

    assert processes_of(home), "the VM went with its server: nothing is tried here"
    eventually(lambda: not processes_of(home), "it lives on:", lambda: "\n".join(processes_of(home)))
