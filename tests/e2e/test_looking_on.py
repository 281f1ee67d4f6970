"""A sweep that runs, looked at with the commands: its log as it is printed, its VMs, a shell there, its outputs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_schemas import check
from tests.e2e.project import Project, Running, eventually, hydra_gce

STEPS = """
    import sys
    (out / "notes").mkdir(exist_ok=True)
    step = 0
    while not Path("/tmp/enough").exists():  # on the VM
        print(f"step {step} of {cfg.x}")
        (out / "notes" / "step.txt").write_text(str(step))
        sum(n * n for n in range(100_000))  # it is busy
        step += 1
        time.sleep(0.2)
    return cfg.x
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Two jobs that go on until the file ``/tmp/enough`` is on their VMs."""
    project = Project(tmp_path_factory.mktemp("looking") / "project")
    project.program(STEPS)
    launch = project.start("+x=1,2")
    try:
        sweep = launch.sweep()
        eventually(lambda: "step 1 of 2" in hydra_gce("logs", sweep, "--job", "1").out, "job 1 never ran")
        yield launch
    finally:
        project.close()


def asked(*words: str) -> Any:
    done = hydra_gce(*words, "--json")
    assert done.code == 0, done.said
    return json.loads(done.out)


def test_the_log_is_followed_over_all_jobs(running: Running) -> None:
    words = [sys.executable, "-m", "hydra_gce.cli", "logs", "-f", running.sweep()]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        seen: dict[str, list[int]] = {"0": [], "1": []}
        while any(len(steps) < 20 for steps in seen.values()):
            job, _, line = process.stdout.readline().partition(" | ")
            if line.startswith("step "):
                seen[job].append(int(line.split()[1]))
        process.stdout.close()
        assert process.wait(60) == 0
    for steps in seen.values():
        assert steps == list(range(len(steps)))


def test_how_busy_the_vms_are_is_known(running: Running) -> None:
    def vms() -> list[dict[str, Any]] | None:
        found: list[dict[str, Any]] = asked("top", running.sweep())["vms"]
        return found if len(found) == 2 and all(one["usage"] for one in found) else None

    for vm in eventually(vms, "the agents never said how busy they are"):
        assert vm["usage"]["cpu"] > 0
        assert 0 < vm["usage"]["memory_used"] < vm["usage"]["memory_total"]
        assert 0 < vm["usage"]["disk_used"] < vm["usage"]["disk_total"]
        assert vm["vm"].startswith(f"hg-{running.sweep()}-")
    assert "RUNNING" in hydra_gce("top", running.sweep()).out


def test_each_job_is_shown_and_the_sweep_listed(running: Running) -> None:
    content = asked("show", running.sweep())
    assert [one["state"] for one in content["jobs"]] == ["RUNNING", "RUNNING"]
    assert content["cost_usd"] > 0
    (row,) = [one for one in asked("ls", "--backend", "local") if one["sweep"] == running.sweep()]
    assert (row["jobs"], row["launcher_alive"], len(row["vms"])) == ({"RUNNING": 2}, True, 2)


def test_outputs_come_while_the_job_runs(running: Running, tmp_path: Path) -> None:
    to = tmp_path / "here"

    def newer_than(step: int) -> int | None:
        done = hydra_gce("pull", running.sweep(), "1", "notes", "--to", str(to))
        now = int((to / "notes" / "step.txt").read_text()) if done.code == 0 else -1
        return now if now > step else None

    first = eventually(lambda: newer_than(0), "no outputs came")
    assert eventually(lambda: newer_than(first), "no newer outputs came") > first


def test_a_command_in_the_vm_and_then_all_come_to_their_end(running: Running) -> None:
    sweep = running.sweep()
    for job in ("0", "1"):
        told = hydra_gce("ssh", sweep, job, "--", "sh", "-c", "touch /tmp/enough && hostname")
        assert told.out.strip() == f"hg-{sweep}-{job}", told.said
    followed = hydra_gce("logs", "-f", sweep)  # ends with the sweep
    assert followed.code == 0
    assert running.end().code == 0
    assert asked("show", sweep)["state"] == "ended"
    assert hydra_gce("show", sweep, "--exit-code").code == 0
    come_back = asked("attach", sweep)
    check("attach", come_back)
    assert [one["return_value"] for one in come_back["jobs"]] == [1, 2]
