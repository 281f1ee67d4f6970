"""Artifacts are in MLflow while they come, each once, wherever its store keeps them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from mlflow import MlflowClient
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from hydra_gce.bucket import Bucket
from hydra_gce.jobs import JobState
from hydra_gce.tracking.relay.destination import Destination
from hydra_gce.tracking.relay.relay import Relay
from tests.tracking.lab import STARTED, Scribe, relay_for


@pytest.fixture
def vm(bucket: Bucket, tmp_path: Path) -> Scribe:
    return Scribe(bucket, tmp_path / "vm", 0)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The artifacts that the store was asked to take."""
    original, asked = Destination.call, []

    def noted(self: Destination, what: str, function: Callable[[], Any]) -> Any:
        if what.startswith("take the artifact"):
            asked.append(what.removeprefix("take the artifact ").partition("/")[2])
        return original(self, what, function)

    monkeypatch.setattr(Destination, "call", noted)
    return asked


def text(relay: Relay, store: str, path: str, directory: Path) -> str:
    directory.mkdir(exist_ok=True)
    return Path(
        MlflowClient(store).download_artifacts(str(relay.run_id(0)), path, str(directory))
    ).read_text()


def test_they_come_while_the_job_runs_and_once_each(
    vm: Scribe, bucket: Bucket, store: str, taken: list[str], tmp_path: Path
) -> None:
    relay = relay_for(bucket, store, experiment="membrane")
    run_id = vm.run()
    vm.put_artifact(run_id, "plots/a.txt", b"first")
    vm.put_artifact(run_id, "b.txt", b"b")
    relay.tick({0: vm.upload()})
    assert relay.trouble == ""
    assert text(relay, store, "plots/a.txt", tmp_path / "seen") == "first"
    relay.tick({0: vm.status(JobState.RUNNING)})
    relay = relay_for(bucket, store, experiment="membrane")  # the laptop was started again
    relay.tick({0: vm.status(JobState.RUNNING)})
    assert sorted(taken) == ["b.txt", "plots/a.txt"]

    vm.put_artifact(run_id, "plots/a.txt", b"second")
    relay.tick({0: vm.upload()})
    relay.finish(vm.status(JobState.COMPLETED), STARTED + 60, {})
    assert text(relay, store, "plots/a.txt", tmp_path / "again") == "second"


def test_a_file_that_the_program_removes_goes_from_the_store_and_one_that_is_gone_from_the_bucket_stays(
    vm: Scribe, bucket: Bucket, store: str
) -> None:
    relay = relay_for(bucket, store, experiment="membrane")
    run_id = vm.run()
    for name in ("kept.txt", "checkpoints/1.bin", "checkpoints/2.bin", "expired.txt"):
        vm.put_artifact(run_id, name, b"content")
    relay.tick({0: vm.upload()})
    vm.remove_artifact(run_id, "checkpoints/1.bin")
    vm.put_artifact(run_id, "brief.txt", b"never seen by the agent")
    vm.remove_artifact(run_id, "brief.txt")
    (expired,) = (entry for entry in bucket.list("") if entry.name.endswith("/expired.txt"))
    bucket.delete(expired.name)  # by a rule of the bucket
    relay.tick({0: vm.upload()})
    relay = relay_for(bucket, store, experiment="membrane")  # the laptop was started again
    relay.tick({0: vm.status(JobState.RUNNING)})
    relay.finish(vm.status(JobState.COMPLETED), STARTED + 60, {})
    assert relay.refused == []
    client, run = MlflowClient(store), str(relay.run_id(0))
    assert [item.path for item in client.list_artifacts(run)] == ["checkpoints", "expired.txt", "kept.txt"]
    assert [item.path for item in client.list_artifacts(run, "checkpoints")] == ["checkpoints/2.bin"]


def test_a_file_that_comes_before_its_run_waits_for_it(
    vm: Scribe, bucket: Bucket, store: str, tmp_path: Path
) -> None:
    relay = relay_for(bucket, store, experiment="membrane")
    other = vm.run("other")
    nested = vm._point.run_family("membrane", other, "fold") + "0000"
    vm.put_artifact(nested, "early.txt", b"early")
    relay.tick({0: vm.upload()})
    assert relay.refused == []
    vm.run("fold", parent=other)
    relay.tick({0: vm.upload()})
    (fold,) = (run for run in Destination(store, "calm-otter").of_job(0) if run.role == "run")
    assert MlflowClient(store).list_artifacts(fold.run_id)[0].path == "early.txt"
    vm.put_artifact("0" * 32, "nobodys.txt", b"")
    vm.upload()
    relay.finish(vm.status(JobState.COMPLETED), STARTED + 60, {})
    assert [refusal.what.rpartition("/")[2] for refusal in relay.refused] == ["nobodys.txt"]


def test_into_cloud_storage_they_are_copied_there(
    vm: Scribe,
    bucket: Bucket,
    storage_url: str,
    store: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def not_here(*_: object) -> None:
        raise AssertionError("an artifact came through this machine")

    monkeypatch.setattr(Bucket, "download", not_here)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage_url)  # for MLflow's own client
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    location = f"gs://{bucket.name}/mlartifacts"
    MlflowClient(store).create_experiment("membrane", location)
    relay = relay_for(bucket, store, experiment="membrane")
    run_id = vm.run()
    vm.put_artifact(run_id, "checkpoints/model.bin", bytes(range(256)) * 1000)
    vm.put_artifact(run_id, "top.txt", b"top")
    relay.tick({0: vm.upload()})
    assert relay.trouble == "" and relay.refused == []
    below = f"mlartifacts/{relay.run_id(0)}/artifacts/"
    options = {"api_endpoint": storage_url}
    there = storage.Client("p", AnonymousCredentials(), client_options=options).bucket(bucket.name)
    assert there.blob(below + "checkpoints/model.bin").download_as_bytes() == bytes(range(256)) * 1000
    assert there.blob(below + "top.txt").download_as_bytes() == b"top"


def test_a_store_that_did_not_keep_what_it_was_given_is_asked_again(
    vm: Scribe, bucket: Bucket, store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    relay = relay_for(bucket, store, experiment="membrane")
    run_id = vm.run()
    vm.put_artifact(run_id, "a.txt", b"whole")
    log_artifact: Any = LocalArtifactRepository.log_artifact

    def full_disk(self: LocalArtifactRepository, local: str, below: str | None = None) -> None:
        log_artifact(self, local, below)
        Path(self.artifact_dir, below or "", Path(local).name).write_bytes(b"who")

    with monkeypatch.context() as patched:
        patched.setattr(LocalArtifactRepository, "log_artifact", full_disk)
        relay.tick({0: vm.upload()})
        assert "is not what was written there" in relay.trouble
    relay.tick({0: vm.status(JobState.RUNNING)})
    assert relay.trouble == ""
    assert text(relay, store, "a.txt", tmp_path / "seen") == "whole"
