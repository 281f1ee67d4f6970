"""The key that seals what belongs to a sweep, found from wherever one looks at it."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from hydra_gce.errors import ConfigError
from hydra_gce.home import sweep_records

if TYPE_CHECKING:
    from hydra_gce.cloud.backend import Backend

_ATTRIBUTE = "hydra-gce-key"


def derived(project_key: bytes, sweep: str) -> bytes:
    """The key of one sweep, from the project's: see ``compute.project_key``."""
    return hmac.new(project_key, f"sweep/{sweep}".encode(), hashlib.sha256).digest()


def sweep_key(backend: Backend, sweep: str, of_project: bool = True) -> bytes:
    """From this laptop's record of the sweep; else from a VM of its own; else from the project's key.

    :param of_project: whether it follows from the project's.
    :raises ConfigError: it is to be had nowhere.
    """
    for record in sweep_records():
        if (record.sweep, record.backend, record.project) == (sweep, backend.kind, backend.project):
            return bytes.fromhex(record.key)
    if (key := _of_a_vm(backend, sweep)) is not None:
        return key
    from hydra_gce.compute.project_key import project_key

    project = project_key(backend, make=False) if of_project else None
    if project is None:
        why = (
            f"project {backend.project} has none (an instance template named hydra-gce-key), or this account may not"
            " read it"
            if of_project
            else "whoever launched it could not make or read that of the project"
        )
        raise ConfigError(
            f"sweep {sweep} cannot be opened here: its key is on the machine that launched it, and on its VMs while"
            f" there are any; {why}. On that machine: hydra-gce attach {sweep}. For later sweeps, whoever launches"
            " needs compute.instanceTemplates.create and .get (in roles/compute.instanceAdmin.v1)."
        )
    return derived(project, sweep)


def _of_a_vm(backend: Backend, sweep: str) -> bytes | None:
    """What stands in the metadata of the sweep's VMs, while there are any."""
    from google.cloud import compute_v1

    from hydra_gce.compute.asking import asking, patiently
    from hydra_gce.labels import SWEEP_LABEL

    request = compute_v1.AggregatedListInstancesRequest(
        project=backend.project, filter=f"labels.{SWEEP_LABEL}={sweep}"
    )
    with asking():
        for _, scope in backend.instances.aggregated_list(request=request, **patiently()):
            for vm in scope.instances:
                for item in vm.metadata.items:
                    if item.key == _ATTRIBUTE:
                        return bytes.fromhex(item.value)
    return None
