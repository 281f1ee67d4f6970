"""A sweep is found by this machine's record, and without one in its bucket; a slip is answered with the nearest."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from hydra_gce.bucket import SweepNames
from hydra_gce.cli import exits
from hydra_gce.cloud.backend import Backend
from hydra_gce.home import SweepRecord
from hydra_gce.jobs import JobState
from tests.cli.conftest import Command
from tests.cli.stored import Stored

LOCAL = ("--backend", "local")


@pytest.fixture
def empty_laptop(monkeypatch: pytest.MonkeyPatch, embedded: Backend, hydra_gce_home: Path) -> None:
    """A state directory without a sweep, beside the embedded Compute Engine of this session."""
    monkeypatch.setattr("hydra_gce.home.sweep_records", list)


@pytest.mark.usefixtures("empty_laptop")
def test_every_verb_finds_a_sweep_that_this_machine_knows_nothing_of(
    command: Command, forgotten: Stored
) -> None:
    forgotten.status(0, JobState.COMPLETED)
    forgotten.ledger(job0=100)
    forgotten.prints(0, b"it trained\n")
    for verb in ("show", "logs", "top", "cost"):
        code, out, err = command(verb, forgotten.sweep, *LOCAL)
        assert (code, err) == (0, ""), verb
        assert out
    code, out, _ = command("logs", forgotten.sweep, *LOCAL)
    assert out == "it trained\n"


@pytest.mark.usefixtures("empty_laptop")
def test_without_a_record_last_is_the_newest_in_the_bucket(
    command: Command, forgotten: Stored, embedded: Backend
) -> None:
    newer = Stored(forgotten.bucket, f"new-{uuid.uuid4().hex[:6]}")
    newer.describe()
    newer.status(0)
    try:
        code, out, _ = command("show", "--json", *LOCAL)
    finally:
        newer.delete()
    assert (code, json.loads(out)["sweep"]) == (0, newer.sweep)


def test_the_nearest_name_comes_from_the_bucket_too(command: Command, forgotten: Stored) -> None:
    code, _, err = command("show", forgotten.sweep[:-1], *LOCAL)
    assert code == exits.UNKNOWN
    assert f"Did you mean {forgotten.sweep}" in err
    assert err.count("\n") == 1


def test_a_sweep_whose_description_was_deleted_is_found_all_the_same(
    command: Command, forgotten: Stored
) -> None:
    forgotten.status(0, JobState.COMPLETED)
    forgotten.bucket.delete(forgotten.names.description)
    code, out, _ = command("show", forgotten.sweep, "--json", *LOCAL)
    assert (code, json.loads(out)["state"]) == (0, "ended")


def test_a_bucket_that_does_not_exist_is_said_and_not_made(command: Command, embedded: Backend) -> None:
    nowhere = f"b-{uuid.uuid4().hex[:12]}"
    code, _, err = command("show", "calm-otter", "--bucket", nowhere, *LOCAL)
    assert code == exits.UNKNOWN
    assert f"nor a bucket gs://{nowhere}" in err
    assert not embedded.storage.bucket(nowhere).exists()


@pytest.mark.parametrize("name", ["../x", "Calm Otter", "sweeps/calm-otter", ""])
def test_what_cannot_be_a_name_is_a_clear_error(command: Command, name: str, embedded: Backend) -> None:
    code, _, err = command("show", name, *LOCAL)
    assert code == exits.UNKNOWN
    assert "there is no sweep" in err


def test_the_record_of_another_project_is_not_taken_where_one_is_named(
    command: Command, record: SweepRecord, forgotten: Stored
) -> None:
    code, _, err = command("show", record.sweep, *LOCAL, "--bucket", forgotten.bucket.name)
    assert code == exits.UNKNOWN
    assert f"nor in gs://{forgotten.bucket.name}" in err


def test_an_embedded_compute_engine_that_never_ran_is_not_started_to_look(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYDRA_GCE_HOME", str(tmp_path))
    code, _, err = command("show", "calm-otter")
    assert code == exits.UNKNOWN
    assert "there is no sweep 'calm-otter' here" in err
    assert not (tmp_path / "local").exists()


@pytest.mark.parametrize("verb", ["logs", "ssh", "pull", "open", "collect"])
def test_a_job_that_does_not_exist_is_said_with_those_that_do(
    command: Command, stored: Stored, verb: str
) -> None:
    for num in (0, 1, 2):
        stored.status(num)
    words = {"logs": ["--job", "7"], "collect": ["--job", "7"]}.get(verb, ["7"])
    code, _, err = command(verb, stored.sweep, *words)
    assert code == exits.UNKNOWN
    assert err == f"hydra-gce: sweep {stored.sweep} has no job 7; it has 0-2\n"


def test_a_status_that_is_none_of_ours_is_passed_over(command: Command, stored: Stored) -> None:
    stored.status(0, JobState.COMPLETED)
    stored.bucket.write(SweepNames(stored.sweep).status(1), b"scribble")
    code, out, _ = command("show", stored.sweep, "--json")
    assert (code, json.loads(out)["counts"]) == (0, {"COMPLETED": 1})
