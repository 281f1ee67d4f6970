"""Static addresses: reserved, labelled, in use, found by label and deleted."""

from __future__ import annotations

from typing import Any

import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import compute_v1

from tests.local.embedded import PROJECT, ZONE, Embedded, instance

REGION = "us-central1"
PLACE = {"project": PROJECT, "region": REGION}


def client(cloud: Embedded, name: str = "AddressesClient") -> Any:
    options = {"api_endpoint": cloud.url}
    return getattr(compute_v1, name)(credentials=AnonymousCredentials(), client_options=options)


def reserve(cloud: Embedded, name: str, **fields: Any) -> compute_v1.Address:
    address = compute_v1.Address(name=name, **fields)
    client(cloud).insert_unary(**PLACE, address_resource=address)
    found: compute_v1.Address = client(cloud).get(**PLACE, address=name)
    return found


def test_an_address_is_reserved_with_googles_defaults(cloud: Embedded) -> None:
    first, second = reserve(cloud, "one"), reserve(cloud, "two")
    assert (first.status, first.address_type, first.network_tier) == ("RESERVED", "EXTERNAL", "PREMIUM")
    assert first.region.endswith(f"/regions/{REGION}")
    assert first.address != second.address
    with pytest.raises(exceptions.Conflict):
        reserve(cloud, "one")


def test_an_inner_address_is_of_its_subnetwork(cloud: Embedded) -> None:
    inner = reserve(cloud, "inner", address_type="INTERNAL")
    assert inner.subnetwork.endswith(f"/regions/{REGION}/subnetworks/default")
    cloud.insert("vm")
    other = cloud.get("vm").network_interfaces[0].network_i_p
    assert inner.address.split(".")[:2] == other.split(".")[:2]
    assert inner.address != other


def test_addresses_are_found_by_their_label_and_deleted(cloud: Embedded) -> None:
    made = reserve(cloud, "kept")
    reserve(cloud, "other")
    request = compute_v1.RegionSetLabelsRequest(
        labels={"hydra-gce-sweep": "calm-owl"}, label_fingerprint=made.label_fingerprint
    )
    client(cloud).set_labels_unary(**PLACE, resource="kept", region_set_labels_request_resource=request)
    listing = compute_v1.AggregatedListAddressesRequest(
        project=PROJECT, filter='labels.hydra-gce-sweep="calm-owl"'
    )
    pages = client(cloud).aggregated_list(request=listing)
    assert [one.name for _, page in pages for one in page.addresses] == ["kept"]
    client(cloud).delete_unary(**PLACE, address="kept")
    with pytest.raises(exceptions.NotFound):
        client(cloud).get(**PLACE, address="kept")


def test_an_address_that_a_vm_has_is_in_use_and_stays(cloud: Embedded) -> None:
    reserved = reserve(cloud, "ip")
    config = compute_v1.AccessConfig(name="External NAT", nat_i_p=reserved.address)
    cloud.insert("vm", network_interfaces=[compute_v1.NetworkInterface(access_configs=[config])])
    used = client(cloud).get(**PLACE, address="ip")
    assert used.status == "IN_USE"
    assert [user.rsplit("/", 1)[-1] for user in used.users] == ["vm"]
    with pytest.raises(exceptions.BadRequest, match="already being used by"):
        client(cloud).delete_unary(**PLACE, address="ip")
    cloud.call("delete", "vm")
    client(cloud).delete_unary(**PLACE, address="ip")


def test_global_addresses_are_apart_from_those_of_regions(cloud: Embedded) -> None:
    reserve(cloud, "ip")
    everywhere = client(cloud, "GlobalAddressesClient")
    everywhere.insert_unary(project=PROJECT, address_resource=compute_v1.Address(name="ip"))
    assert [one.name for one in everywhere.list(project=PROJECT)] == ["ip"]
    everywhere.delete_unary(project=PROJECT, address="ip")
    assert [one.name for one in client(cloud).list(**PLACE)] == ["ip"]


def test_a_disk_has_the_labels_that_its_instance_was_asked_for_with(cloud: Embedded) -> None:
    body = instance("vm")
    body.disks[0].initialize_params.labels = {"hydra-gce-sweep": "calm-owl"}
    body.disks[0].auto_delete = False
    cloud.wait(cloud.instances.insert_unary(project=PROJECT, zone=ZONE, instance_resource=body))
    cloud.call("delete", "vm")
    listing = compute_v1.AggregatedListDisksRequest(
        project=PROJECT, filter='labels.hydra-gce-sweep="calm-owl"'
    )
    pages = cloud.disks.aggregated_list(request=listing)
    assert [one.name for _, page in pages for one in page.disks] == ["vm"]
    cloud.wait(cloud.disks.delete_unary(project=PROJECT, zone=ZONE, disk="vm"))
    assert list(cloud.disks.list(project=PROJECT, zone=ZONE)) == []
