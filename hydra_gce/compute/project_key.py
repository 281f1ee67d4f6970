"""The project's key, from which those of its sweeps follow: a sweep's seal can be checked wherever one looks from.

It lies where the keys of VMs lie, too: in the metadata of an instance template, which costs nothing. Who may read VMs'
metadata may read it. It is never in the bucket, whose objects it vouches for.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from hydra_gce.compute.asking import asking, patiently
from hydra_gce.errors import CredentialsError

if TYPE_CHECKING:
    from google.cloud import compute_v1

    from hydra_gce.cloud.backend import Backend

TEMPLATE = "hydra-gce-key"
_ITEM = "hydra-gce-project-key"
_BYTES = 32
_LOOKS = 20
_PAUSE_S = 0.5
_DESCRIPTION = (
    "Holds the key that seals what hydra-gce-launcher sends through its bucket. No VM is made of this template."
    " Without it, sweeps can be followed only from the machine that launched them."
)


def project_key(backend: Backend, make: bool = True) -> bytes | None:
    """The key of the project. None where this account may not read or make templates.

    :param make: where there is none.

    :raises Unreachable: Compute Engine cannot be reached.
    """
    try:
        for look in range(_LOOKS):
            if (found := _find(backend)) is not None:
                return _key_in(found)
            if not make or (look == 0 and not _make(backend)):
                return None
            time.sleep(_PAUSE_S * (look > 0))  # an insert takes effect a moment later
    except CredentialsError:
        return None
    return None


def _find(backend: Backend) -> compute_v1.InstanceTemplate | None:
    from google.api_core.exceptions import NotFound

    try:
        with asking():
            return backend.instance_templates.get(
                project=backend.project, instance_template=TEMPLATE, **patiently()
            )
    except NotFound:
        return None


def _make(backend: Backend) -> bool:
    from google.api_core.exceptions import BadRequest, Conflict, NotFound

    template, project = _template(backend.project), backend.project
    try:
        with asking():
            backend.instance_templates.insert_unary(project=project, instance_template_resource=template)
    except Conflict:
        return True  # another launch was quicker, or the answer to an earlier request of ours was lost
    except (BadRequest, NotFound):  # a project without the default network, for one
        return False
    return True


def _template(project: str) -> compute_v1.InstanceTemplate:
    from google.cloud import compute_v1

    item = compute_v1.Items(key=_ITEM, value=secrets.token_hex(_BYTES))
    disk = compute_v1.AttachedDisk(
        boot=True,
        auto_delete=True,
        initialize_params=compute_v1.AttachedDiskInitializeParams(
            source_image="projects/debian-cloud/global/images/family/debian-12"
        ),
    )
    return compute_v1.InstanceTemplate(
        name=TEMPLATE,
        description=_DESCRIPTION,
        properties=compute_v1.InstanceProperties(
            machine_type="e2-micro",
            disks=[disk],
            network_interfaces=[
                compute_v1.NetworkInterface(network=f"projects/{project}/global/networks/default")
            ],
            metadata=compute_v1.Metadata(items=[item]),
        ),
    )


def _key_in(template: compute_v1.InstanceTemplate) -> bytes | None:
    items = {item.key: item.value for item in template.properties.metadata.items}
    try:
        return bytes.fromhex(items[_ITEM])
    except (KeyError, ValueError):  # somebody else's template of this name
        return None
