"""Batches of one sweeper whose VMs wait for the next one: they are used again, and none is left at the end."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from hydra_gce.bucket import SweepNames
from hydra_gce.cloud.backend import Backend
from hydra_gce.compute import HereCompute
from tests.e2e.project import Project, eventually, hydra_gce

BATCHES = ("hydra.sweeper.max_batch_size=2", "hydra.launcher.keep_warm_s=300")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path / "project")
    made.program("return cfg.x * 10")
    return made


def vms_made(engine: Backend, sweep: str) -> int:
    """Each VM leaves a record in the bucket."""
    return len(list(engine.bucket(None).list(SweepNames(sweep).vms)))


def vms_there(engine: Backend, sweep: str) -> list[str]:
    return [one.name for one in HereCompute(engine).instances(sweep)]


def test_vms_wait_for_the_next_batch_and_are_deleted_when_none_comes(
    project: Project, engine: Backend
) -> None:
    ended = project.launch("+x=1,2,3,4,5", *BATCHES)
    assert ended.code == 0, ended.said
    assert vms_made(engine, ended.sweep) == 2, ended.said
    assert "2 VMs wait for the next points, for 300 s" in ended.out
    assert ended.out.count("for these points, ") == 2, "of three batches, the first has none before it"
    assert ended.out.rstrip().endswith("no VM is left")
    assert vms_there(engine, ended.sweep) == []
    assert "no launcher wrote down" not in hydra_gce("cost", ended.sweep).out
    for x in range(1, 6):
        assert re.search(rf"\+x={x} +{10 * x} ", ended.out), ended.out


def test_where_no_batch_can_follow_none_waits(project: Project, engine: Backend) -> None:
    ended = project.launch("+x=1,2", "hydra.launcher.keep_warm_s=300")
    assert ended.code == 0, ended.said
    assert "no VM is left" in ended.out
    assert vms_there(engine, ended.sweep) == []
    assert "no launcher wrote down" not in hydra_gce("cost", ended.sweep).out


def test_vms_that_wait_are_deleted_when_the_search_fails(project: Project, engine: Backend) -> None:
    project.program("return 1 / (cfg.x - 3)")
    ended = project.launch("+x=1,2,3,4,5", *BATCHES)
    assert ended.code == 1
    assert "ZeroDivisionError" in ended.said
    assert "no VM is left" in ended.out
    assert vms_there(engine, ended.sweep) == []


def test_vms_that_wait_delete_themselves_where_their_launcher_was_killed(
    project: Project, engine: Backend
) -> None:
    project.write(
        "idle.py",
        """
        import time

        from hydra.experimental.callback import Callback


        class Idle(Callback):
            def on_multirun_end(self, **kwargs):
                time.sleep(600)
        """,
    )
    running = project.start(
        "+x=1,2",
        "hydra.sweeper.max_batch_size=2",
        "hydra.launcher.keep_warm_s=5",
        "+hydra.callbacks.idle._target_=idle.Idle",
        env={"PYTHONPATH": os.pathsep.join([str(project.directory), os.environ.get("PYTHONPATH", "")])},
    )
    try:
        sweep = running.sweep()
        running.until("2 VMs wait for the next points, for 5 s")
        os.killpg(running.process.pid, signal.SIGKILL)
        eventually(lambda: not vms_there(engine, sweep), "VMs are left")
    finally:
        running.kill()
