"""Every test session lives in a home of its own: no test sees or changes the state of who runs it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# The same examples on every machine and in every run, and no verdict by the clock of a busy one.
hypothesis.settings.register_profile("everywhere", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("everywhere")

# What a shell may hold that would send a test to someone's account, bucket or tracking server.
FOREIGN = (
    "CLOUDSDK_",
    "GCE_METADATA_",
    "GCLOUD_",
    "GCP_",
    "GOOGLE_",
    "HYDRA_",
    "MLFLOW_",
    "STORAGE_EMULATOR_",
)

_HOME = pytest.StashKey[Path]()
_ENVIRONMENT = pytest.StashKey[pytest.MonkeyPatch]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--keep-home",
        action="store_true",
        help="leave the session's HYDRA_GCE_HOME behind, and say where it is",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Sets the environment before any test module is imported: some libraries read it while they load."""
    home = Path(tempfile.mkdtemp(prefix="hydra-gce-test-"))
    environment = pytest.MonkeyPatch()
    for name in list(os.environ):
        if name.startswith(FOREIGN):
            environment.delenv(name)
    environment.setenv("HYDRA_GCE_HOME", str(home / "state"))
    environment.setenv("CLOUDSDK_CONFIG", str(home / "gcloud"))  # where google.auth looks for a login
    environment.setenv("NO_GCE_CHECK", "true")  # and it need not wait for a metadata server that is not there
    environment.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home / 'mlflow.db'}")
    environment.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    environment.setenv("PYTHONFAULTHANDLER", "1")
    config.stash[_HOME] = home
    config.stash[_ENVIRONMENT] = environment


def pytest_unconfigure(config: pytest.Config) -> None:
    home = config.stash.get(_HOME, None)
    if home is None:
        return
    config.stash[_ENVIRONMENT].undo()
    if config.getoption("--keep-home"):
        print(f"kept: {home}")
    else:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def hydra_gce_home(pytestconfig: pytest.Config) -> Path:
    """The HYDRA_GCE_HOME of this test session."""
    return pytestconfig.stash[_HOME] / "state"


@pytest.fixture(scope="session", autouse=True)
def _no_embedded_server_is_left(hydra_gce_home: Path) -> Iterator[None]:
    """Stops the embedded Compute Engine that some test has started, with all of its VMs."""
    yield
    if not hydra_gce_home.exists() or importlib.util.find_spec("hydra_gce.local.__main__") is None:
        return
    stop = subprocess.run(
        [sys.executable, "-m", "hydra_gce.local", "stop"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if stop.returncode != 0:
        pytest.fail(f"hydra_gce.local stop ended with {stop.returncode}:\n{stop.stdout}{stop.stderr}")
