"""No VM is left: seen to at the end of a sweep, after Ctrl-C, and by ``hydra-gce down``."""

from __future__ import annotations

import time

from hydra_gce.backend import Backend
from hydra_gce.fleet import delete_instance, list_instances

NOTHING_LEFT = "no VM is left"

_SELF_DELETION_S = 30.0
_DELETION_S = 120.0
_PAUSE_S = 0.2


def see_them_leave(backend: Backend, sweep: str) -> str:
    """Waits for the agents to delete their own VMs, and deletes those that are still there after a while."""
    deadline = time.monotonic() + _SELF_DELETION_S
    while time.monotonic() < deadline:
        if not list_instances(backend, sweep):
            return NOTHING_LEFT
        time.sleep(_PAUSE_S)
    return delete_all(backend, sweep)


def delete_all(backend: Backend, sweep: str | None) -> str:
    """Deletes every VM of the sweep (None: of all sweeps), wherever it is, and says what is left."""
    deadline = time.monotonic() + _DELETION_S
    while time.monotonic() < deadline:
        instances = list_instances(backend, sweep)
        if not instances:
            return NOTHING_LEFT
        for instance in instances:
            if instance.status != "STOPPING":
                delete_instance(backend, instance.zone.rpartition("/")[2], instance.name)
        time.sleep(_PAUSE_S)
    names = ", ".join(instance.name for instance in list_instances(backend, sweep))
    return f"still being deleted: {names}. Look again with: hydra-gce ls" if names else NOTHING_LEFT
