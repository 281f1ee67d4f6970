"""Which Compute Engine is meant, and never another one by accident."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from hydra_gce.cloud import backend as backends
from hydra_gce.cloud.backend import COMPUTE, LOCAL_PROJECT, Backend, connect
from hydra_gce.errors import CredentialsError, LocalEngineError

# What Google's library takes for a login, though nobody could log in with it.
LOGIN = {"type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "t"}


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A laptop without a Google account; ``_local`` is not started."""
    (tmp_path / "gcloud").mkdir()
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    local = Backend("local", LOCAL_PROJECT, "http://c", "http://s", None, "image")
    monkeypatch.setattr(backends, "_local", lambda environ: local)
    return {"CLOUDSDK_CONFIG": str(tmp_path / "gcloud")}


def log_in(environ: dict[str, str]) -> None:
    path = Path(environ["CLOUDSDK_CONFIG"], "application_default_credentials.json")
    path.write_text(json.dumps(LOGIN))


def test_without_account_and_project_auto_is_the_embedded_one(environ: dict[str, str]) -> None:
    assert connect("auto", None, environ).kind == "local"


@pytest.mark.parametrize("name", ["GOOGLE_CLOUD_PROJECT", "CLOUDSDK_CORE_PROJECT"])
def test_a_project_that_is_named_means_the_cloud_and_nothing_else(environ: dict[str, str], name: str) -> None:
    for kind in ("auto", "cloud"):
        with pytest.raises(CredentialsError, match="gcloud auth application-default login"):
            connect(kind, None, {**environ, name: "mine"})
        with pytest.raises(CredentialsError):
            connect(kind, "mine", environ)


def test_credentials_that_are_there_mean_the_cloud(environ: dict[str, str]) -> None:
    log_in(environ)
    backend = connect("auto", "mine", environ)
    assert (backend.kind, backend.project, backend.compute_endpoint) == ("cloud", "mine", COMPUTE)
    assert backend.storage_endpoint is None
    assert backend.image is None


def test_credentials_without_a_project_are_no_reason_to_run_elsewhere(environ: dict[str, str]) -> None:
    log_in(environ)
    with pytest.raises(CredentialsError, match="there are credentials, but no project"):
        connect("auto", None, environ)


def test_broken_credentials_are_an_error_and_no_silent_fall(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "key.json"
    broken.write_text("{")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(broken))
    with pytest.raises(CredentialsError, match="none that work here"):
        connect("auto", None, {**environ, "GOOGLE_APPLICATION_CREDENTIALS": str(broken)})


def test_local_is_local_whatever_is_there(environ: dict[str, str]) -> None:
    log_in(environ)
    assert connect("local", "mine", environ).kind == "local"
    assert connect("auto", LOCAL_PROJECT, environ).kind == "local"
    assert connect("auto", None, {**environ, "GOOGLE_CLOUD_PROJECT": LOCAL_PROJECT}).kind == "local"


def test_who_says_cloud_never_gets_the_embedded_one(environ: dict[str, str]) -> None:
    with pytest.raises(CredentialsError):
        connect("cloud", LOCAL_PROJECT, environ)


def test_an_embedded_engine_that_does_not_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "state").write_text("a file where the directory should be")
    monkeypatch.setenv("HYDRA_GCE_HOME", str(tmp_path / "state"))
    with pytest.raises(LocalEngineError, match="The embedded Compute Engine did not start"):
        connect("local", None)


def test_the_embedded_engine_has_an_image_with_this_python(embedded: Backend) -> None:
    assert embedded.project == LOCAL_PROJECT
    assert embedded.image is not None
    assert embedded.image.startswith(f"projects/{LOCAL_PROJECT}/global/images/")


def test_a_bucket_is_made_once_and_found_again(embedded: Backend) -> None:
    name = f"b-{uuid.uuid4().hex[:12]}"
    made = embedded.bucket(name)
    made.write("a", b"1")
    assert embedded.bucket(name).read("a") == b"1"
    assert embedded.bucket(None).name == f"hydra-gce-{LOCAL_PROJECT}"
