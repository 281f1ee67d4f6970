"""Where MLflow enters: its entry point group ``mlflow.tracking_store`` names ``JournalStore`` for
``hydra-gce:///abs/dir``, and ``mlflow.run_context_provider`` names ``JobContext`` for runs on a server.

MLflow loads entry points while it is itself being imported, in every program of an environment that has this
package: nothing is imported here before a program really uses such a store.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hydra_gce.tracking.vm.sql_store import SqlJournalStore


def JournalStore(store_uri: str, artifact_uri: str | None = None) -> SqlJournalStore:
    """The store of a directory. ``artifact_uri`` is not used: artifacts lie in the directory too."""
    from hydra_gce.tracking.vm.sql_store import SqlJournalStore

    return SqlJournalStore(store_uri, artifact_uri)


class JobContext:
    """Tags for the runs of a program on a VM that talks to a server itself: whose job they are."""

    def in_context(self) -> bool:
        """Whether this is such a program."""
        from hydra_gce.tracking.environment import is_direct

        return is_direct(os.environ)

    def tags(self) -> dict[str, str]:
        from hydra_gce.tracking.vm.direct import tags_of_a_new_run

        return tags_of_a_new_run()
