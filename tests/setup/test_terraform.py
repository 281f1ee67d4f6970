"""What `setup --terraform` writes is Terraform, and says what setup does."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import hcl2
import pytest

from tests.doctor.clinic import Clinic
from tests.local.embedded import PROJECT

KINDS = {
    "google_project_service",
    "google_service_account",
    "google_project_iam_custom_role",
    "google_project_iam_member",
    "google_storage_bucket",
    "google_storage_bucket_iam_member",
    "google_compute_firewall",
    "google_compute_router",
    "google_compute_router_nat",
}


@pytest.fixture
def written(bare: Clinic) -> Path:
    path = bare.home / "tf" / "hydra-gce.tf"
    path.parent.mkdir()
    words = ("--terraform", str(path), "--nat", "us-central1", "--bucket-location", "us-central1")
    code, out, err = bare.hydra_gce("setup", "--backend", "local", *words)
    assert code == 0, out + err
    return path


def test_a_parser_reads_every_resource(written: Path) -> None:
    parsed = hcl2.loads(written.read_text())
    kinds = {kind.strip('"') for one in parsed["resource"] for kind in one}
    assert kinds == KINDS


def test_terraform_itself_takes_it(written: Path) -> None:
    """Its form always; what it means only where the provider is at hand, which comes from the network."""
    terraform = shutil.which("terraform") or shutil.which("tofu")
    if terraform is None:
        pytest.skip("terraform is not installed")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [terraform, *words], cwd=written.parent, capture_output=True, text=True, timeout=120, check=False
        )

    form = run("fmt", "-check", "-diff")
    assert form.returncode == 0, form.stdout + form.stderr
    try:
        ready = run("init", "-backend=false", "-input=false").returncode == 0
    except subprocess.TimeoutExpired:
        ready = False
    if not ready:
        pytest.skip("terraform cannot fetch its provider here")
    valid = run("validate")
    assert valid.returncode == 0, valid.stdout + valid.stderr


def test_it_goes_to_the_screen_and_over_no_other_file(bare: Clinic, tmp_path: Path) -> None:
    code, out, _ = bare.hydra_gce("setup", "--backend", "local", "--terraform", "-")
    assert code == 0
    assert f'default = "{PROJECT}"' in out
    other = tmp_path / "main.tf"
    other.write_text("# mine\n")
    code, _, err = bare.hydra_gce("setup", "--backend", "local", "--terraform", str(other))
    assert code == 1
    assert "holds something else" in err
    assert other.read_text() == "# mine\n"
