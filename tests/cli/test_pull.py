"""hydra-gce pull: a job's outputs while it runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hydra_gce.cli import exits
from tests.cli.conftest import Command
from tests.cli.stored import Stored


@pytest.fixture
def running(stored: Stored, tmp_path: Path) -> Stored:
    """Job 0 has sent some files; job 1 none."""
    for num in (0, 1):
        stored.status(num)
        stored.spec(num, tmp_path / "multirun")
    stored.outputs(0, tmp_path / "vm", metrics__a_csv="1,2", metrics__b_csv="3", model="weights")
    return stored


def test_everything_comes_to_where_hydra_would_have_it(
    command: Command, running: Stored, tmp_path: Path
) -> None:
    code, out, err = command("pull", running.sweep, "0")
    place = tmp_path / "multirun" / "0"
    assert (code, err) == (0, "")
    assert out == f"job 0, attempt 1: 3 files in {place} (11 bytes fetched)\n"
    assert (place / "metrics/a_csv").read_text() == "1,2"
    assert "(0 bytes fetched)" in command("pull", running.sweep, "0")[1]


@pytest.mark.parametrize(
    ("path", "files"),
    [
        ("model", {"model"}),
        ("metrics", {"metrics/a_csv", "metrics/b_csv"}),
        ("metrics/", {"metrics/a_csv", "metrics/b_csv"}),
        ("metrics/a*", {"metrics/a_csv"}),
        ("*_csv", {"metrics/a_csv", "metrics/b_csv"}),
        (".", {"metrics/a_csv", "metrics/b_csv", "model"}),
    ],
)
def test_a_part_of_it_comes_elsewhere(
    command: Command, running: Stored, tmp_path: Path, path: str, files: set[str]
) -> None:
    code, _, _ = command("pull", running.sweep, "0", path, "--to", str(tmp_path / "here"))
    assert code == 0
    here = tmp_path / "here"
    assert {str(one.relative_to(here)) for one in here.rglob("*") if one.is_file()} == files


def test_a_path_that_is_not_there_is_answered_with_the_nearest(command: Command, running: Stored) -> None:
    code, _, err = command("pull", running.sweep, "0", "modle")
    assert code == exits.UNKNOWN
    assert f"job 0 of {running.sweep} has no 'modle'. Did you mean model?" in err


def test_what_there_is_can_be_listed(command: Command, running: Stored, tmp_path: Path) -> None:
    code, out, _ = command("pull", "--list", running.sweep, "0")
    assert code == 0
    assert [line.split()[-1] for line in out.splitlines()] == ["metrics/a_csv", "metrics/b_csv", "model"]
    assert not (tmp_path / "multirun").exists()
    content = json.loads(command("pull", running.sweep, "0", "model", "--list", "--json")[1])
    assert [one["path"] for one in content["files"]] == ["model"]
    assert (content["attempt"], content["to"]) == (1, None)


def test_a_job_without_outputs_yet_is_a_clear_error(command: Command, running: Stored) -> None:
    code, out, err = command("pull", running.sweep, "1")
    assert (code, out) == (exits.ERROR, "")
    assert f"job 1 of {running.sweep} has no outputs in gs://{running.bucket.name} yet" in err


def test_newer_versions_replace_older_ones(command: Command, running: Stored, tmp_path: Path) -> None:
    command("pull", running.sweep, "0")
    (tmp_path / "vm" / "model").write_text("better weights")
    running.outputs(0, tmp_path / "vm")
    command("pull", running.sweep, "0", "model")
    assert (tmp_path / "multirun/0/model").read_text() == "better weights"


def test_without_a_job_it_says_how_it_is_called(command: Command, running: Stored) -> None:
    code, _, err = command("pull", running.sweep)
    assert code == exits.ERROR
    assert "hydra-gce pull [SWEEP] JOB [PATH]: which job?" in err


def test_a_forged_manifest_is_not_opened(command: Command, running: Stored) -> None:
    name = f"{running.names.output(0, 1)}manifest"
    running.bucket.write(name, running.bucket.read(name).replace(b"model", b"m0del"))
    code, _, err = command("pull", running.sweep, "0")
    assert code == exits.ERROR
    assert "its signature is wrong" in err
