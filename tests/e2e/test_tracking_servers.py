"""VMs that log to a server with users themselves, plainly and durably: the same records as without us."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from mlflow import MlflowClient

from bench.mlflow_server import MLflowServer, User
from hydra_gce.cloud.backend import Backend
from hydra_gce.compute import HereCompute
from tests.e2e import project as projects
from tests.e2e.on_server import TOLD, runs_in, server_for_vms, steps_of, tags_of, tell
from tests.e2e.project import Ended, Project
from tests.tracking.recorded import differences, runs_below

pytestmark = pytest.mark.timeout(900)

MODES = {
    "direct": ("hydra.launcher.tracking.mode=direct",),
    "durable": ("hydra.launcher.tracking.mode=direct", "hydra.launcher.tracking.durable=true"),
}
LAST_BEFORE, LAST = 9, 19
# The first attempt at point 0 waits at its half for its VM to be taken; the second goes on from what was saved.
TRAINS = f"""
    import signal, sys
    import mlflow

    saved = out / "step.txt"
    first = int(saved.read_text()) + 1 if saved.exists() else 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with mlflow.start_run():
        mlflow.log_params({{"x": cfg.x, "depth": 4}})
        mlflow.set_tag("stage", "first")
        if first == 0:
            with mlflow.start_run(run_name="fold", nested=True):
                mlflow.log_metric("fold_loss", 0.25)
        for step in range(first, {LAST} + 1):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
            saved.write_text(str(step))
            if step == {LAST_BEFORE}:
                mlflow.log_text("half", "notes/half.txt")
                while cfg.waits and cfg.x == 0 and first == 0:
                    time.sleep(0.1)
        mlflow.set_tag("stage", "second")
        mlflow.log_artifact(str(saved))
    return 1 / (step + 1)
"""
# Logs a step and notes how long that took, until it is told to end.
LOGS = (
    TOLD
    + """
    import json
    import mlflow

    taken = []
    with mlflow.start_run():
        while not taken or len(taken) % 50 or not told("end"):
            began = time.perf_counter()
            mlflow.log_metric("loss", 1 / (len(taken) + 1), step=len(taken))
            taken.append(time.perf_counter() - began)
            time.sleep(0.05)
    (out / "taken.json").write_text(json.dumps(taken))
"""
)
DOWN_S = 8.0
PATIENCE_S = 300.0


# Servers, VMs and relays together are more than two busy cores do quickly.
eventually = partial(projects.eventually, patience_s=PATIENCE_S)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MLflowServer]:
    with server_for_vms(
        tmp_path_factory.mktemp("server"), User("ada", "correct horse: battery/staple")
    ) as one:
        yield one


@dataclass(frozen=True)
class Swept:
    """A sweep whose VM of point 0 was taken back in the middle."""

    ended: Ended
    experiment: str


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the program leaves in MLflow without us."""
    directory = tmp_path_factory.mktemp("plain")
    project = Project(directory / "project")
    project.program(TRAINS)
    uri = f"sqlite:///{directory / 'mlflow.db'}"
    command = [sys.executable, "app.py", "-m", "+x=0,1", "+waits=false", f"hydra.sweep.dir={directory}/sweep"]
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_TRACKING_URI", uri)
        environment.setenv("MLFLOW_EXPERIMENT_NAME", "plain")
        subprocess.run(command, cwd=project.directory, check=True, timeout=200)
    return runs_below(MlflowClient(uri), "plain", ours=False)


def has_half(server: MLflowServer, experiment: str) -> bool:
    """What point 0's program logs last before it waits."""
    points = [run for run in runs_in(server, experiment) if tags_of(run).get("hydra_gce.job") == "0"]
    client = MlflowClient(server.uri)
    return any(client.list_artifacts(run.info.run_id, "notes") for run in points)


@pytest.fixture(scope="module", params=list(MODES))
def swept(
    request: pytest.FixtureRequest,
    server: MLflowServer,
    engine: Backend,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Swept]:
    experiment = f"membrane-{request.param}"
    project = Project(tmp_path_factory.mktemp("swept") / "project")
    project.program(TRAINS)
    try:
        running = project.start(
            "+x=0,1",
            "+waits=true",
            "hydra.launcher.vm.provisioning=spot",
            *MODES[request.param],
            env={**server.environment, "MLFLOW_EXPERIMENT_NAME": experiment},
        )
        sweep = running.sweep()
        eventually(
            lambda: has_half(server, experiment),
            "the first attempt's half never came to the server",
            lambda: running.out + running.err,
        )
        (vm,) = [vm for vm in HereCompute(engine).instances(sweep) if vm.labels["hydra-gce-job"] == "0"]
        engine.instances.simulate_maintenance_event_unary(
            project=engine.project, zone=vm.zone.rpartition("/")[2], instance=vm.name
        )
        yield Swept(running.end(PATIENCE_S), experiment)
    finally:
        project.close()


def test_the_server_has_what_the_program_leaves_without_us(
    swept: Swept, server: MLflowServer, plain: list[dict[str, Any]]
) -> None:
    assert swept.ended.code == 0, swept.ended.said
    assert differences(plain, runs_below(MlflowClient(server.uri), swept.experiment, ours=True)) == []


def test_each_point_has_one_run_below_the_sweeps_also_after_a_preemption(
    swept: Swept, server: MLflowServer
) -> None:
    runs = runs_in(server, swept.experiment)
    (parent,) = [run for run in runs if tags_of(run)["hydra_gce.role"] == "sweep"]
    points = {tags_of(run)["hydra_gce.job"]: run for run in runs if tags_of(run)["hydra_gce.role"] == "point"}
    assert len(runs) == 5, [tags_of(run) for run in runs]  # a fold in each
    assert parent.info.run_name == swept.ended.sweep and parent.info.status == "FINISHED"
    assert set(points) == {"0", "1"}
    for point in points.values():
        assert tags_of(point)["mlflow.parentRunId"] == parent.info.run_id
    assert [tags_of(points[job])["hydra_gce.attempt"] for job in ("0", "1")] == ["2", "1"]
    assert [tags_of(points[job])["hydra_gce.preemptions"] for job in ("0", "1")] == ["1", "0"]


def test_a_server_that_is_down_costs_a_durable_program_nothing(
    server: MLflowServer, engine: Backend, project: Project
) -> None:
    """Down in both ways: it hangs, and it is gone."""
    project.program(LOGS)
    running = project.start(
        "+x=0", *MODES["durable"], env={**server.environment, "MLFLOW_EXPERIMENT_NAME": "outage"}
    )
    sweep = running.sweep()

    def steps() -> list[int]:
        return steps_of(server, "outage", 0, "loss")

    def said() -> str:
        return running.out + running.err

    eventually(steps, "no step came to the server", said)
    server.freeze()
    time.sleep(DOWN_S)  # how long it is down, not how long something is waited for
    server.thaw()
    known = len(steps())
    eventually(lambda: len(steps()) > known + 20, "it did not go on after the server hung", said)
    server.kill()
    time.sleep(DOWN_S)
    server.start()
    known = len(steps())
    eventually(lambda: len(steps()) > known + 20, "it did not go on after the server was gone", said)
    tell(engine, sweep, "end")
    ended = running.end(PATIENCE_S)

    assert ended.code == 0, ended.said
    taken = json.loads((project.sweep_dir / "0/taken.json").read_text())
    assert steps() == list(range(len(taken)))
    assert max(taken) < DOWN_S / 2, sorted(taken)[-10:]


def test_what_a_server_that_was_down_at_the_end_has_not_got_comes_with_the_next_launch(
    server: MLflowServer, engine: Backend, project: Project
) -> None:
    project.program(LOGS)
    environ = {
        **server.environment,
        "MLFLOW_EXPERIMENT_NAME": "late",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # MLflow's own patience is four minutes
    }
    running = project.start("+x=0", "hydra.launcher.tracking.mode=relay", env=environ)
    sweep = running.sweep()
    eventually(lambda: steps_of(server, "late", 0, "loss"), "no step came to the server", lambda: running.out)
    server.kill()
    try:
        tell(engine, sweep, "end")
        ended = running.end(PATIENCE_S)
    finally:
        server.start()
    assert ended.code == 0, ended.said
    assert re.search("could not .* The next launch like this one", ended.err), ended.said
    again = project.launch("+x=0", "hydra.launcher.tracking.mode=relay", env=environ, patience_s=PATIENCE_S)

    assert again.code == 0, again.said
    assert again.sweep == sweep and "BOOTING" not in again.out
    taken = json.loads((project.sweep_dir / "0/taken.json").read_text())
    assert steps_of(server, "late", 0, "loss") == list(range(len(taken)))
    assert {run.info.status for run in runs_in(server, "late")} == {"FINISHED"}
