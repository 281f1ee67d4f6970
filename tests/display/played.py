"""A sweep that is played to a display, stage by stage: each goes on until the file with its number is there.

python played.py DIRECTORY JOBS
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from hydra_gce.display import Display
from hydra_gce.jobs import JobState
from hydra_gce.view import AttemptView, JobView, SweepView

START = 1_795_429_964.0
STAGE_S = 120.0
A, C = "us-central1-a", "us-central1-c"
LOGGED = "a line of the program's own log"


def job(num: int, state: JobState, cost: str = "0", **known: Any) -> JobView:
    facts: dict[str, Any] = {
        "overrides": [f"lr={num + 1}e-3", "seed=7"],
        "attempt": 1,
        "instance": f"hg-calm-otter-{num}",
        "zone": A,
        "machine": f"spot n1-standard-4 + T4 in {A}",
        **known,
    }
    return JobView(num=num, state=state, cost=Decimal(cost), **facts)


def at_work(num: int, step: int, value: float, cost: str, **known: Any) -> JobView:
    facts: dict[str, Any] = {
        "step": step,
        "total_steps": 4000,
        "metric_name": "val_miou",
        "metric": value,
        "best": value + 0.009,
        "history": [0.1, 0.4, 0.6, value + 0.009, value],
        "speed": 16.04,
        "speed_unit": "images/s",
        "steps_per_s": 2.0,
        "vm_seconds": 120.0,
        **known,
    }
    return job(num, JobState.RUNNING, cost, **facts)


def three_jobs() -> list[tuple[list[JobView], list[str]]]:
    """What there is to see in each stage, and what is told with it."""
    lost = {"attempt": 2, "previous_zone": A, "zone": C, "instance": "hg-calm-otter-1-2"}
    both = [
        AttemptView(1, "hg-calm-otter-1", A, 1260.0, Decimal("0.040")),
        AttemptView(2, "hg-calm-otter-1-2", C, 900.0, Decimal("0.031")),
    ]
    nobody: dict[str, Any] = {"attempt": 0, "zone": "", "instance": ""}
    cause = "RuntimeError: CUDA out of memory"
    return [
        ([job(num, JobState.PROVISIONING, **nobody) for num in range(3)], []),
        (
            [
                at_work(0, 1240, 0.781, "0.031"),
                at_work(1, 900, 0.744, "0.024"),
                job(2, JobState.BOOTING, "0.002", zone="us-east1-c", note="environment 38 s"),
            ],
            ["job 2 waits for us-central1-a, which is full; us-east1-c has room"],
        ),
        (
            [
                at_work(0, 1500, 0.79, "0.036"),
                at_work(1, 410, 0.7, "0.028", **lost),
                job(2, JobState.FAILED, "0.006", zone="us-east1-c", note=cause),
            ],
            [
                "VM hg-calm-otter-1 of job 1 was taken back (preempted) in us-central1-a",
                f"job 2 failed: {cause}",
                f"job 1 preempted in {A}, back in {C}, goes on from step 400",
            ],
        ),
        (
            [
                job(
                    0,
                    JobState.COMPLETED,
                    "0.058",
                    return_value=0.809,
                    vm_seconds=1860.0,
                    mlflow_run="77c0" * 8,
                ),
                job(
                    1,
                    JobState.COMPLETED,
                    "0.071",
                    return_value=0.823,
                    vm_seconds=2160.0,
                    mlflow_run="a41f" * 8,
                    by_attempt=both,
                    **lost,
                ),
                job(2, JobState.FAILED, "0.006", vm_seconds=240.0, note=cause),
            ],
            [],
        ),
    ]


def many_jobs(count: int) -> list[tuple[list[JobView], list[str]]]:
    nobody: dict[str, Any] = {"attempt": 0, "zone": "", "instance": "", "machine": ""}

    def at(num: int, done: int, working: int) -> JobView:
        if num < done and num % 10 == 9:
            return job(num, JobState.FAILED, "0.01", note="ValueError: seed")
        if num < done:
            return job(num, JobState.COMPLETED, "0.05", return_value=num / count)
        if num < done + working:
            return at_work(num, 100 + 7 * num, 0.5 + num / 1000, "0.02")
        return job(num, JobState.PENDING, **nobody)

    return [
        ([at(num, 0, 12) for num in range(count)], []),
        ([at(num, 72, 64) for num in range(count)], ["job 9 failed: ValueError: seed"]),
        ([at(num, count, 0) for num in range(count)], []),
    ]


def view(jobs: list[JobView], stage: int, news: Sequence[tuple[float, str]], directory: Path) -> SweepView:
    return SweepView(
        sweep="calm-otter",
        project="ml-lab",
        backend="cloud",
        jobs=jobs,
        started=START,
        now=START + STAGE_S * stage,
        machine="spot n1-standard-4 + T4",
        estimate="$0.16-0.31 (us-central1 cheapest)",
        code="code 41 files, 96 kB",
        news=list(news),
        mlflow="hydra-gce ui calm-otter",
        sweep_dir=str(directory),
        return_name="val_miou",
    )


def play(
    directory: Path, stages: Sequence[tuple[list[JobView], list[str]]], go_on: Callable[[int], bool]
) -> None:
    display = Display.for_terminal(sys.stdout, log_dir=directory)
    news: list[tuple[float, str]] = []
    for stage, (jobs, told) in enumerate(stages[:-1]):
        news += [(START + STAGE_S * stage, line) for line in told]
        while not go_on(stage):
            display.update(view(jobs, stage, news, directory))
            if stage == 1 and (directory / "log").exists():
                (directory / "log").unlink()
                logging.getLogger("their.program").warning(LOGGED)
            time.sleep(0.2)
    display.close(view(stages[-1][0], len(stages) - 1, news, directory))


if __name__ == "__main__":
    here, count = Path(sys.argv[1]), int(sys.argv[2])
    logging.basicConfig(stream=sys.stdout, format="%(message)s")
    play(here, three_jobs() if count == 3 else many_jobs(count), lambda stage: (here / str(stage)).exists())
