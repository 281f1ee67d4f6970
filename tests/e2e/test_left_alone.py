"""Sweeps that nobody watches for a while: what comes home in the end is what a watched one brings."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import Credentials
from google.auth.exceptions import RefreshError
from hydra.core.utils import JobReturn
from mlflow import MlflowClient

from hydra_gce.bucket import SweepNames
from hydra_gce.cloud.backend import Backend
from hydra_gce.coming_back.rejoin import attach
from hydra_gce.compute import HereCompute
from hydra_gce.follow.follower import CREDENTIALS_EXPIRED
from hydra_gce.jobs import JobState, JobStatus
from hydra_gce.watch import Watch
from tests.e2e.on_server import TOLD, tell
from tests.e2e.project import PATIENCE_S, Ended, Project, Running, eventually, hydra_gce
from tests.e2e.test_coming_back import end_watcher, files_in, holder, started
from tests.lossy_proxy import LossyProxy, lossy_proxy
from tests.tracking.recorded import differences, runs_below

pytestmark = pytest.mark.timeout(900)

HALF, LAST = 4, 9
# What a launch gives to Hydra is kept for the test; the first attempt at point 0 may wait to be preempted at its half.
TRAINS = f"""
    import os, pickle, signal, sys, time
    from datetime import timedelta
    from pathlib import Path

    import hydra
    from hydra.core.hydra_config import HydraConfig


    @hydra.main(version_base="1.3", config_path=None)
    def main(cfg):
        import mlflow

        out = Path(HydraConfig.get().runtime.output_dir)
        saved = out / "step.txt"
        first = int(saved.read_text()) + 1 if saved.exists() else 0
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with (out / "runs.txt").open("a") as file:
            file.write("begun\\n" if first == 0 else "")
        with mlflow.start_run():
            mlflow.log_params({{"x": cfg.x, "depth": 4}})
            for step in range(first, {LAST} + 1):
                mlflow.log_metric("loss", 1 / (step + 1), step=step)
                saved.write_text(str(step))
                while step == {HALF} and cfg.waits and cfg.x == 0 and first == 0:
                    time.sleep(0.1)
            mlflow.log_artifact(str(saved))
        return {{"loss": 1 / (step + 1), "span": timedelta(seconds=cfg.x), "shape": (step, 2)}}


    if __name__ == "__main__":
        if "KEEP" in os.environ:
            from hydra_gce.hydra_sweep import HydraSweep

            launch = HydraSweep.launch

            def kept(self, *arguments):
                returns = launch(self, *arguments)
                Path(os.environ["KEEP"]).write_bytes(pickle.dumps(returns))
                return returns

            HydraSweep.launch = kept
        main()
"""
WAITS = (
    TOLD
    + """
    with (out / "runs.txt").open("a") as file:
        file.write("begun\\n")
    while not told("end"):
        time.sleep(0.1)
    return cfg.x * cfg.x
"""
)


@pytest.fixture(autouse=True)
def no_watcher_is_left(hydra_gce_home: Path) -> Iterator[None]:
    yield
    for log in (hydra_gce_home / "watchers").glob("*.log"):
        hydra_gce("down", log.stem)
        end_watcher(log.stem)


@dataclass(frozen=True)
class Store:
    """An MLflow of a test's own."""

    uri: str

    def make(self) -> None:
        """Its tables: MLflow leaves a database for ever half made whose maker is killed."""
        MlflowClient(self.uri).search_experiments()

    @property
    def environment(self) -> dict[str, str]:
        return {"MLFLOW_TRACKING_URI": self.uri, "MLFLOW_EXPERIMENT_NAME": "points"}

    @property
    def content(self) -> list[dict[str, Any]]:
        return runs_below(MlflowClient(self.uri), "points", ours=True)

    def parents(self) -> list[str]:
        client = MlflowClient(self.uri)
        found = client.get_experiment_by_name("points")
        assert found is not None
        runs = client.search_runs([found.experiment_id])
        return [run.info.status for run in runs if run.data.tags.get("hydra_gce.role") == "sweep"]


def told(returned: JobReturn) -> Mapping[str, Any]:
    """But for the places and times of a launch."""
    return {
        "overrides": [one for one in returned.overrides or [] if "waits" not in one],
        "cfg": {key: value for key, value in (returned.cfg or {}).items() if key != "waits"},
        "task": returned.task_name,
        "status": returned.status,
        "value": returned.return_value,
        "directory": Path(str(returned.working_dir)).name,
    }


def status_of(engine: Backend, sweep: str, num: int) -> JobStatus:
    entry = engine.bucket(None).find(SweepNames(sweep).status(num))
    assert entry is not None
    return JobStatus.from_metadata(entry.metadata)


def test_what_a_sweep_brings_that_was_left_wiped_from_the_laptop_and_preempted_is_what_a_watched_one_does(
    project: Project, engine: Backend, hydra_gce_home: Path, tmp_path: Path
) -> None:
    project.write("app.py", TRAINS)
    tracked = "hydra.launcher.tracking.mode=relay"
    first = Store(f"sqlite:///{tmp_path}/watched.db")
    kept = tmp_path / "returns"
    environ = {**first.environment, "KEEP": str(kept)}
    watched = project.launch("+x=0,1", "+waits=false", tracked, env=environ, patience_s=400)
    assert watched.code == 0, watched.said
    expected: list[JobReturn] = pickle.loads(kept.read_bytes())
    outputs = files_in(project.sweep_dir)

    second = Store(f"sqlite:///{tmp_path}/left.db")
    second.make()
    launched = ("+x=0,1", "+waits=true", tracked, f"hydra.sweep.dir={tmp_path}/left")
    spot = ("hydra.launcher.wait=false", "hydra.launcher.vm.provisioning=spot")
    left = project.launch(*launched, *spot, env=second.environment)
    assert left.code == 0, left.said
    eventually(lambda: holder(engine, left.sweep), "nobody watches in the background")
    end_watcher(left.sweep)
    eventually(lambda: status_of(engine, left.sweep, 0).step == HALF, "it never came to its half")
    (vm,) = [vm for vm in HereCompute(engine).instances(left.sweep) if vm.labels["hydra-gce-job"] == "0"]
    engine.instances.simulate_maintenance_event_unary(
        project=engine.project, zone=vm.zone.rpartition("/")[2], instance=vm.name
    )
    eventually(lambda: not HereCompute(engine).instances(left.sweep), "its VMs stay", patience_s=300)
    assert status_of(engine, left.sweep, 0).state is JobState.PREEMPTED
    assert status_of(engine, left.sweep, 1).state is JobState.COMPLETED
    for entry in hydra_gce_home.iterdir():
        if entry.name != "local":
            shutil.rmtree(entry)
    shutil.rmtree(tmp_path / "left", ignore_errors=True)

    said = io.StringIO()
    environment = {**os.environ, **second.environment}
    watch = attach(engine, engine.bucket(None), left.sweep, environment, tmp_path / "here", stream=said)
    came = [track.collected.job_return for track in watch.tracks.values() if track.collected]
    assert [told(one) for one in came] == [told(one) for one in expected], said.getvalue()
    assert files_in(tmp_path / "here") == outputs
    assert differences(first.content, second.content) == []
    assert first.parents() == second.parents() == ["FINISHED"]
    assert not HereCompute(engine).instances(left.sweep)


def attached(sweep: str, directory: Path) -> Running:
    """``hydra-gce attach`` in another terminal."""
    out, err = directory / "attached.out", directory / "attached.err"
    with out.open("wb") as out_file, err.open("wb") as err_file:
        process = subprocess.Popen(
            [sys.executable, "-m", "hydra_gce.cli", "attach", sweep],
            stdin=subprocess.DEVNULL,
            stdout=out_file,
            stderr=err_file,
            start_new_session=True,
        )
    return Running(process, out, err)


def runs_once(project: Project, *jobs: int) -> None:
    for job in jobs:
        assert (project.sweep_dir / f"{job}/runs.txt").read_text() == "begun\n"


def test_two_look_at_a_sweep_one_watches_and_the_other_goes_on_where_that_one_dies(
    project: Project, engine: Backend, tmp_path: Path
) -> None:
    project.program(WAITS)
    first = project.start("+x=2,3")
    sweep = first.sweep()
    started(engine, sweep, 2)
    first.until("job 1  RUNNING")
    second = attached(sweep, tmp_path)
    try:
        second.until(rf"process {first.process.pid} on \S+ watches this sweep")
        second.until("job 1  RUNNING")
        before = engine.bucket(None).find(SweepNames(sweep).ledger)
        first.kill()
        tell(engine, sweep, "end")
        ended = second.end(300)
    finally:
        second.kill()
    assert ended.code == 0, ended.said
    assert "no VM is left" in ended.out and before is not None
    runs_once(project, 0, 1)
    assert not re.search("attempt 2", ended.out), ended.said


def test_an_onlooker_that_is_interrupted_ends_nothing(
    project: Project, engine: Backend, tmp_path: Path
) -> None:
    project.program(WAITS)
    first = project.start("+x=2", "hydra.launcher.on_interrupt=detach")
    sweep = first.sweep()
    started(engine, sweep, 1)
    first.until("job 0  RUNNING")
    second = attached(sweep, tmp_path)
    try:
        second.until("watches this sweep")
        second.until("job 0  RUNNING")
        second.process.send_signal(signal.SIGINT)
        assert second.end().code == 130
    finally:
        second.kill()
    assert HereCompute(engine).instances(sweep)
    tell(engine, sweep, "end")
    ended = first.end()
    assert ended.code == 0, ended.said
    assert "watches this sweep" not in ended.out


@pytest.mark.slow
def test_a_laptop_that_slept_looks_on_where_another_has_taken_over(
    project: Project, engine: Backend, tmp_path: Path
) -> None:
    project.program(WAITS)
    first = project.start("+x=2,3")
    sweep = first.sweep()
    started(engine, sweep, 2)
    first.until("job 1  RUNNING")
    second = attached(sweep, tmp_path)
    try:
        second.until("watches this sweep")
        os.killpg(first.process.pid, signal.SIGSTOP)
        eventually(lambda: watcher_pid(engine, sweep) == second.process.pid, "nobody takes over")
        os.killpg(first.process.pid, signal.SIGCONT)
        first.until(rf"process {second.process.pid} on \S+ watches this sweep")
        tell(engine, sweep, "end")
        others, ended = second.end(), first.end()
    finally:
        second.kill()
    assert others.code == 0, others.said
    assert ended.code == 0, ended.said
    runs_once(project, 0, 1)


def watcher_pid(engine: Backend, sweep: str) -> int:
    content = engine.bucket(None).read(SweepNames(sweep).watcher)
    return int(json.loads(content)["pid"]) if content else 0


def test_jobs_are_cancelled_where_their_watcher_died_on_another_machine(
    project: Project, engine: Backend
) -> None:
    """Nobody can know that it died: it is silent."""
    project.program(WAITS)
    left = project.launch("+x=2,3", "hydra.launcher.wait=false")
    assert left.code == 0, left.said
    eventually(lambda: holder(engine, left.sweep), "nobody watches in the background")
    end_watcher(left.sweep)
    gone = json.dumps({"host": "elsewhere", "boot": "b", "pid": 7, "background": False}).encode()
    engine.bucket(None).write(SweepNames(left.sweep).watcher, gone)
    cancelled = hydra_gce("cancel", left.sweep)
    assert cancelled.code == 0, cancelled.said
    assert "job 0 has ended" in cancelled.out and "job 1 has ended" in cancelled.out
    eventually(lambda: not HereCompute(engine).instances(left.sweep), "its VMs stay")


def test_a_spec_that_somebody_deleted_is_written_anew_by_the_same_command(
    project: Project, engine: Backend
) -> None:
    project.program(WAITS)
    running = project.start("+x=2,3", "hydra.launcher.max_vms=1")
    sweep = running.sweep()
    running.until("job 0  RUNNING")
    engine.bucket(None).delete(SweepNames(sweep).spec(1))
    tell(engine, sweep, "end")
    failed = running.end(300)
    assert failed.code != 0 and "job 0  COMPLETED" in failed.out, failed.said
    assert re.search(r"the VM could not run the job: gs://\S+/jobs/1/spec does not exist", failed.said), (
        failed.said
    )
    again = project.start("+x=2,3")
    again.until("job 1 runs again: failed before")
    again.until("job 1  RUNNING")
    tell(engine, sweep, "end")
    ended = again.end()
    assert ended.code == 0, ended.said
    runs_once(project, 0, 1)


class Expiring(Credentials):  # type: ignore[misc, no-untyped-call, unused-ignore]
    """A person's, which nobody can renew but the person."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.token = "ya29.once-good"

    def refresh(self, request: object) -> None:
        raise RefreshError("Reauthentication is needed")  # type: ignore[no-untyped-call, unused-ignore]


def test_credentials_that_expire_in_mid_sweep_are_waited_for(
    project: Project, engine: Backend, tmp_path: Path
) -> None:
    project.program(WAITS)
    left = project.launch("+x=2", "hydra.launcher.wait=false")
    assert left.code == 0, left.said
    assert engine.storage_endpoint
    with lossy_proxy(engine.compute_endpoint) as compute, lossy_proxy(engine.storage_endpoint) as storage:
        laptop = replace(
            engine, compute_endpoint=compute.url, storage_endpoint=storage.url, credentials=Expiring()
        )
        person = Person((compute, storage), engine, left.sweep)
        watch: Watch = attach(
            laptop, laptop.bucket(None), left.sweep, os.environ, tmp_path / "here", stream=person
        )
    said = person.getvalue()
    assert person.refused > 0
    assert said.count(CREDENTIALS_EXPIRED) == 1 and "gcloud auth application-default login" in said, said
    assert said.count("Google Cloud answers again") == 1, said
    (track,) = watch.tracks.values()
    assert track.collected is not None and track.collected.value == 4
    assert (tmp_path / "here/0/runs.txt").read_text() == "begun\n"


class Person(io.StringIO):
    """Reads what is said: her credentials expire once the job runs, and she logs in again when she is asked to."""

    def __init__(self, ways: tuple[LossyProxy, ...], engine: Backend, sweep: str) -> None:
        super().__init__()
        self._ways = ways
        self._engine = engine
        self._sweep = sweep
        self._expired = False

    @property
    def refused(self) -> int:
        return sum(way.refused for way in self._ways)

    def write(self, text: str, /) -> int:
        if "RUNNING" in text and not self._expired:
            self._expired = True
            self._answer(401)
        if CREDENTIALS_EXPIRED in text:
            self._answer(None)
            with suppress(Exception):
                tell(self._engine, self._sweep, "end")
        return super().write(text)

    def _answer(self, status: int | None) -> None:
        for way in self._ways:
            way.refuse = lambda method, path: status


def test_what_a_full_disk_does_not_take_stays_and_is_said(project: Project, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    project.program('(out / "model.ckpt").write_bytes(b"w" * 3_000_000)\nreturn 0.5')
    assert project.launch().code == 0
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=True)
    try:
        full: Ended = hydra_gce("attach", "--to", str(small), patience_s=PATIENCE_S)
    finally:
        subprocess.run(["umount", small], check=True)
    assert full.code == 1, full.said
    assert "No space left" in full.said and "Nothing is lost" in full.said, full.said
    assert "Traceback" not in full.said
    again = hydra_gce("attach", "--to", str(tmp_path / "room"))
    assert again.code == 0, again.said
    assert (tmp_path / "room/0/model.ckpt").stat().st_size == 3_000_000
