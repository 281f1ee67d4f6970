"""A VM whose job runs in a container: what Docker is asked to do, and what becomes of its answers.

The real thing needs a daemon and a registry; here ``fake_docker`` writes down the calls and runs the command.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.agent import fake_docker
from tests.agent.machine import (
    BOOT_REPORT,
    INSTANCE,
    Cloud,
    bake,
    fake_command,
    power_on,
    start,
    told,
    want,
)

IMAGE = "europe-docker.pkg.dev/my-project/images/train:2"


@dataclass
class Docker:
    """A machine with Docker: ``bin`` comes first on its PATH."""

    bin: Path
    log: Path
    inside: Path

    def environment(self, **more: str) -> dict[str, str]:
        path = f"{self.bin}:/usr/bin:/bin"
        return {"PATH": path, "DOCKER_CALLS": str(self.log), "DOCKER_PATH": str(self.inside), **more}

    def calls(self) -> dict[str, dict[str, Any]]:
        """The last call of each verb."""
        if not self.log.exists():
            return {}
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return {line["arguments"][0]: line for line in lines}

    def run(self) -> list[str]:
        arguments: list[str] = self.calls()["run"]["arguments"]
        return arguments


@pytest.fixture
def docker(tmp_path: Path, cloud: Cloud) -> Docker:
    cloud.attributes["hydra-gce-container"] = IMAGE
    folder, inside = tmp_path / "bin", tmp_path / "inside"
    fake_command(folder, "docker", f'exec {sys.executable} {fake_docker.__file__} "$@"')
    inside.mkdir()
    return Docker(folder, tmp_path / "calls", inside)


def values(arguments: list[str], option: str) -> list[str]:
    return [value for name, value in pairwise(arguments) if name == option]


@pytest.fixture
def container_with_python(docker: Docker, tmp_path: Path, index: Path) -> Path:
    """The image has a Python with what the sweep asks for, and no mark of ours."""
    python = bake(tmp_path / "image", index, "tinything==1.0")
    (tmp_path / "image" / "environment.json").unlink()
    docker.inside = python.parent
    return python


def test_the_agent_runs_in_the_container_with_the_containers_own_python(
    docker: Docker, container_with_python: Path, cloud: Cloud, tmp_path: Path
) -> None:
    want(cloud, "tinything==1.0")
    done = start(cloud, tmp_path / "prefix", **docker.environment(CLOUDSDK_CORE_PROJECT="p", SECRET="s"))
    assert done.returncode == 0, done.stdout
    assert told(done.stdout)["tinything"] == "1.0"
    assert Path(told(done.stdout)["python"]).resolve() == container_with_python.resolve()
    arguments = docker.run()
    for option in ("--rm", "--init"):
        assert option in arguments
    for option in ("--network", "--ipc"):
        assert values(arguments, option) == ["host"]
    assert "--gpus" not in arguments
    assert IMAGE in arguments
    environment = values(arguments, "--env")
    assert {
        "GCE_METADATA_HOST",
        "STORAGE_EMULATOR_HOST",
        "CLOUDSDK_CORE_PROJECT",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE",
        "HYDRA_GCE_STARTUP",
        f"HYDRA_GCE_CONTAINER={IMAGE}",
    } < set(environment)
    assert not {"SECRET", "PATH", "HOME"} & set(environment)
    mounted = {volume.split(":")[0]: volume.split(":")[2] for volume in values(arguments, "--volume")}
    own = next(name for name in environment if name.startswith("HYDRA_GCE_PREFIX=")).partition("=")[2]
    prefix = tmp_path / "prefix"
    assert mounted == {str(prefix / "launcher"): "ro", str(prefix / "wanted"): "ro", own: "rw"}
    assert Path(own).parent == prefix / "containers", "what is made in one image does not serve another"


def test_a_registry_of_google_is_logged_in_to_with_the_vms_token(
    docker: Docker, container_with_python: Path, cloud: Cloud, tmp_path: Path
) -> None:
    want(cloud, "tinything==1.0")
    start(cloud, tmp_path / "prefix", **docker.environment())
    login = docker.calls()["login"]
    assert login["arguments"][-1] == "https://europe-docker.pkg.dev"
    assert login["stdin"] == "t0ken"
    assert "t0ken" not in " ".join(login["arguments"]), "others on the machine see arguments"
    assert docker.calls()["pull"]["arguments"][-1] == IMAGE


@pytest.mark.parametrize("image", ["python:3.11-slim", "ghcr.io/me/train", "my-gcr.io.example.org/train"])
def test_another_registry_never_gets_the_token(
    docker: Docker, container_with_python: Path, cloud: Cloud, tmp_path: Path, image: str
) -> None:
    cloud.attributes["hydra-gce-container"] = image
    want(cloud, "tinything==1.0")
    assert start(cloud, tmp_path / "prefix", **docker.environment()).returncode == 0
    assert "login" not in docker.calls()


def test_a_machine_with_a_gpu_gives_it_to_the_container(
    docker: Docker, container_with_python: Path, cloud: Cloud, tmp_path: Path
) -> None:
    fake_command(docker.bin, "nvidia-smi", "exit 0")
    want(cloud, "tinything==1.0")
    start(cloud, tmp_path / "prefix", **docker.environment())
    assert values(docker.run(), "--gpus") == ["all"]


def test_a_container_whose_python_lacks_something_gets_an_environment_of_its_own(
    docker: Docker, container_with_python: Path, cloud: Cloud, tmp_path: Path, index: Path
) -> None:
    on_path = f"{docker.inside}:{tmp_path}/fetched"  # a plain Python and uv, as an image may have them
    want(cloud, f"--no-index\n--find-links {index}\ntinything==2.0\n")
    done = start(cloud, tmp_path / "prefix", **docker.environment(DOCKER_PATH=on_path))
    assert told(done.stdout)["tinything"] == "2.0"
    assert f"{tmp_path}/prefix/containers/" in told(done.stdout)["python"]


def test_sigterm_reaches_the_agent_in_the_container(
    docker: Docker, container_with_python: Path, cloud: Cloud, tmp_path: Path
) -> None:
    want(cloud, "tinything==1.0")
    machine = power_on(cloud, tmp_path / "prefix", **docker.environment(AGENT_WAITS="1", AGENT_EXIT="1"))
    assert machine.stdout is not None
    assert any(line == "agent waits\n" for line in machine.stdout)
    os.killpg(machine.pid, signal.SIGTERM)
    console, _ = machine.communicate(timeout=60)
    assert "agent has saved" in console
    assert not cloud.deleted


def test_an_image_without_python_is_a_clear_failure(docker: Docker, cloud: Cloud, tmp_path: Path) -> None:
    want(cloud, "tinything==1.0")
    done = start(cloud, tmp_path / "prefix", **docker.environment())
    assert done.returncode == 1
    said = f"hydra-gce: container: {IMAGE} has no python3 of version 3.8 or later on its PATH; take an image"
    assert said in done.stdout
    assert said in cloud.objects[BOOT_REPORT].decode()
    assert cloud.deleted == [INSTANCE]


@pytest.mark.parametrize(
    ("fails", "said"),
    [
        ("login", "container: docker login at europe-docker.pkg.dev failed"),
        ("pull image", f"container: {IMAGE} cannot be pulled"),
    ],
)
def test_an_image_that_cannot_be_had_is_a_clear_failure(
    docker: Docker, cloud: Cloud, tmp_path: Path, fails: str, said: str
) -> None:
    want(cloud, "")
    done = start(cloud, tmp_path / "prefix", **docker.environment(DOCKER_FAILS=fails))
    assert done.returncode == 1
    assert said in cloud.objects[BOOT_REPORT].decode()
    assert "run" not in docker.calls()


def test_an_image_that_is_on_the_disk_already_does_without_its_registry(
    docker: Docker, container_with_python: Path, cloud: Cloud, tmp_path: Path
) -> None:
    want(cloud, "tinything==1.0")
    done = start(cloud, tmp_path / "prefix", **docker.environment(DOCKER_FAILS="pull"))
    assert done.returncode == 0, done.stdout
    assert "the one on this disk is taken" in done.stdout


def bare(folder: Path, *commands: str) -> str:
    """A PATH with these commands of this machine and no others."""
    folder.mkdir(exist_ok=True)
    for command in ("bash", "cat", "date", "mkdir", "python3", "sh", "tee", *commands):
        (folder / command).symlink_to(f"/usr/bin/{command}" if command != "python3" else sys.executable)
    return str(folder)


def test_where_docker_is_missing_it_is_installed(
    docker: Docker, container_with_python: Path, cloud: Cloud, tmp_path: Path
) -> None:
    path = bare(tmp_path / "bare", "chmod", "mv")
    hidden = docker.bin / "docker"
    hidden.rename(tmp_path / "docker")
    install = (
        f'echo "$@" >> {tmp_path}/apt; case "$*" in *docker.io) mv {tmp_path}/docker {path}/docker;; esac'
    )
    fake_command(Path(path), "apt-get", install)
    want(cloud, "tinything==1.0")
    done = start(cloud, tmp_path / "prefix", **{**docker.environment(), "PATH": path})
    assert done.returncode == 0, done.stdout
    assert "docker.io" in (tmp_path / "apt").read_text()
    assert told(done.stdout)["tinything"] == "1.0"


def test_where_it_cannot_be_installed_the_person_hears_what_to_do(
    docker: Docker, cloud: Cloud, tmp_path: Path
) -> None:
    path = bare(tmp_path / "bare")
    want(cloud, "")
    start(cloud, tmp_path / "prefix", **{**docker.environment(), "PATH": path})
    report = cloud.objects[BOOT_REPORT].decode()
    assert "this machine has no Docker" in report
    assert "hydra.launcher.vm.image" in report
    assert cloud.deleted == [INSTANCE]
