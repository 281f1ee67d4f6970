"""A sweep on a bad day: zones full, answers lost, VMs taken back, hung and broken; it ends as on a good one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hydra_gce.cloud.backend import Backend, connect
from hydra_gce.compute import HereCompute
from tests.chaos.program import PROGRAM, STEPS, right_result, value
from tests.e2e.project import Project, eventually

ZONES = ("us-central1-a", "us-central1-b", "us-east1-c", "us-east1-b", "us-west1-a")
FULL = ZONES[:3]


def bad_day(seed: int, preemptions: int, hangs: int, broken: int) -> dict[str, Any]:
    return {
        "seed": seed,
        "stock": [{"zones": list(FULL), "vms": 0}],
        "quotas": [{"region": "us-east1", "metric": "CPUS", "limit": 8}],
        "errors": [
            {
                "methods": "instances.insert",
                "share": 0.1,
                "answer": {"status": 403, "reason": "rateLimitExceeded"},
            },
            {"methods": ["instances.*", "zoneOperations.*"], "share": 0.05, "lost": True},
            {
                "methods": "storage.objects.*",
                "share": 0.01,
                "answer": {"status": 503, "reason": "backendError", "message": "Backend Error"},
            },
            {
                "methods": "storage.objects.*",
                "share": 0.005,
                "answer": {"status": 429, "reason": "rateLimitExceeded", "message": "Slow down"},
            },
            {"methods": "storage.objects.*", "share": 0.005, "cut": True},
        ],
        "vms": [
            {"event": "boot_failure", "share": 0.2, "times": broken, "after_s": 0},
            {"event": "hang", "share": 0.2, "times": hangs, "after_s": [3, 8]},
            {"event": "preempt", "share": 0.8, "times": preemptions, "after_s": [2, 6]},
        ],
    }


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An embedded Compute Engine of the test's own."""
    path = tmp_path / "home"
    monkeypatch.setenv("HYDRA_GCE_HOME", str(path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    yield path
    subprocess.run([sys.executable, "-m", "hydra_gce.local", "stop"], check=True, timeout=120)


def local(*arguments: str) -> str:
    command = [sys.executable, "-m", "hydra_gce.local", *arguments]
    return subprocess.run(command, check=True, timeout=120, capture_output=True, text=True).stdout


@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    "seed, jobs, preemptions, hangs, broken",
    [
        pytest.param(1, 6, 3, 1, 1, id="6-jobs"),
        *(
            pytest.param(seed, 40, 15, 3, 2, id=f"40-jobs-seed-{seed}", marks=pytest.mark.chaos)
            for seed in range(10)
        ),
    ],
)
def test_all_results_are_right_and_nothing_is_left(
    home: Path, tmp_path: Path, seed: int, jobs: int, preemptions: int, hangs: int, broken: int
) -> None:
    scenario = tmp_path / "bad-day.yaml"
    scenario.write_text(json.dumps(bad_day(seed, preemptions, hangs, broken)))
    local("chaos", str(scenario))
    project = Project(tmp_path / "project")
    project.write("app.py", PROGRAM)
    try:
        ended = project.launch(
            f"+x=range(0,{jobs})",
            "hydra.launcher.vm.provisioning=spot",
            f"hydra.launcher.vm.zones=[{','.join(ZONES)}]",
            "hydra.launcher.tracking.mode=auto",
            "hydra.launcher.heartbeat_timeout_s=30",
            "hydra.launcher.boot_timeout_s=60",
            "hydra.launcher.preempt_grace_s=5",
            "hydra.launcher.wait_for_room_minutes=20",
            patience_s=1400,
        )
        happened = json.loads(local("chaos", "status", "--json"))["happened"]
        local("chaos", "off")

        assert ended.code == 0, ended.said
        for x in range(jobs):
            assert_whole(project.sweep_dir / str(x), x)
        assert_tracked(ended.sweep, jobs)
        assert happened["vms"] == [broken, hangs, preemptions], happened
        assert happened["stock"][0] >= len(FULL)
    finally:
        project.close()
    assert_nothing_is_left(connect("local", None), home)


def assert_whole(out: Path, x: int) -> None:
    for step in range(STEPS):
        assert (out / f"part-{step}.txt").read_text() == f"{x}:{step}"
    assert json.loads((out / "state.json").read_text()) == [right_result(x), STEPS]
    assert (out / "app.log").exists()
    assert (out / ".hydra/overrides.yaml").read_text().strip() == f"- +x={x}"


def assert_tracked(sweep: str, jobs: int) -> None:
    """Each job has one run, finished, with each step's metric."""
    import mlflow

    client = mlflow.MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    of_jobs = {run.data.params["x"]: run for run in runs if "x" in run.data.params}
    assert len(runs) == jobs + 1, [run.data.tags for run in runs]
    assert set(of_jobs) == {str(x) for x in range(jobs)}
    for x in range(jobs):
        run = of_jobs[str(x)]
        assert run.info.status == "FINISHED"
        history = client.get_metric_history(run.info.run_id, "value")
        assert {metric.step: metric.value for metric in history} == {
            step: value(x, step) for step in range(STEPS)
        }


def assert_nothing_is_left(engine: Backend, home: Path) -> None:
    eventually(lambda: not HereCompute(engine).instances(), "a VM is left")
    disks = [
        disk.name for _, scope in engine.disks.aggregated_list(project=engine.project) for disk in scope.disks
    ]
    assert disks == []
    assert not list((home / "local" / "vms").glob("*/*")), "a VM's directory is left"
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert not [line for line in processes.splitlines() if str(home / "local" / "vms") in line]
