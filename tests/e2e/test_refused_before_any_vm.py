"""Mistakes that end a launch before any VM exists, each with one short message and no traceback."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hydra_gce.cloud.backend import Backend
from hydra_gce.errors import ConfigError
from tests.e2e.project import Project

pytestmark = pytest.mark.usefixtures("no_vm_was_asked_for")


def refuse(project: Project, *overrides: str, env: dict[str, str] | None = None) -> str:
    """The message that a launch ends with; nothing else may be there to read."""
    ended = project.launch(*overrides, env=env)
    assert ended.code != 0, ended.said
    assert "Traceback" not in ended.said
    lines = [line for line in ended.err.splitlines() if line.strip()]
    # Hydra's own offer of its stack, which is its own for every exception
    message = "\n".join(line for line in lines if "HYDRA_FULL_ERROR" not in line)
    assert 0 < len(message) < 1200, message
    return message


@pytest.fixture
def plain(project: Project) -> Project:
    project.program("return 1")
    return project


def test_the_cloud_without_credentials(plain: Project, tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "CLOUDSDK_CONFIG": str(tmp_path / "no-login"), "NO_GCE_CHECK": "false"}
    begun = time.monotonic()

    message = refuse(plain, "hydra.launcher.backend=cloud", env=env)

    assert "hydra.launcher.backend" in message
    assert "gcloud auth application-default login" in message
    assert "hydra.launcher.backend=local" in message
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize(
    "override, said",
    [
        ("hydra.launcher.vm.gpu=L5", ["hydra.launcher.vm.gpu", "L5", "L4"]),
        (
            "hydra.launcher.vm.zones=[us-centrall1-a]",
            ["hydra.launcher.vm.zones", "us-centrall1-a", "us-central1-a"],
        ),
        ("hydra.launcher.vm.machine_type=n1-standart-4", ["hydra.launcher.vm.machine_type", "n1-standard-4"]),
        (
            "hydra.launcher.vm.gpuu=T4",
            ["Could not override 'hydra.launcher.vm.gpuu'", "Key 'gpuu' not in 'VM'"],
        ),
        ("hydra.launcher.backend=clowd", ["hydra.launcher.backend=clowd", "cloud"]),
        ("hydra.launcher.data=[missing/images]", ["hydra.launcher.data", "missing/images", "does not exist"]),
        ("hydra.launcher.env.requirements=nothing.txt", ["hydra.launcher.env.requirements", "nothing.txt"]),
    ],
)
def test_a_value_that_is_wrong(plain: Project, override: str, said: list[str]) -> None:
    message = refuse(plain, override)

    for part in said:
        assert part in message


def test_leaving_at_once_a_sweeper_that_wants_the_results_of_a_batch(plain: Project) -> None:
    message = refuse(plain, "+x=1,2", "hydra.launcher.wait=false", "hydra.sweeper.max_batch_size=1")

    assert "hydra.launcher.wait=false" in message
    assert "hydra/sweeper=basic" in message


def test_a_task_function_that_holds_a_lock(project: Project) -> None:
    project.write(
        "app.py",
        """
        import threading

        import hydra

        def make():
            guard = threading.Lock()

            @hydra.main(version_base="1.3", config_path=None)
            def main(cfg):
                with guard:
                    return 1
            return main

        make()()
        """,
    )

    message = refuse(project)

    assert "the enclosed variable 'guard'" in message
    assert "lock" in message


def test_a_task_function_that_uses_an_open_file(project: Project) -> None:
    project.write(
        "app.py",
        """
        import hydra

        journal = open("journal.txt", "w")

        def note(text):
            journal.write(text)

        @hydra.main(version_base="1.3", config_path=None)
        def main(cfg):
            note("begun")

        main()
        """,
    )

    message = refuse(project)

    assert "the global 'journal'" in message
    assert "TextIOWrapper" in message


def test_code_over_the_limit(plain: Project) -> None:
    (plain.directory / "weights").mkdir()
    (plain.directory / "weights/old.ckpt").write_bytes(b"0" * 3_000_000)

    message = refuse(plain, "hydra.launcher.code.max_mb=2")

    assert "hydra.launcher.code.max_mb" in message
    assert "weights/old.ckpt (3.0 MB)" in message
    assert "hydra.launcher.code.exclude" in message


def test_an_environment_that_contradicts_the_launchers(plain: Project) -> None:
    plain.write("requirements.txt", "hydra-core==1.1\n")

    message = refuse(plain, "hydra.launcher.env.requirements=null")

    assert "hydra-core" in message
    assert "requirements.txt" in message


def test_an_environment_that_contradicts_itself(plain: Project) -> None:
    plain.write("requirements.txt", "omegaconf>=2.3\nomegaconf<2.2\n")

    message = refuse(plain, "hydra.launcher.env.requirements=null")

    assert "omegaconf" in message
    assert "requirements.txt" in message


class SomebodyElses(BaseHTTPRequestHandler):
    """Cloud Storage for a bucket that exists and is not ours: reading it is forbidden, its name is taken."""

    def do_GET(self) -> None:
        self._answer(
            403, "me@example.org does not have storage.buckets.get access to the bucket.", "forbidden"
        )

    def do_POST(self) -> None:
        self._answer(409, "The requested bucket name is not available.", "conflict")

    def _answer(self, code: int, message: str, reason: str) -> None:
        error = {"code": code, "message": message, "errors": [{"message": message, "reason": reason}]}
        body = json.dumps({"error": error}).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def somebody_elses() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), SomebodyElses)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_bucket_that_is_not_ours(somebody_elses: str, engine: Backend) -> None:
    backend = Backend("cloud", "mine", engine.compute_endpoint, somebody_elses, engine.credentials, None)

    with pytest.raises(ConfigError, match=r"gs://taken.*hydra\.launcher\.bucket=<name>"):
        backend.bucket("taken")


def test_a_bucket_name_that_cannot_be(plain: Project) -> None:
    message = refuse(plain, "hydra.launcher.bucket='My Bucket'")

    assert "hydra.launcher.bucket" in message
    assert "My Bucket" in message
