"""No VM is left: seen to at the end of a sweep, after Ctrl-C, and by ``hydra-gce down``."""

from __future__ import annotations

import time

from hydra_gce.compute import Compute

NOTHING_LEFT = "no VM is left"

_SELF_DELETION_S = 30.0
_DELETION_S = 120.0
_PAUSE_S = 0.2


def see_them_leave(compute: Compute, sweep: str) -> str:
    """Waits for the agents to delete their own VMs, and deletes those that are still there after a while."""
    deadline = time.monotonic() + _SELF_DELETION_S
    while time.monotonic() < deadline:
        if not compute.instances(sweep):
            return NOTHING_LEFT
        time.sleep(_PAUSE_S)
    return delete_all(compute, sweep)


def delete_all(compute: Compute, sweep: str | None) -> str:
    """Deletes every VM of the sweep (None: of all sweeps), wherever it is, and says what is left."""
    deadline = time.monotonic() + _DELETION_S
    while time.monotonic() < deadline:
        instances = compute.instances(sweep)
        if not instances:
            return NOTHING_LEFT
        for instance in instances:
            if instance.status != "STOPPING":
                compute.delete(instance.zone, instance.name)
        time.sleep(_PAUSE_S)
    names = ", ".join(instance.name for instance in compute.instances(sweep))
    return f"still being deleted: {names}. Look again with: hydra-gce ls" if names else NOTHING_LEFT
