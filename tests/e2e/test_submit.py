"""``hydra_gce.submit``: functions on VMs from Python, and handles on them in this and another process."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

import hydra_gce
from hydra_gce.api.job import Job
from hydra_gce.cloud.backend import Backend
from hydra_gce.collect import RemoteTraceback
from hydra_gce.compute import HereCompute
from hydra_gce.errors import JobFailed
from hydra_gce.jobs import JobState
from tests.e2e.on_server import tell
from tests.e2e.project import PATIENCE_S, Project, eventually
from tests.e2e.project import hydra_gce as command
from tests.e2e.test_coming_back import end_watcher, started

pytestmark = pytest.mark.timeout(600)

SMALL: dict[str, Any] = {
    "backend": "local",
    "machine_type": "e2-small",
    "env": {"requirements": "none"},
    "tracking": {"mode": "none"},
}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hydra_gce_home: Path) -> Iterator[Project]:
    """Its directory is the working directory; no watcher is left."""
    made = Project(tmp_path / "project")
    monkeypatch.chdir(made.directory)
    yield made
    for log in (hydra_gce_home / "watchers").glob("*.log"):
        command("down", log.stem)
        end_watcher(log.stem)


def waiting() -> Callable[[dict[str, int]], int]:
    """A function that goes on until its VM is told to end. What stands in here travels by value."""

    def wait(config: dict[str, int]) -> int:
        import time
        import urllib.error
        import urllib.request
        from pathlib import Path

        from hydra.core.hydra_config import HydraConfig

        def told(word: str) -> bool:
            place = f"http://169.254.169.254/computeMetadata/v1/instance/attributes/{word}"
            asking = urllib.request.Request(place, headers={"Metadata-Flavor": "Google"})
            try:
                urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asking, timeout=10).close()
            except urllib.error.HTTPError:
                return False
            return True

        Path(HydraConfig.get().runtime.output_dir, "begun.txt").write_text("begun")
        print("well under way", flush=True)
        while not told("end"):
            time.sleep(0.1)
        print("told to end", flush=True)
        return config["x"]

    return wait


def test_a_function_gets_what_it_was_given_and_gives_what_it_returns(project: Project) -> None:
    @dataclass
    class Config:
        x: int = 3
        name: str = "a b"

    def look(config: Any) -> tuple[str, Any]:
        from pathlib import Path

        from hydra.core.hydra_config import HydraConfig

        out = Path(HydraConfig.get().runtime.output_dir)
        (out / "result.txt").write_text(type(config).__name__)
        return type(config).__name__, config["x"] if isinstance(config, dict) else config.x

    with initialize(version_base="1.3", config_path=None):  # the caller's own Hydra
        of_dict = hydra_gce.submit(look, {"x": 1, "inner": {"y": None}}, **SMALL)
        of_config = hydra_gce.submit(look, OmegaConf.create({"x": 2}), **SMALL, output_dir="mine")
        assert GlobalHydra.instance().is_initialized()
    of_class = hydra_gce.submit(look, Config(), **SMALL)

    assert of_dict.result(PATIENCE_S) == ("dict", 1)
    assert of_config.result(PATIENCE_S) == ("DictConfig", 2)
    assert of_class.result(PATIENCE_S) == ("Config", 3)
    assert (of_dict.output_dir / "result.txt").read_text() == "dict"
    assert of_dict.output_dir.is_relative_to(project.directory / "outputs")
    assert (project.directory / "mine/result.txt").read_text() == "DictConfig"
    assert (project.directory / "mine/.hydra/config.yaml").read_text() == "x: 2\n"
    assert len({of_dict.output_dir, of_config.output_dir, of_class.output_dir}) == 3
    assert of_class.status.done and of_class.status.state is JobState.COMPLETED
    assert of_class.status.zone and of_class.status.cost > 0


def test_many_are_one_sweep_and_each_fails_for_itself(project: Project) -> None:
    def divide(config: dict[str, int]) -> float:
        import os
        import signal

        print("divides by", config["by"], flush=True)
        if config["by"] == 9:
            os.kill(os.getpid(), signal.SIGKILL)
        return config["of"] / config["by"]

    jobs = hydra_gce.map(divide, [{"of": 6, "by": by} for by in (2, 0, 9)], **SMALL, max_vms=2)

    assert len({job.sweep for job in jobs}) == 1
    assert jobs[0].result(PATIENCE_S) == 3.0
    with pytest.raises(ZeroDivisionError) as raised:
        jobs[1].result(PATIENCE_S)
    assert isinstance(raised.value.__cause__, RemoteTraceback)
    assert "in divide" in str(raised.value.__cause__)
    with pytest.raises(JobFailed, match="killed by SIGKILL"):
        jobs[2].result(PATIENCE_S)
    assert [job.status.state for job in jobs] == [JobState.COMPLETED, JobState.FAILED, JobState.FAILED]
    assert "divides by 2\n" in jobs[0].logs()
    assert [job.output_dir.name for job in jobs] == ["0", "1", "2"]
    assert "by=2" in command("attach", jobs[0].sweep, "--json").out


def test_it_is_looked_at_and_cancelled_while_it_runs(project: Project, engine: Backend) -> None:
    job = hydra_gce.submit(waiting(), {"x": 1}, **SMALL)
    lines = job.logs(follow=True)
    eventually(lambda: job.status.state is JobState.RUNNING, "it never ran", lambda: str(job.status))
    assert next(line for line in lines if "way" in line) == "well under way"
    with pytest.raises(TimeoutError, match="it goes on"):
        job.result(timeout=0.1)
    assert not job.status.done

    job.cancel()
    with pytest.raises(JobFailed, match="cancelled"):
        job.result(PATIENCE_S)
    assert job.status.state is JobState.CANCELLED
    assert (job.output_dir / "begun.txt").read_text() == "begun"
    eventually(lambda: not HereCompute(engine).instances(job.sweep), "a VM is left")


def test_its_result_is_had_by_name_from_another_process_though_its_watcher_was_killed(
    project: Project, engine: Backend, hydra_gce_home: Path
) -> None:
    """The first process reads its program from a pipe, as a notebook has no file either."""
    project.write("settings.json", json.dumps(SMALL))
    program = """
        import json, time, hydra_gce

        def square(config):
            time.sleep(20)
            return config.x ** 2

        from omegaconf import OmegaConf
        settings = json.load(open("settings.json"))
        print(hydra_gce.submit(square, OmegaConf.create({"x": 7}), **settings).sweep)
    """
    begun = subprocess.run(
        [sys.executable, "-"], input=textwrap.dedent(program), capture_output=True, text=True, check=False
    )
    assert begun.returncode == 0, begun.stderr
    sweep = begun.stdout.strip()
    started(engine, sweep, 1)
    end_watcher(sweep)

    (job,) = hydra_gce.attach(sweep)
    assert job.result(PATIENCE_S) == 49
    (elsewhere,) = hydra_gce.attach(sweep, to=project.directory / "elsewhere")
    assert elsewhere.result(PATIENCE_S) == 49
    assert (project.directory / "elsewhere/square.log").exists()
    eventually(lambda: not HereCompute(engine).instances(sweep), "a VM is left")


def test_threads_submit_too(project: Project, engine: Backend) -> None:
    """No handler of a signal can be set there."""
    came: list[Job] = []
    wait = waiting()
    thread = threading.Thread(target=lambda: came.append(hydra_gce.submit(wait, {"x": 5}, **SMALL)))
    thread.start()
    thread.join(PATIENCE_S)
    (job,) = came
    started(engine, job.sweep, 1)
    tell(engine, job.sweep, "end")
    assert job.result(PATIENCE_S) == 5
