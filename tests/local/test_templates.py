"""Instance templates: the project's key lies in the metadata of one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import compute_v1

from hydra_gce.cloud.backend import Backend
from hydra_gce.compute import HereCompute
from tests.local.embedded import PROJECT, Embedded


def client(cloud: Embedded) -> Any:
    options = {"api_endpoint": cloud.url}
    return compute_v1.InstanceTemplatesClient(credentials=AnonymousCredentials(), client_options=options)


def compute(cloud: Embedded) -> HereCompute:
    return HereCompute(Backend("local", PROJECT, cloud.url, None, AnonymousCredentials(), None))


def test_a_project_has_one_key_whoever_asks_first(cloud: Embedded) -> None:
    with ThreadPoolExecutor(4) as pool:
        keys = set(pool.map(lambda _: compute(cloud).project_key(), range(4)))
    (key,) = keys
    assert key is not None and len(key) == 32
    (template,) = client(cloud).list(project=PROJECT)
    assert template.name == "hydra-gce-key"
    assert template.properties.metadata.items[0].value == key.hex()


def test_a_template_of_that_name_without_a_key_is_left_alone(cloud: Embedded) -> None:
    compute(cloud).project_key()
    client(cloud).delete_unary(project=PROJECT, instance_template="hydra-gce-key")
    properties = compute_v1.InstanceProperties(
        machine_type="e2-micro",
        disks=[compute_v1.AttachedDisk(boot=True)],
        network_interfaces=[compute_v1.NetworkInterface()],
    )
    template = compute_v1.InstanceTemplate(name="hydra-gce-key", properties=properties)
    client(cloud).insert_unary(project=PROJECT, instance_template_resource=template)
    assert compute(cloud).project_key() is None


def test_a_template_needs_what_an_instance_needs(cloud: Embedded) -> None:
    template = compute_v1.InstanceTemplate(name="one", properties=compute_v1.InstanceProperties())
    with pytest.raises(exceptions.BadRequest, match=r"resource\.properties\.machineType"):
        client(cloud).insert_unary(project=PROJECT, instance_template_resource=template)
    with pytest.raises(exceptions.NotFound):
        client(cloud).get(project=PROJECT, instance_template="one")
