"""A real MLflow store in the place of the laptop's; the bucket is that of all tests."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from hydra_gce.bucket import Bucket
from tests.patience import wait_until
from tests.tracking.lab import Scribe


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
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = [
        "--backend-store-uri",
        f"sqlite:///{home / 'server.db'}",
        "--artifacts-destination",
        str(home / "files"),
    ]
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1", *places]
    (home / "server.db").write_bytes(empty_store.read_bytes())
    with (home / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=home, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_until(lambda: _answers(port), "the server answers")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
