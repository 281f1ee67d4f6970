"""A real MLflow store in the place of the laptop's; the bucket is that of all tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy


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
