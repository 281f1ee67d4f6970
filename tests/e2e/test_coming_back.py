"""A sweep is left, looked at from a machine that knows nothing of it, changed while it runs, and run again."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pexpect
import pytest

from hydra_gce.cloud.backend import Backend
from hydra_gce.compute import HereCompute
from hydra_gce.lease import Holder
from hydra_gce.owner import owner_here
from tests.e2e.on_server import TOLD, tell
from tests.e2e.person import terminal_of
from tests.e2e.project import Ended, Project, eventually, hydra_gce

pytestmark = pytest.mark.timeout(600)

# Counts how often it was begun, and ends when it is told to.
WAITS = (
    TOLD
    + """
    with (out / "runs.txt").open("a") as file:
        file.write("begun\\n")
    print("well under way", flush=True)
    while not told("end"):
        time.sleep(0.1)
    (out / "result.txt").write_text(str(cfg.x * cfg.x))
    return cfg.x * cfg.x
"""
)
QUESTION = r"\[d\]etach .*\[c\]ancel all jobs, \[k\]eep watching\? "
COUNTS = """
    from step import STEP

    with (out / "runs.txt").open("a") as file:
        file.write("begun\\n")
    return STEP * cfg.x
"""
# Fails the first time, and goes on from what that has left.
FAILS_ONCE = """
    marker = out / "was_here.txt"
    if cfg.x == 1 and not marker.exists():
        marker.write_text("1")
        raise ValueError("the first time")
    return cfg.x
"""


FAILS_OR_LASTS = """
    if cfg.x == 0:
        raise ValueError("no")
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def no_watcher_is_left(hydra_gce_home: Path) -> Iterator[None]:
    yield
    for log in (hydra_gce_home / "watchers").glob("*.log"):
        hydra_gce("down", log.stem)
        end_watcher(log.stem)


def end_watcher(sweep: str, number: int = signal.SIGKILL) -> None:
    """The process in the background that watches the sweep, if there is one."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if b"--in-background" in words and sweep.encode() in words:
                os.kill(int(entry.name), number)


def files_in(directory: Path) -> dict[str, bytes]:
    """But for Hydra's own, which tell the time of the launch."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not {".hydra", "multirun.yaml"} & set(path.parts) and path.suffix != ".log"
    }


def attach(*arguments: str) -> tuple[Ended, dict[str, Any]]:
    ended = hydra_gce("attach", *arguments, "--json")
    return ended, json.loads(ended.out) if ended.out.strip() else {}


def started(engine: Backend, sweep: str, jobs: int) -> None:
    """All VMs are there, so that they can be told something."""
    eventually(lambda: len(HereCompute(engine).instances(sweep)) == jobs, "there never were so many VMs")


def test_a_launch_that_does_not_wait_is_ended_by_whoever_comes_back_from_anywhere(
    project: Project, engine: Backend, hydra_gce_home: Path, tmp_path: Path
) -> None:
    project.program(WAITS)
    watched = project.start("+x=1,2")
    sweep = watched.sweep()
    started(engine, sweep, 2)
    tell(engine, sweep, "end")
    assert watched.end().code == 0
    expected = files_in(project.sweep_dir)

    left = project.launch("+x=1,2", "hydra.launcher.wait=false", f"hydra.sweep.dir={tmp_path}/left")
    assert left.code == 0, left.said
    assert f"hydra-gce attach {left.sweep}" in left.out
    started(engine, left.sweep, 2)
    eventually(lambda: (hydra_gce_home / f"watchers/{left.sweep}.log").exists(), "nobody watches")
    end_watcher(left.sweep)
    for state in ("sweeps", "locks", "cache"):
        shutil.rmtree(hydra_gce_home / state, ignore_errors=True)
    shutil.rmtree(tmp_path / "left", ignore_errors=True)
    tell(engine, left.sweep, "end")
    ended, came = attach(left.sweep, "--backend", "local", "--to", str(tmp_path / "here"))

    assert ended.code == 0, ended.said
    assert [(job["job"], job["state"], job["return_value"]) for job in came["jobs"]] == [
        (0, "COMPLETED", 1),
        (1, "COMPLETED", 4),
    ]
    assert files_in(tmp_path / "here") == expected
    assert not HereCompute(engine).instances(left.sweep)


def test_a_person_leaves_with_ctrl_c_comes_back_and_the_one_in_the_background_makes_way(
    project: Project, engine: Backend
) -> None:
    project.program(WAITS)
    with terminal_of(project.command("+x=3"), project.directory) as terminal:
        terminal.expect(r"sweep ([a-z]+-[a-z]+)")
        sweep = terminal.match[1]
        terminal.expect("RUNNING")
        terminal.sendintr()
        terminal.expect(QUESTION)
        terminal.sendline("k")
        terminal.expect("RUNNING")
        terminal.sendintr()
        terminal.expect(QUESTION)
        terminal.sendintr()  # the second time is an answer
        terminal.expect("the VMs go on: hydra-gce attach")
        terminal.expect(pexpect.EOF)
        terminal.wait()
        assert terminal.exitstatus == 130
    assert HereCompute(engine).instances(sweep)
    eventually(lambda: holder(engine, sweep), "nobody watches in the background")

    tell(engine, sweep, "end")
    ended, came = attach(sweep)
    assert ended.code == 0, ended.said
    assert [job["return_value"] for job in came["jobs"]] == [9]
    assert (project.sweep_dir / "0/runs.txt").read_text() == "begun\n"


def holder(engine: Backend, sweep: str) -> Holder | None:
    """Who watches the sweep in the background."""
    content = engine.bucket(None).read(f"sweeps/{sweep}/watcher")
    found = Holder(**json.loads(content)) if content else None
    return found if found and found.background else None


def test_jobs_are_cancelled_from_outside_and_by_ctrl_c(project: Project, engine: Backend) -> None:
    project.program(WAITS)
    running = project.start("+x=1,2,3")
    sweep = running.sweep()
    started(engine, sweep, 3)
    running.until("job 1  RUNNING")
    cancelled = hydra_gce("cancel", sweep, "1")
    assert cancelled.code == 0 and "job 1 has ended" in cancelled.out, cancelled.said
    refused = hydra_gce("cancel", sweep, "7")
    assert refused.code == 3 and "has no job 7; it has 0-2" in refused.err, refused.said
    assert running.process.poll() is None
    running.process.send_signal(signal.SIGINT)
    ended = running.end()

    assert ended.code == 130, ended.said
    assert "job 0  CANCELLED" in ended.out and "job 1  CANCELLED" in ended.out, ended.said
    assert f"jobs 0, 1, 2 cancelled by {owner_here()}" in ended.out, ended.said
    assert "no VM is left" in ended.out and "Traceback" not in ended.said, ended.said
    assert (project.sweep_dir / "0/runs.txt").read_text() == "begun\n"  # what was saved came home
    again = hydra_gce("cancel", sweep)
    assert "nothing to cancel" in again.out, again.said


def test_failed_jobs_are_run_again_by_hand_from_what_they_left(project: Project) -> None:
    project.program(FAILS_ONCE)
    failed = project.launch("+x=0,1")
    assert failed.code != 0 and "job 1  FAILED" in failed.out, failed.said
    again = hydra_gce("retry", failed.sweep)

    assert again.code == 0, again.said
    assert f"sweep {failed.sweep}: begun again: job 1" in again.out
    ended, came = attach(failed.sweep)
    assert ended.code == 0, ended.said
    assert [job["return_value"] for job in came["jobs"]] == [0, 1]
    assert "no job of sweep" in hydra_gce("retry", failed.sweep).out
    refused = hydra_gce("retry", failed.sweep, "0")
    assert refused.code != 0 and "job 0 of sweep" in refused.err, refused.said


def test_failed_jobs_are_run_again_by_themselves_as_often_as_is_allowed(project: Project) -> None:
    project.program(FAILS_ONCE)
    ended = project.launch("+x=0,1", "hydra.launcher.retries=1")
    assert ended.code == 0, ended.said
    assert "job 1 failed (ValueError: the first time); it is begun again (1 of 1)" in ended.out


def test_a_failure_may_stop_the_others_and_a_sweeper_may_get_a_number(
    project: Project, engine: Backend
) -> None:
    project.program(FAILS_OR_LASTS)
    ended = project.launch("+x=0,1", "hydra.launcher.on_failure=stop", "hydra.launcher.failed_value=nan")
    assert ended.code == 0, ended.said
    assert "job 0 failed, and hydra.launcher.on_failure=stop: the others are cancelled" in ended.out
    assert "job 1  CANCELLED" in ended.out
    assert not HereCompute(engine).instances(ended.sweep)


def runs(project: Project) -> list[int]:
    """How often each point of the newest launch was begun."""
    counted = (path.read_text().count("begun") for path in sorted(project.sweep_dir.glob("*/runs.txt")))
    return list(counted)


def test_the_same_command_again_takes_what_is_completed_and_runs_the_rest(project: Project) -> None:
    project.program(COUNTS)
    project.write("step.py", "STEP = 1\n")
    first = project.launch("+x=1,2")
    assert first.code == 0, first.said
    more = project.launch("+x=1,2,3")
    assert more.code == 0, more.said
    assert more.sweep == first.sweep
    assert "2 of 3 points are completed" in more.out
    assert "job 2 runs for the first time" in more.out
    assert runs(project) == [1, 1, 1]

    project.write("step.py", "STEP = 10\n")
    kept = project.launch("+x=1,2,3", "hydra.launcher.on_changed=keep")
    assert "keep their result, though the code or data is another now" in kept.out, kept.said
    assert runs(project) == [1, 1, 1]
    changed = project.launch("+x=1,2,3")
    assert changed.code == 0, changed.said
    assert "jobs 0, 1, 2 run again: the code changed since; from nothing" in changed.out
    assert runs(project) == [1, 1, 1]  # each from nothing
    _, came = attach(first.sweep)
    assert [job["return_value"] for job in came["jobs"]] == [10, 20, 30]

    anew = project.launch("+x=1", "hydra.launcher.resume=never")
    assert anew.code == 0 and anew.sweep != first.sweep, anew.said
    elsewhere = project.launch(
        "+x=5,3", f"hydra.launcher.resume={first.sweep}", f"hydra.sweep.dir={project.directory}/other"
    )
    assert elsewhere.code == 0, elsewhere.said
    assert "1 of 2 points are completed" in elsewhere.out
    assert (project.directory / "other/1/runs.txt").read_text() == "begun\n"
    assert "job 3 runs for the first time" in elsewhere.out
