"""Where a store is: addresses that mean one thing from anywhere, and what of them may be read by anybody."""

from __future__ import annotations

import os
import re
from pathlib import Path

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:")  # two letters at least: C:/mlruns is a path


def from_anywhere(uri: str) -> str:
    """A store on this machine, by its absolute path: whoever looks at it later may be elsewhere.

    A directory (the ``mlruns`` of an earlier project, which MLflow takes where there is one) is allowed from now on:
    MLflow 3 asks for that, as new projects had better begin with a database.
    """
    database = uri.removeprefix("sqlite:///")
    if database != uri:
        return f"sqlite:///{Path(database).absolute()}" if database else uri
    if uri == "databricks" or not is_directory(uri):
        return uri
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    return uri if uri.startswith("file:") else Path(uri).absolute().as_uri()


def is_directory(uri: str) -> bool:
    """Whether this is a place on this machine: a path, or ``file:`` and a path."""
    return uri.startswith("file:") or not _SCHEME.match(uri)


def without_password(text: str) -> str:
    """An address, or a sentence with addresses in it, without users and passwords."""
    within = re.sub(r"://[^/\s]*@", "://", text)
    return re.sub(r"([?&]\w*(?:password|token)\w*=)[^&\s]*", r"\1***", within)
