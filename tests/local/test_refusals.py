"""What Compute Engine refuses, in its own words and codes."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import compute_v1

from tests.local.embedded import PROJECT, ZONE, Embedded, instance

T4 = compute_v1.AcceleratorConfig(
    accelerator_type=f"projects/{PROJECT}/zones/{ZONE}/acceleratorTypes/nvidia-tesla-t4", accelerator_count=1
)


def post(cloud: Embedded, body: Any, query: str = "") -> dict[str, Any]:
    """The error that a raw insert is answered with."""
    url = f"{cloud.url}/compute/v1/projects/{PROJECT}/zones/{ZONE}/instances{query}"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    error: dict[str, Any] = json.load(refused.value)["error"]
    assert error["code"] == refused.value.code
    return error


def test_an_unknown_field_is_refused_by_name(cloud: Embedded) -> None:
    cloud.server.broken.clear()
    error = post(cloud, {"name": "vm", "scheduling": {"spot": True}})
    assert error["code"] == 400
    assert error["message"] == (
        "Invalid JSON payload received. Unknown name \"spot\" at 'resource.scheduling': Cannot find field."
    )
    assert error["status"] == "INVALID_ARGUMENT"
    assert error["details"][0]["fieldViolations"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"name": 7}, "Invalid value at 'resource.name' (TYPE_STRING), 7"),
        (
            {"disks": [{"boot": "yes"}]},
            "Invalid value at 'resource.disks[0].boot' (TYPE_BOOL), \"yes\"",
        ),
        ({"disks": {}}, "Invalid value at 'resource.disks'"),
        ({"scheduling": {"onHostMaintenance": "NEVER"}}, "'resource.scheduling.onHostMaintenance': 'NEVER'"),
    ],
)
def test_a_wrong_type_is_refused(cloud: Embedded, body: dict[str, Any], said: str) -> None:
    assert said in post(cloud, body)["message"]


def test_a_query_parameter_that_google_does_not_have_is_refused(cloud: Embedded) -> None:
    assert 'Unknown name "colour"' in post(cloud, {"name": "vm"}, "?colour=red")["message"]


REFUSED = [
    ({"name": "Big"}, "Must be a match of regex"),
    (
        {"machine_type": "n1-standard-5"},
        "Machine type with name 'n1-standard-5' does not",
    ),
    ({"image": "projects/debian-cloud/global/images/none"}, "The referenced image resource cannot be found"),
    ({"labels": {"Key": "x"}}, "Label key 'Key' violates format constraints"),
    ({"labels": {"key": "X"}}, "Label value 'X' violates format constraints"),
    ({"tags": compute_v1.Tags(items=["Web"])}, "resource.tags.items"),
    ({"disks": []}, "No disks are specified"),
    ({"network_interfaces": []}, "At least one network interface is required"),
    (
        {"machine_type": "n1-standard-1", "guest_accelerators": [T4]},
        "Instances with guest accelerators do not support live migration",
    ),
    (
        {
            "guest_accelerators": [T4],
            "scheduling": compute_v1.Scheduling(on_host_maintenance="TERMINATE"),
        },
        "features are not compatible for creating instance",
    ),
    (
        {"scheduling": compute_v1.Scheduling(provisioning_model="SPOT", automatic_restart=True)},
        "preemptible be false when AutomaticRestart is true",
    ),
    (
        {"scheduling": compute_v1.Scheduling(instance_termination_action="DELETE")},
        "termination action",
    ),
    (
        {"scheduling": compute_v1.Scheduling(max_run_duration=compute_v1.Duration(seconds=60))},
        "Instance termination action must be specified",
    ),
    (
        {
            "scheduling": compute_v1.Scheduling(
                max_run_duration=compute_v1.Duration(seconds=10), instance_termination_action="STOP"
            )
        },
        "Must be between 30 seconds",
    ),
    (
        {
            "disks": [
                compute_v1.AttachedDisk(
                    boot=True,
                    initialize_params=compute_v1.AttachedDiskInitializeParams(
                        source_image="projects/deeplearning-platform-release/global/images/family/common-cpu",
                        disk_size_gb=20,
                    ),
                )
            ]
        },
        "cannot be smaller than the image size",
    ),
]


@pytest.mark.parametrize(("fields", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_an_insert_is_refused_in_googles_words(cloud: Embedded, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(exceptions.BadRequest, match=said):
        made = instance(**{"name": "vm", **fields})
        cloud.instances.insert_unary(project=PROJECT, zone=ZONE, instance_resource=made)
    assert cloud.names() == []


def test_a_second_instance_of_a_name_is_a_conflict(cloud: Embedded) -> None:
    cloud.insert("vm")
    with pytest.raises(exceptions.Conflict, match="already exists"):
        cloud.insert("vm")


def test_an_accelerator_that_the_zone_lacks_is_not_found(cloud: Embedded) -> None:
    missing = compute_v1.AcceleratorConfig(accelerator_type="nvidia-tesla-p9", accelerator_count=1)
    with pytest.raises(exceptions.NotFound, match="acceleratorTypes/nvidia-tesla-p9' was not found"):
        cloud.insert("vm", "n1-standard-1", guest_accelerators=[missing])


def test_an_unknown_zone_is_refused(cloud: Embedded) -> None:
    with pytest.raises(exceptions.BadRequest, match="Unknown zone"):
        list(cloud.instances.list(project=PROJECT, zone="mars-north1-a"))


def test_the_zero_uuid_is_no_request_id(cloud: Embedded) -> None:
    request = compute_v1.InsertInstanceRequest(
        project=PROJECT,
        zone=ZONE,
        instance_resource=instance("vm"),
        request_id="00000000-0000-0000-0000-000000000000",
    )
    with pytest.raises(exceptions.BadRequest, match="requestId"):
        cloud.instances.insert_unary(request=request)


def test_a_finished_operation_can_be_forgotten(cloud: Embedded) -> None:
    operation = cloud.insert("vm")
    cloud.operations.delete(project=PROJECT, zone=ZONE, operation=operation.name)
    with pytest.raises(exceptions.NotFound):
        cloud.operations.get(project=PROJECT, zone=ZONE, operation=operation.name)
