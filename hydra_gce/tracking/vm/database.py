"""The database of a VM's tracking store, made and opened for speed: it need not outlive the VM, the journal
does.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow.store.db.utils as mlflow_database
import sqlalchemy

_PRAGMAS = ("PRAGMA synchronous = OFF", "PRAGMA temp_store = MEMORY")


def create(path: Path) -> None:
    """Makes an empty MLflow database unless there is one. The caller sees to it that nobody else does so
    meanwhile.

    MLflow's own migrations make it, since its models alone do not give the same tables; without waiting for
    the disk they take half of the time. Where MLflow has them elsewhere, the store itself makes the database
    later.
    """
    initialize = getattr(mlflow_database, "_initialize_tables", None)
    if path.exists() or initialize is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    making = path.with_suffix(".making")
    making.unlink(missing_ok=True)
    engine = sqlalchemy.create_engine(f"sqlite:///{making}")
    sqlalchemy.event.listen(engine, "connect", _without_a_journal)
    with quiet_migrations():
        initialize(engine)
    engine.dispose()
    os.replace(making, path)


@contextmanager
def quiet_migrations() -> Iterator[None]:
    """Without MLflow's lines about tables: a program's log and a sweep's table are no place for them."""
    logger = logging.getLogger(mlflow_database.__name__)
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def open_quickly(engine: sqlalchemy.engine.Engine) -> None:
    """From now on the engine's connections do not wait for the disk, and readers do not wait for writers."""
    sqlalchemy.event.listen(engine, "connect", _without_waiting)
    engine.dispose()
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")


def _without_a_journal(connection: Any, _record: Any) -> None:
    for pragma in (*_PRAGMAS, "PRAGMA journal_mode = OFF"):
        connection.execute(pragma)


def _without_waiting(connection: Any, _record: Any) -> None:
    for pragma in _PRAGMAS:
        connection.execute(pragma)
