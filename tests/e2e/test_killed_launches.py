"""The launching machine dies at any moment (SIGKILL), and the same command is called again until it has ended."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from hydra_gce.cloud.backend import Backend
from hydra_gce.compute import GONE, HereCompute
from hydra_gce.labels import JOB_LABEL
from tests.e2e.project import PATIENCE_S, Ended, Project, eventually, hydra_gce

# Counts how often it was begun: a second VM for the same job would find the first one's output, and add to it.
COUNTS_ITS_RUNS = """
    from lengths import LENGTHS

    runs = out / "runs.txt"
    with runs.open("a") as file:
        file.write("begun\\n")
    time.sleep(LENGTHS[cfg.x])
    (out / "result.txt").write_text(str(cfg.x * cfg.x))
    return cfg.x * cfg.x
"""


@contextmanager
def counted_vms(engine: Backend) -> Iterator[Counter[str]]:
    """The most VMs at a time that each job was seen to have, by sweep and job."""
    most: Counter[str] = Counter()
    over = threading.Event()
    compute = HereCompute(engine)

    def look() -> None:
        while not over.wait(0.1):
            alive = [vm for vm in compute.instances() if vm.status not in GONE]
            now = Counter(f"{vm.sweep}/{vm.labels[JOB_LABEL]}" for vm in alive)
            for job, vms in now.items():
                most[job] = max(most[job], vms)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def launched_until_its_end(
    project: Project,
    overrides: list[str],
    kills: int,
    longest_s: float,
    rng: random.Random,
    patience_s: float = PATIENCE_S,
) -> Ended:
    """Kills the launch at random moments, so often; then lets it be."""
    for _ in range(kills):
        running = project.start(*overrides)
        with suppress(subprocess.TimeoutExpired):
            running.process.wait(rng.uniform(0.0, longest_s))
        if running.process.poll() is not None:
            return running.end()
        os.killpg(running.process.pid, signal.SIGKILL)
        running.process.wait()
    return project.launch(*overrides, patience_s=patience_s)


# Trains in steps that it saves, and counts how often it began at the first.
TRAINS = """
    saved = out / "step.txt"
    first = int(saved.read_text()) + 1 if saved.exists() else 0
    with (out / "runs.txt").open("a") as file:
        file.write("begun\\n" if first == 0 else "gone on\\n")
    for step in range(first, 4):
        time.sleep(0.2)
        saved.write_text(str(step))
    return cfg.x / (step + 1)
"""
POINTS = 12


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=[pytest.mark.slow, pytest.mark.timeout(1500)])])
def test_each_point_of_a_sweep_whose_launches_are_killed_is_trained_once(
    project: Project, engine: Backend, kills: int
) -> None:
    project.program(TRAINS)
    seed = random.SystemRandom().randrange(1000)
    points = "+x=" + ",".join(str(number) for number in range(POINTS))
    command = [points, "hydra.launcher.max_vms=4"]
    ended = launched_until_its_end(project, command, kills, 12.0, random.Random(seed), patience_s=600)

    assert ended.code == 0, f"seed {seed}: {ended.said}"
    for number in range(POINTS):
        runs = (project.sweep_dir / f"{number}/runs.txt").read_text()
        assert runs == "begun\n", f"seed {seed}: job {number}: {runs!r}\n{ended.said}"
    returned = json.loads(hydra_gce("attach", ended.sweep, "--json").out)["jobs"]
    assert [job["return_value"] for job in returned] == [number / 4 for number in range(POINTS)]
    assert not HereCompute(engine).instances(ended.sweep)


@pytest.mark.parametrize(
    "kills, seconds",
    [
        pytest.param(3, (1, 5, 15), id="3 times"),
        pytest.param(20, (1, 20, 60, 120), id="20 times", marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
    ],
)
def test_a_launch_that_is_killed_and_called_again_makes_no_vm_twice_and_loses_no_result(
    tmp_path: Path, engine: Backend, kills: int, seconds: tuple[int, ...]
) -> None:
    project = Project(tmp_path / "project")
    project.program(COUNTS_ITS_RUNS)
    project.write("lengths.py", f"LENGTHS = {list(seconds)}")
    points = ",".join(str(number) for number in range(len(seconds)))
    seed = random.SystemRandom().randrange(1000)
    try:
        with counted_vms(engine) as most:
            ended = launched_until_its_end(project, [f"+x={points}"], kills, 12.0, random.Random(seed))
    finally:
        project.close()

    assert ended.code == 0, f"seed {seed}: {ended.said}"
    for number in range(len(seconds)):
        out = project.sweep_dir / str(number)
        assert (out / "result.txt").read_text() == str(number * number), f"seed {seed}"
        assert (out / "runs.txt").read_text() == "begun\n", f"seed {seed}: job {number} was begun again"
    assert max(most.values()) == 1, f"seed {seed}: {most}"
    assert len({job.partition("/")[0] for job in most}) == 1, f"seed {seed}: {most}"
    eventually(lambda: not HereCompute(engine).instances(ended.sweep), "a VM is left", patience_s=PATIENCE_S)
