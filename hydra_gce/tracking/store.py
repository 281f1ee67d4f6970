"""Where MLflow enters: its entry point group ``mlflow.tracking_store`` names ``JournalStore`` for
``hydra-gce:///abs/dir``.

MLflow loads entry points while it is itself being imported, in every program of an environment that has this
package: nothing is imported here before a program really uses such a store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hydra_gce.tracking.vm.sql_store import SqlJournalStore


def JournalStore(store_uri: str, artifact_uri: str | None = None) -> SqlJournalStore:
    """The store of a directory. ``artifact_uri`` is not used: artifacts lie in the directory too."""
    from hydra_gce.tracking.vm.sql_store import SqlJournalStore

    return SqlJournalStore(store_uri, artifact_uri)
