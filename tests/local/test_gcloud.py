"""The real gcloud CLI against the embedded cloud, with what `hydra_gce.local env` exports and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.local.embedded import eventually

pytestmark = [
    pytest.mark.gcloud,
    pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed"),
]
TYPE = ("--machine-type", "e2-micro")


class Gcloud:
    """Runs gcloud as a person would after `eval "$(python -m hydra_gce.local env)"`."""

    def __init__(self, home: Path) -> None:
        self._base = {**os.environ, "HYDRA_GCE_HOME": str(home), "CLOUDSDK_CONFIG": str(home / "gcloud")}
        exports = self.local("env").splitlines()
        pairs = [line.removeprefix("export ").split("=", 1) for line in exports]
        self._environment = {**self._base, **dict(pairs)}

    def local(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "hydra_gce.local", *arguments]
        return subprocess.run(
            command, env=self._base, capture_output=True, text=True, timeout=120, check=True
        ).stdout

    def __call__(self, *arguments: str) -> str:
        command = ["gcloud", *arguments, "--quiet"]
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, timeout=180, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--format=json"))

    def compute(self, *arguments: str) -> str:
        return self("compute", *arguments)


@pytest.fixture(scope="module")
def gcloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gcloud]:
    gcloud = Gcloud(tmp_path_factory.mktemp("gcloud"))
    try:
        yield gcloud
    finally:
        gcloud.local("stop")


def test_a_plain_instance_lives_its_life(gcloud: Gcloud) -> None:
    gcloud.compute("instances", "create", "plain", *TYPE)
    (listed,) = gcloud.json("compute", "instances", "list", "--filter=name=plain")
    assert listed["status"] == "RUNNING"
    gcloud.compute("instances", "add-metadata", "plain", "--metadata=color=blue")
    gcloud.compute("instances", "add-labels", "plain", "--labels=team=a")
    described = gcloud.json("compute", "instances", "describe", "plain")
    assert described["labels"] == {"team": "a"}
    assert {"key": "color", "value": "blue"} in described["metadata"]["items"]
    gcloud.compute("instances", "reset", "plain")
    gcloud.compute("instances", "stop", "plain")
    assert gcloud.json("compute", "instances", "describe", "plain")["status"] == "TERMINATED"
    gcloud.compute("instances", "start", "plain")
    gcloud.compute("instances", "delete", "plain")
    assert gcloud.json("compute", "instances", "list") == []


def test_a_spot_vm_with_gpu_and_metadata(gcloud: Gcloud) -> None:
    gcloud.compute(
        "instances", "create", "spot", "--machine-type=n1-standard-1", "--accelerator=type=nvidia-tesla-t4,count=1",
        "--maintenance-policy=TERMINATE", "--provisioning-model=SPOT", "--instance-termination-action=DELETE",
        "--metadata=a=b",
    )  # fmt: skip
    made = gcloud.json("compute", "instances", "describe", "spot")
    assert made["guestAccelerators"][0]["acceleratorCount"] == 1
    assert made["scheduling"]["provisioningModel"] == "SPOT"
    gcloud.compute("instances", "delete", "spot")


def test_a_startup_script_speaks_on_the_serial_port(gcloud: Gcloud, tmp_path: Path) -> None:
    script = tmp_path / "startup.sh"
    script.write_text("echo said by the script\n")
    gcloud.compute(
        "instances", "create", "scripted", *TYPE, f"--metadata-from-file=startup-script={script}",
        "--max-run-duration=10m", "--instance-termination-action=DELETE",
    )  # fmt: skip
    eventually(
        lambda: "said by the script" in gcloud.compute("instances", "get-serial-port-output", "scripted"), 60
    )
    gcloud.compute("instances", "delete", "scripted")


def test_two_at_once_of_a_custom_type(gcloud: Gcloud) -> None:
    gcloud.compute("instances", "create", "one", "two", "--custom-cpu=1", "--custom-memory=1GB")
    listed = gcloud.json("compute", "instances", "list")
    assert {one["machineType"].rsplit("/", 1)[-1] for one in listed} == {"custom-1-1024"}
    gcloud.compute("instances", "delete", "one", "two")  # one HTTP request: a batch


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("zones", "us-central1-a"),
        ("regions", "us-central1"),
        ("machine-types", "n1-standard-4"),
        ("accelerator-types", "nvidia-tesla-t4"),
        ("images", "debian-12-bookworm-"),
        ("operations", "operation-"),
    ],
)
def test_lists(gcloud: Gcloud, what: str, name: str) -> None:
    more = ["--zones=us-central1-a"] if what == "machine-types" else []
    assert any(name in one["name"] for one in gcloud.json("compute", what, "list", *more))


def test_buckets(gcloud: Gcloud, tmp_path: Path) -> None:
    (tmp_path / "hello.txt").write_text("hello\n")
    gcloud("storage", "buckets", "create", "gs://gcloud-test")
    gcloud("storage", "cp", str(tmp_path / "hello.txt"), "gs://gcloud-test/x/hello.txt")
    assert gcloud("storage", "ls", "gs://gcloud-test/x/").split() == ["gs://gcloud-test/x/hello.txt"]
    assert gcloud("storage", "cat", "gs://gcloud-test/x/hello.txt") == "hello\n"
