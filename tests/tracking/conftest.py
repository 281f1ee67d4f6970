"""A real MLflow store in the place of the laptop's; the bucket is that of all tests."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from mlflow import MlflowClient

from bench.mlflow_server import MLflowServer
from hydra_gce.bucket import Bucket
from tests.tracking.equality import records
from tests.tracking.lab import TRAINING, Scribe, root_run, run_program


@pytest.fixture(scope="session", autouse=True)
def stores_that_do_not_wait_for_the_disk() -> Iterator[None]:
    """Nobody pulls the plug in a test, and on a busy disk each commit costs tens of milliseconds."""

    def hurry(connection: Any, _record: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
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


@pytest.fixture
def plain(empty_store: Path, tmp_path: Path) -> dict[str, Any]:
    """The records that the training leaves in MLflow without us."""
    directory = tmp_path / "plain"
    directory.mkdir()
    shutil.copy(empty_store, directory / "mlflow.db")
    uri = f"sqlite:///{directory / 'mlflow.db'}"
    run_program(TRAINING, {"MLFLOW_TRACKING_URI": uri, "MLFLOW_EXPERIMENT_NAME": "membrane"}, directory)
    client = MlflowClient(uri)
    return records(client, root_run(client, "membrane"))


@pytest.fixture
def scribe(bucket: Bucket, tmp_path: Path) -> Callable[..., Scribe]:
    """Makes the VM's end of a job: what writes its journal and hands it over."""

    def make(num: int = 0, attempt: int = 1) -> Scribe:
        return Scribe(bucket, tmp_path, num, attempt)

    return make


@pytest.fixture(scope="session")
def server(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tracking server over a database."""
    home = tmp_path_factory.mktemp("server")
    (home / "server.db").write_bytes(empty_store.read_bytes())
    with MLflowServer(home) as server:
        yield server.uri
