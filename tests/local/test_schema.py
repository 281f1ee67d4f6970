"""What is served is Google's: methods, parameters and bodies, by Google's own document."""

from __future__ import annotations

import json

from google.cloud import compute_v1

from hydra_gce.local.compute.app import METHODS
from tests.local.api_extract import SERVED, discovery, extract
from tests.local.embedded import PROJECT, ZONE, Embedded
from tests.local.schema import violations


def test_the_served_part_is_cut_out_of_googles_document() -> None:
    served, google = json.loads(SERVED.read_text()), extract(discovery())
    assert served["methods"] == google["methods"]
    assert served["schemas"] == google["schemas"]


def test_every_method_that_is_cut_out_is_served() -> None:
    assert set(METHODS) == set(json.loads(SERVED.read_text())["methods"])


def test_the_checker_sees_unknown_fields_and_wrong_types() -> None:
    path = f"/compute/v1/projects/{PROJECT}/zones/{ZONE}/instances/vm"
    answer = {"id": 7, "status": "FINE", "colour": "red", "canIpForward": "no"}
    found = violations("GET", path, None, 200, answer)
    assert len(found) == 4


def test_every_kind_of_answer_keeps_to_the_schema(cloud: Embedded) -> None:
    cloud.insert("vm")
    cloud.insert("refused", "e2-standard-32")
    list(cloud.operations.list(project=PROJECT, zone=ZONE))
    list(cloud.disks.aggregated_list(project=PROJECT))
    list(cloud.machine_types.list(project=PROJECT, zone=ZONE))
    list(cloud.machine_types.aggregated_list(request=compute_v1.AggregatedListMachineTypesRequest(
        project=PROJECT, filter="name=n1-standard-1")))  # fmt: skip
    list(cloud.accelerator_types.aggregated_list(project=PROJECT))
    list(cloud.regions.list(project=PROJECT))
    list(cloud.zones.list(project=PROJECT))
    list(cloud.images.list(project="debian-cloud"))
    cloud.projects.get(project=PROJECT)
    for path in ("global/networks", "aggregated/subnetworks", "regions/us-central1/subnetworks/default",
                 "global/networks/default", f"zones/{ZONE}/diskTypes", "aggregated/diskTypes", "global/firewalls",
                 "aggregated/addresses", "aggregated/operations", f"zones/{ZONE}/imageFamilyViews/none",
                 "regions/us-central1/addresses", "global/addresses"):  # fmt: skip
        cloud.raw(path)
    assert cloud.server.broken == []
