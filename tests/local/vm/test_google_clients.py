"""Google's own clients and guest tools find in a guest what they find on Compute Engine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hydra_gce.local.vm import Isolation

ACCOUNT = {
    "aliases": ["default"],
    "email": "robot@example.test",
    "scopes": ["https://www.googleapis.com/auth/cloud-platform"],
}
ACCOUNTS = {"default": ACCOUNT, "robot@example.test": ACCOUNT}

AUTH = """
import google.auth, google.auth.transport.requests
credentials, project = google.auth.default()
credentials.refresh(google.auth.transport.requests.Request())
print(type(credentials).__module__, project, credentials.service_account_email, bool(credentials.token))
"""


def test_google_auth_gets_a_token_by_default(guests: Any, isolation: Isolation, python: str) -> None:
    lines = guests.output(
        f"{python} - <<'END'\n{AUTH}END", python=python, instance={"serviceAccounts": ACCOUNTS}
    )
    assert lines == ["google.auth.compute_engine.credentials hydra-gce-local robot@example.test True"]


@pytest.fixture(scope="session")
def script_runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian's google_metadata_script_runner, taken out of its package without installing it."""
    directory = tmp_path_factory.mktemp("google-guest-agent")
    if not shutil.which("apt-get"):
        pytest.skip(
            "google_metadata_script_runner comes from Debian's google-guest-agent; there is no apt-get here"
        )
    fetched = subprocess.run(
        ["apt-get", "download", "google-guest-agent"],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=120,
    )
    packages = list(directory.glob("*.deb"))
    if not packages:
        pytest.skip(f"google-guest-agent cannot be had: {fetched.stderr.strip()}")
    subprocess.run(["dpkg", "-x", packages[0], directory], check=True, timeout=60)
    return directory / "usr/bin/google_metadata_script_runner"


@pytest.mark.usefixtures("namespaces")
def test_googles_own_runner_runs_our_startup_script(guests: Any, script_runner: Path) -> None:
    machine = guests.boot("echo by $(ps -o comm= $PPID)", name="hg-9")
    guests.says(machine, "startup-script exit status 0")
    (machine.directory / "disk/opt/runner").write_bytes(script_runner.read_bytes())
    (machine.directory / "disk/opt/runner").chmod(0o755)
    ran = subprocess.run(
        [*machine.shell_command(), "-c", "/opt/runner startup"], capture_output=True, text=True, timeout=60
    )
    assert "startup-script: by runner" in ran.stdout + ran.stderr
    assert "startup-script exit status 0" in ran.stdout + ran.stderr
