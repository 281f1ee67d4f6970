"""A store that is a database of a server (PostgreSQL, MySQL, SQL Server): whether it can be reached, and quietly."""

from __future__ import annotations

import logging

_KINDS = ("postgresql", "mysql", "mssql")  # those that MLflow takes, but for SQLite
_LOGGER = "mlflow.store.db.utils"


def is_database_server(uri: str) -> bool:
    """Whether ``uri`` names one: ``postgresql://…``, also with a driver, as in ``postgresql+psycopg://…``."""
    return uri.partition("://")[0].partition("+")[0] in _KINDS


def missing_driver(uri: str) -> str:
    """The Python module that talks to such a database and is not installed here; empty if it is."""
    from sqlalchemy import make_url

    try:
        make_url(uri).get_dialect().import_dbapi()
    except ModuleNotFoundError as error:
        return error.name or ""
    return ""


def reach(uri: str) -> None:
    """Connects once. MLflow tries a database that is down for two minutes, and prints a page each time; who calls this
    tries again by itself, and says so in a sentence.

    :raises sqlalchemy.exc.DBAPIError: it cannot be reached.
    """
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    logging.getLogger(_LOGGER).setLevel(logging.CRITICAL)
    create_engine(uri, poolclass=NullPool).connect().close()
