"""A VM that is taken back, and one that somebody deletes: their jobs go on in others, from what was saved."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from hydra_gce.bucket import SweepNames
from hydra_gce.cloud.backend import Backend
from hydra_gce.compute import HereCompute
from tests.e2e.project import Ended, Project, eventually

# The first attempt counts and saves until it is told to stop; the second finds what was saved and ends.
RESUMES = """
    import signal, sys

    saved = out / "step.txt"
    stopped = out / "stopped.txt"
    if saved.exists():
        return {"step": int(saved.read_text()), "stopped": stopped.exists() and int(stopped.read_text())}

    def stop(number, frame):
        time.sleep(3)  # a large checkpoint
        stopped.write_text(saved.read_text())
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    for step in range(3000):
        if step % 10 == 0:
            saved.write_text(str(step))
        time.sleep(0.1)
    raise RuntimeError("nobody took this VM")
"""


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory, engine: Backend) -> Iterator[tuple[Project, Ended]]:
    """Job 0 loses its spot VM to Compute Engine, job 1 to somebody who deletes it."""
    project = Project(tmp_path_factory.mktemp("lost") / "project")
    project.program(RESUMES)
    running = project.start("+x=1,2", "hydra.launcher.vm.provisioning=spot")
    try:
        sweep = running.sweep()
        for job in (0, 1):
            wait_for_output(engine, sweep, job)
        first, second = sorted(
            HereCompute(engine).instances(sweep), key=lambda vm: vm.labels["hydra-gce-job"]
        )
        project_name, zone = engine.project, first.zone.rpartition("/")[2]
        engine.instances.simulate_maintenance_event_unary(
            project=project_name, zone=zone, instance=first.name
        )
        engine.instances.delete_unary(project=project_name, zone=zone, instance=second.name)
        yield project, running.end()
    finally:
        project.close()


def wait_for_output(engine: Backend, sweep: str, job: int) -> None:
    """The program runs, and has saved."""
    prefix = SweepNames(sweep).output(job, 1)
    bucket = engine.bucket(None)
    eventually(
        lambda: any(entry.name.endswith("/step.txt") for entry in bucket.list(prefix)),
        f"no output of job {job} came into the bucket",
    )


def test_their_jobs_end_well_in_other_vms(sweep: tuple[Project, Ended]) -> None:
    _, ended = sweep

    assert ended.code == 0, ended.said
    for job in (0, 1):
        assert re.search(rf"job {job}  COMPLETED.*attempt 2", ended.out), ended.out


@pytest.mark.parametrize("job", [0, 1], ids=["preempted", "deleted"])
def test_the_next_attempt_finds_what_was_saved_to_the_last(sweep: tuple[Project, Ended], job: int) -> None:
    """Compute Engine shuts the guest down before a VM is gone, whoever takes it."""
    project, _ = sweep

    step = (project.sweep_dir / f"{job}/step.txt").read_text()
    assert int(step) > 0
    assert (project.sweep_dir / f"{job}/stopped.txt").read_text() == step


def test_the_table_shows_attempts_and_the_cost_of_them_all(sweep: tuple[Project, Ended]) -> None:
    _, ended = sweep

    rows = [line for line in ended.out.splitlines() if re.match(r"[01]  \+x=", line)]
    assert len(rows) == 2
    for row in rows:
        assert re.search(r"\}\s+2\s+\d+:\d\d\s+\$0\.\d+", row), row


def test_it_says_which_vm_was_lost_and_where_the_job_goes_on(sweep: tuple[Project, Ended]) -> None:
    _, ended = sweep

    for job in (0, 1):
        assert re.search(rf"VM \S+ of job {job} (was taken back|is gone).* in \S+", ended.out)
        assert re.search(rf"job {job} goes on in \S+", ended.out)


def test_no_vm_is_left(sweep: tuple[Project, Ended], engine: Backend) -> None:
    assert not HereCompute(engine).instances(sweep[1].sweep)
