"""The doctor as a whole: what it does where it cannot ask, and how it says what it has found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from google.auth.credentials import AnonymousCredentials

from hydra_gce.cli import main
from hydra_gce.cloud.backend import Backend
from hydra_gce.doctor import State, examine
from hydra_gce.doctor.patient import patient_of
from hydra_gce.settings import Settings
from tests.doctor.clinic import Clinic


def test_where_google_is_out_of_reach_it_is_said_and_is_an_error(tmp_path: Path) -> None:
    """Nothing listens there: that is told once, and the checks that ask nobody judge all the same."""
    nowhere = "http://127.0.0.1:9"
    backend = Backend("cloud", "lab", nowhere, nowhere, AnonymousCredentials(), None, apis=nowhere + "/{api}")
    found = {one.check: one for one in examine(patient_of(backend, Settings(), {}, "hydra-gce setup"))}
    assert found["connection"].state is State.ERROR
    assert f"{nowhere} does not answer" in found["connection"].found
    assert found["APIs"].state is State.SKIPPED
    assert found["machine"].state is State.OK
    assert found["Python"].state is State.OK


def test_a_viewer_is_told_what_he_may_not_ask(clinic: Clinic) -> None:
    clinic.give("roles/compute.viewer")
    found = clinic.doctor()
    assert found["APIs"][0]["state"] == "skipped"
    assert "Permission denied to get service" in found["APIs"][0]["found"]
    ((remedy,),) = found["APIs"][0]["remedies"]
    assert "--role=roles/serviceusage.serviceUsageViewer" in remedy
    assert found["permissions"][0]["state"] == "error"
    assert found["network"][0]["state"] == "ok"


def test_all_checks_are_in_the_report_in_the_same_order(clinic: Clinic) -> None:
    code, out, _ = clinic.hydra_gce("doctor", "--backend", "local")
    assert code == 0
    shown = [line[10:24].strip() for line in out.splitlines()]
    assert shown == list(clinic.doctor())
    assert shown[0] == "connection"


def test_a_setting_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--backend", "local", "vm.gpuu=T4"]) == 1
    assert "hydra.launcher.vm.gpuu" in capsys.readouterr().err
    assert main(["doctor", "--backend", "local", "T4"]) == 1
    assert "write FIELD=VALUE" in capsys.readouterr().err


def test_without_credentials_there_is_one_finding_and_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    assert main(["doctor", "--backend", "cloud", "--project", "lab", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    (found,) = report["findings"]
    assert (found["check"], found["state"]) == ("credentials", "error")
    assert found["remedies"] == [["gcloud auth application-default login"]]


def test_a_key_that_google_does_not_take_any_more_is_found(
    clinic: Clinic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real service account's key, and a token server that has revoked it."""
    from google.oauth2 import service_account

    from hydra_gce.doctor import credentials

    key = tmp_path / "key.json"
    key.write_text(json.dumps(_key(f"{clinic.cloud.url}/oauth2/token")))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    revoked = service_account.Credentials.from_service_account_file(
        str(key), scopes=["https://www.googleapis.com/auth/cloud-platform"]
    )
    patient = patient_of(
        replace(clinic.backend, credentials=revoked),
        Settings(),
        {"GOOGLE_APPLICATION_CREDENTIALS": str(key)},
        "",
    )
    (found,) = credentials.check(patient)
    assert found.state is State.ERROR
    assert f"--iam-account={revoked.service_account_email}" in str(found.remedies[0])


def _key(token_uri: str) -> dict[str, str]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "project_id": "lab",
        "private_key_id": "1",
        "private_key": pem.decode(),
        "client_email": "trainer@lab.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": token_uri,
    }
