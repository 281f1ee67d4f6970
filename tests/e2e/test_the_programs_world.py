"""What a program finds on its VM: the code, data and variables that were asked for, one machine for all jobs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hydra_gce.cloud.backend import Backend
from tests.e2e.project import Ended, Project, eventually, hydra_gce

# Each job tells what it sees. The first waits for the test to open a gate, the one thing outside that both can reach.
TELLS = """
    import json, urllib.error, urllib.request

    import helper

    seen = {
        "files": sorted(path.relative_to(helper.HERE).as_posix() for path in helper.HERE.rglob("*.*")),
        "data": Path(cfg.data).read_text(),
        "variable": os.environ.get("MY_TOKEN"),
        "not passed": os.environ.get("MY_OTHER"),
    }
    (out / "seen.json").write_text(json.dumps(seen))
    print(f"x is {cfg.x}", flush=True)
    gate = f"{os.environ['STORAGE_EMULATOR_HOST']}/storage/v1/b/{cfg.bucket}/o/{cfg.gate}"
    for _ in range(1000):
        try:
            urllib.request.urlopen(gate).close()
            return cfg.x * 10
        except urllib.error.HTTPError:
            time.sleep(0.1)
    raise TimeoutError(gate)
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, engine: Backend) -> dict[str, Ended | Project]:
    """Three jobs in two batches on one VM at a time; while the first waits, others launch and look."""
    directory = tmp_path_factory.mktemp("world")
    project = Project(directory / "project")
    project.program(TELLS)
    project.write("helper.py", "from pathlib import Path\n\nHERE = Path(__file__).parent\n")
    project.write(".gitignore", "*.bin\n*.tmp\n")
    for name in ("ignored.tmp", "wanted.bin", "secret.env"):
        project.write(name, name)
    subprocess.run(["git", "init", "--quiet"], cwd=project.directory, check=True)
    data = directory / "elsewhere/images.txt"
    data.parent.mkdir()
    data.write_text("pixels")
    bucket = engine.bucket(None)
    gate = f"gate-{os.getpid()}"
    running = project.start(
        "+x=1,2,3",
        f"+data={data}",
        f"+bucket={bucket.name}",
        f"+gate=hydra-gce%2F{gate}",
        "hydra.sweeper.max_batch_size=2",
        "hydra.launcher.max_vms=1",
        "hydra.launcher.code.include=[wanted.bin]",
        "hydra.launcher.code.exclude=[secret.env]",
        f"hydra.launcher.data=[{data}]",
        "hydra.launcher.env.pass_variables=[MY_TOKEN]",
        env={"MY_TOKEN": "t0ken", "MY_OTHER": "other"},
    )
    try:
        sweep = running.sweep()
        running.until("job 0  RUNNING")
        duplicate = project.launch("+x=9")
        eventually(
            lambda: "x is 1" in hydra_gce("logs", sweep, "--job", "0").out, "the first job's log never came"
        )
        following = subprocess.Popen(
            [sys.executable, "-m", "hydra_gce.cli", "logs", sweep, "-f"], stdout=subprocess.PIPE, text=True
        )
        bucket.write(gate, b"open")
        ended = running.end()
        followed = following.communicate(timeout=60)[0]
        return {
            "project": project,
            "ended": ended,
            "duplicate": duplicate,
            "followed": Ended(following.returncode, followed, ""),
        }
    finally:
        project.close()


def ended_of(world: dict[str, Ended | Project], name: str) -> Ended:
    found = world[name]
    assert isinstance(found, Ended)
    return found


def seen_by(world: dict[str, Ended | Project], num: int) -> dict[str, str]:
    project = world["project"]
    assert isinstance(project, Project)
    seen: dict[str, str] = json.loads((project.sweep_dir / str(num) / "seen.json").read_text())
    return seen


def test_all_batches_are_one_sweep_and_return_their_values(world: dict[str, Ended | Project]) -> None:
    ended = ended_of(world, "ended")

    assert ended.code == 0, ended.said
    assert len(set(re.findall(r"hydra-gce  sweep ([a-z-]+)", ended.out))) == 1
    for num, value in enumerate((10, 20, 30)):
        assert re.search(rf"^{num}  \+x={num + 1}\b.*\s{value}\s", ended.out, re.MULTILINE), ended.out


def test_one_vm_takes_all_jobs_of_a_batch(world: dict[str, Ended | Project]) -> None:
    out = ended_of(world, "ended").out

    assert re.search(r"job 1  RUNNING", out)
    assert not re.search(r"job 1  PROVISIONING", out), out


def test_code_that_git_ignores_stays_unless_it_is_included(world: dict[str, Ended | Project]) -> None:
    files = seen_by(world, 0)["files"]

    assert {"app.py", "helper.py", "wanted.bin"} <= set(files)
    assert "ignored.tmp" not in files
    assert "secret.env" not in files


def test_data_from_outside_of_the_project_lies_at_its_own_path(world: dict[str, Ended | Project]) -> None:
    assert [seen_by(world, num)["data"] for num in range(3)] == ["pixels"] * 3


def test_only_variables_that_were_named_are_passed(world: dict[str, Ended | Project]) -> None:
    seen = seen_by(world, 0)

    assert seen["variable"] == "t0ken"
    assert seen["not passed"] is None


def test_a_second_launch_into_the_same_sweep_directory_is_refused(world: dict[str, Ended | Project]) -> None:
    refused = ended_of(world, "duplicate")

    assert refused.code != 0
    assert "hydra.sweep.dir" in refused.err
    assert "another launch is at work" in refused.err
    assert "Traceback" not in refused.said


def test_logs_follow_a_job_until_its_end(world: dict[str, Ended | Project]) -> None:
    followed = ended_of(world, "followed")

    assert followed.code == 0
    for num in range(2):
        assert f"{num} | x is {num + 1}" in followed.out


def test_the_embedded_engine_says_where_it_is(tmp_path: Path) -> None:
    """One of its own, started and stopped by hand."""
    home = tmp_path / "home"
    env = {**os.environ, "HYDRA_GCE_HOME": str(home)}
    command = [sys.executable, "-m", "hydra_gce.cli", "local"]

    def local(verb: str) -> str:
        return subprocess.run(
            [*command, verb], env=env, capture_output=True, text=True, timeout=60, check=True
        ).stdout

    assert "not running" in local("status")
    server = subprocess.Popen(
        [*command, "start"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        eventually(lambda: "Compute Engine  http" in local("status"), "it never came up")
        status = local("status")
        exports = dict(line.removeprefix("export ").split("=", 1) for line in local("env").splitlines())
        assert exports["CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"] in status
        assert exports["STORAGE_EMULATOR_HOST"] in status
    finally:
        local("stop")
    assert server.wait(60) == 0
    assert "not running" in local("status")
