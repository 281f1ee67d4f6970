"""Lists: filters, order, pages, scopes, partial answers; the catalog."""

from __future__ import annotations

import json
import urllib.request

import pytest
from google.api_core import exceptions
from google.cloud import compute_v1

from hydra_gce.local.compute.errors import ApiError
from hydra_gce.local.compute.filters import compile_filter
from tests.local.embedded import PROJECT, ZONE, Embedded

BODY = {
    "name": "hg-otter-1",
    "id": "42",
    "status": "RUNNING",
    "zone": "https://www.googleapis.com/compute/v1/projects/p/zones/us-central1-a",
    "creationTimestamp": "2026-11-23T07:52:16.859-08:00",
    "labels": {"hydra-gce-sweep": "otter", "team": "a"},
    "scheduling": {"automaticRestart": False, "preemptible": True},
    "disks": [{"boot": True, "diskSizeGb": "20"}],
}


@pytest.mark.parametrize(
    "text",
    [
        "name = hg-otter-1",
        'name="hg-otter-1"',
        "name=hg-*",
        "name eq hg-.*",
        "name eq 'hg-.*'",
        "name ne other",
        "(name eq .*otter.*) (status eq RUNNING)",
        "labels.hydra-gce-sweep=otter",
        "labels.hydra-gce-sweep:*",
        "labels.hydra-gce-sweep = otter AND status = RUNNING",
        "labels.team=b OR labels.team=a",
        "(labels.team = b OR labels.team = a) AND NOT status = TERMINATED",
        "status != TERMINATED labels.team=a",
        "-labels.team=b",
        "scheduling.preemptible = true",
        "scheduling.automatic_restart = false",
        "zone:us-central1-a",
        "zone eq .*/us-central1-a",
        "id = 42",
        "id > 41",
        "disks.diskSizeGb >= 20",
        "creationTimestamp > 2026-11-23T15:52:00Z",
        "name =~ otter",
    ],
)
def test_a_filter_lets_through_what_google_would(text: str) -> None:
    assert compile_filter(text)(BODY)


@pytest.mark.parametrize(
    "text",
    [
        "name = hg",
        "name eq otter",
        "status != RUNNING",
        "labels.hydra-gce-sweep=otter AND labels.team=b",
        "labels.none:*",
        "NOT status = RUNNING",
        "scheduling.preemptible = false",
        "id < 42",
        "creationTimestamp < 2026-11-23T15:52:00Z",
    ],
)
def test_a_filter_keeps_back_what_google_would(text: str) -> None:
    assert not compile_filter(text)(BODY)


@pytest.mark.parametrize(
    "text", ["name", "name =", "(name = a", "name ! a", "name eq '['", "= a", "name = a AND"]
)
def test_a_filter_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ApiError, match="Invalid list filter expression"):
        compile_filter(text)(BODY)


def test_the_client_filters_and_orders_instances(cloud: Embedded) -> None:
    for name, team in (("a", "x"), ("b", "y"), ("c", "x")):
        cloud.insert(name, labels={"team": team})
    assert cloud.names(filter="labels.team=x") == ["a", "c"]
    assert cloud.names(order_by="creationTimestamp desc") == ["c", "b", "a"]


def test_pages_give_each_resource_once_even_when_one_goes_in_between(cloud: Embedded) -> None:
    zones = cloud.zones.list(request=compute_v1.ListZonesRequest(project=PROJECT, max_results=20))
    names = [zone.name for zone in zones]
    assert len(names) == len(set(names)) > 100
    for name in "abcd":
        cloud.insert(name)
    pager = cloud.instances.list(
        request=compute_v1.ListInstancesRequest(project=PROJECT, zone=ZONE, max_results=2)
    )
    pages = pager.pages
    assert [one.name for one in next(pages).items] == ["a", "b"]
    cloud.call("delete", "b")
    assert [one.name for one in next(pages).items] == ["c", "d"]


def test_a_page_token_of_another_list_is_refused(cloud: Embedded) -> None:
    with pytest.raises(exceptions.BadRequest, match="pageToken"):
        cloud.names(page_token="nonsense")


def test_an_aggregated_list_names_every_zone_and_warns_of_empty_ones(cloud: Embedded) -> None:
    cloud.insert("vm")
    scopes = dict(cloud.instances.aggregated_list(project=PROJECT))
    assert [one.name for one in scopes[f"zones/{ZONE}"].instances] == ["vm"]
    assert scopes["zones/us-east1-b"].warning.code == "NO_RESULTS_ON_PAGE"


def test_fields_select_a_part_of_the_answer(cloud: Embedded) -> None:
    cloud.insert("vm")
    url = f"{cloud.url}/compute/v1/projects/{PROJECT}/zones/{ZONE}/instances?fields=items(name,status),kind"
    with urllib.request.urlopen(url) as answer:
        assert json.load(answer) == {
            "items": [{"name": "vm", "status": "RUNNING"}],
            "kind": "compute#instanceList",
        }


def test_machine_types_know_their_shape_and_custom_ones_too(cloud: Embedded) -> None:
    def shape(name: str) -> tuple[int, int]:
        found = cloud.machine_types.get(project=PROJECT, zone=ZONE, machine_type=name)
        return found.guest_cpus, found.memory_mb

    assert shape("n1-standard-4") == (4, 15360)
    assert shape("custom-4-8192") == (4, 8192)
    assert shape("e2-custom-2-4096") == (2, 4096)
    assert shape("n2-custom-4-8192") == (4, 8192)
    with pytest.raises(exceptions.NotFound):
        shape("n1-standard-5")
    with pytest.raises(exceptions.BadRequest, match="multiple of 256MiB"):
        shape("custom-2-4097")


def test_accelerators_are_where_google_has_them(cloud: Embedded) -> None:
    def names(zone: str) -> list[str]:
        return [one.name for one in cloud.accelerator_types.list(project=PROJECT, zone=zone)]

    assert "nvidia-tesla-t4" in names(ZONE)
    assert "nvidia-tesla-v100" not in names("africa-south1-a")


def test_public_images_and_families_are_found(cloud: Embedded) -> None:
    image = cloud.images.get_from_family(project="debian-cloud", family="debian-12")
    assert image.name.startswith("debian-12-bookworm-v")
    assert image.name in [one.name for one in cloud.images.list(project="debian-cloud")]
    with pytest.raises(exceptions.NotFound, match="projects/debian-cloud/global/images/family/debian-99"):
        cloud.images.get_from_family(project="debian-cloud", family="debian-99")


def test_an_image_is_made_from_another_and_deleted(cloud: Embedded) -> None:
    made = compute_v1.Image(name="mine", source_image=DEBIAN, family="ours")
    cloud.wait(cloud.images.insert_unary(project=PROJECT, image_resource=made))
    assert cloud.images.get_from_family(project=PROJECT, family="ours").status == "READY"
    cloud.wait(cloud.images.delete_unary(project=PROJECT, image="mine"))
    assert list(cloud.images.list(project=PROJECT)) == []


DEBIAN = "projects/debian-cloud/global/images/family/debian-12"
