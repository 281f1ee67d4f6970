"""What Compute Engine is asked for: valid by Google's own schema, named by the job alone, and the user's word last."""

from __future__ import annotations

import json
import re
import uuid
from random import Random
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st

from hydra_gce.errors import ConfigError
from hydra_gce.machines import Candidate, VMRequest, resolve
from hydra_gce.names import sweep_name
from hydra_gce.request import JOB_LABEL, SWEEP_LABEL, Order, startup_script, to_message
from hydra_gce.settings import VM
from tests.local.schema import violations

ATTRIBUTES = {"hydra-gce-bucket": "b", "hydra-gce-key": "00", "hydra-gce-sweep": "calm-otter"}
RFC1035 = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")


def order(vm: VM | None = None, image: str | None = None) -> Order:
    return Order("calm-otter", "my-project", vm or VM(), image, ATTRIBUTES)


def candidate(vm: VM) -> Candidate:
    return resolve(
        VMRequest(
            vm.gpu,
            vm.gpu_count,
            vm.machine_type,
            vm.provisioning,
            vm.zones,
            vm.regions,
            vm.disk_gb,
            vm.disk_type,
            vm.external_ip,
            vm.reservation,
        )
    )[0]


def body(vm: VM, image: str | None = None) -> dict[str, Any]:
    return order(vm, image).body(3, 1, candidate(vm))


def against_schema(body: dict[str, Any]) -> list[str]:
    path = "/compute/v1/projects/my-project/zones/us-central1-a/instances"
    return [found for found in violations("POST", path, body, 200, {}) if "request" in found]


MACHINES: list[dict[str, Any]] = [
    {},
    {"machine_type": "n2-custom-6-20480-ext"},
    {"gpu": "T4", "gpu_count": 2},
    {"gpu": "L4", "provisioning": "spot"},
    {"gpu": "A100", "provisioning": "flex_start"},
    {"gpu": "A100-80GB", "provisioning": "reservation", "reservation": "mine"},
    {"gpu": "H100", "provisioning": "spot", "disk_gb": 500},
    {"gpu": "V100", "provisioning": "spot_else_standard"},
]
SURROUNDINGS: list[dict[str, Any]] = [
    {},
    {"network": "lab", "subnetwork": "lab-west", "external_ip": False},
    {
        "labels": {"team": "vision"},
        "metadata": {"enable-oslogin": "TRUE", "ünï": "✓"},
        "tags": ["train"],
        "service_account": "trainer@my-project.iam.gserviceaccount.com",
        "scopes": ["https://www.googleapis.com/auth/devstorage.read_write"],
        "max_run_hours": 0.5,
    },
    {"image": "my-project/trained", "disk_type": "pd-ssd", "zones": ["us-central1-*"]},
    {
        "instance": {
            "shieldedInstanceConfig": {"enableSecureBoot": True},
            "minCpuPlatform": "Intel Cascade Lake",
        }
    },
]


@pytest.mark.parametrize("surroundings", SURROUNDINGS)
@pytest.mark.parametrize("machine", MACHINES)
def test_every_request_is_valid_by_googles_own_schema(
    machine: dict[str, Any], surroundings: dict[str, Any]
) -> None:
    if "disk_type" in surroundings and machine.get("gpu") == "H100":
        surroundings = {**surroundings, "disk_type": None}
    asked = body(VM(**machine, **surroundings))
    assert against_schema(asked) == []
    message = to_message(asked)
    sent = MessageToDict(type(message).pb(message))
    assert sent["name"] == "hg-calm-otter-3"
    assert sent["scheduling"] == asked["scheduling"]  # nothing is lost on the way into Google's client


@pytest.mark.parametrize(
    "instance, named",
    [
        ({"machineTipe": "n1-standard-1"}, "machineTipe"),
        ({"scheduling": {"preemtible": True}}, "preemtible"),
        ({"canIpForward": "perhaps"}, "canIpForward"),
        ({"disks": "many"}, "disks"),
        ({"scheduling": {"maxRunDuration": 3600}}, "maxRunDuration"),
        ({"labels": {"number": 5}}, "labels"),
    ],
)
def test_a_field_that_the_api_does_not_have_is_refused_by_name(instance: dict[str, Any], named: str) -> None:
    asked = body(VM(instance=instance))
    assert against_schema(asked) != []
    with pytest.raises(ConfigError, match=rf"hydra\.launcher\.vm\.instance.*{named}"):
        to_message(asked)


def test_fields_of_the_users_own_are_merged_over_ours() -> None:
    asked = body(
        VM(
            instance={
                "scheduling": {"automaticRestart": True},
                "disks": [{"boot": True, "source": "zones/z/disks/mine"}],
                "description": "a test",
            }
        )
    )
    assert asked["scheduling"]["automaticRestart"] is True
    assert asked["scheduling"]["instanceTerminationAction"] == "DELETE"
    assert asked["disks"] == [{"boot": True, "source": "zones/z/disks/mine"}]
    assert asked["description"] == "a test"
    assert VM().instance == {}


def test_every_vm_carries_its_own_end() -> None:
    for machine in MACHINES:
        scheduling = body(VM(**machine, max_run_hours=1.5))["scheduling"]
        assert scheduling["maxRunDuration"] == {"seconds": "5400"}
        assert scheduling["instanceTerminationAction"] == "DELETE"
        assert scheduling["automaticRestart"] is False


@pytest.mark.parametrize(
    "machine, maintenance",
    [
        ({}, "MIGRATE"),
        ({"provisioning": "spot"}, "TERMINATE"),
        ({"gpu": "T4"}, "TERMINATE"),
        ({"gpu": "L4"}, "TERMINATE"),
    ],
)
def test_what_cannot_move_to_another_host_is_ended_for_maintenance(
    machine: dict[str, Any], maintenance: str
) -> None:
    assert body(VM(**machine))["scheduling"]["onHostMaintenance"] == maintenance


def test_gpus_are_attached_only_where_the_machine_does_not_bring_them() -> None:
    attached = body(VM(gpu="T4", gpu_count=2))["guestAccelerators"]
    assert [(gpu["acceleratorType"].rpartition("/")[2], gpu["acceleratorCount"]) for gpu in attached] == [
        ("nvidia-tesla-t4", 2)
    ]
    assert "guestAccelerators" not in body(VM(gpu="A100"))


def test_a_reservation_is_named_and_flex_start_uses_none() -> None:
    bound = body(VM(gpu="A100", provisioning="reservation", reservation="mine"))["reservationAffinity"]
    assert bound["consumeReservationType"] == "SPECIFIC_RESERVATION"
    assert bound["values"] == ["mine"]
    flexible = body(VM(gpu="A100", provisioning="flex_start"))["reservationAffinity"]
    assert flexible == {"consumeReservationType": "NO_RESERVATION"}
    assert "reservationAffinity" not in body(VM())


@pytest.mark.parametrize(
    "vm, own, expected",
    [
        (VM(), None, "debian-cloud"),
        (VM(gpu="T4"), None, "deeplearning-platform-release"),
        (VM(gpu="T4"), "projects/p/global/images/python", "projects/p/global/images/python"),
        (VM(image="mine"), "projects/p/global/images/python", "global/images/mine"),
        (VM(image="p/fam"), None, "projects/p/global/images/family/fam"),
        (VM(image="projects/p/global/images/i"), None, "projects/p/global/images/i"),
    ],
)
def test_the_image_is_the_one_named_or_one_that_has_what_the_machine_needs(
    vm: VM, own: str | None, expected: str
) -> None:
    assert expected in body(vm, own)["disks"][0]["initializeParams"]["sourceImage"]


def test_a_subnetwork_alone_tells_its_network() -> None:
    (interface,) = body(VM(subnetwork="west", zones=["us-west1-b"]))["networkInterfaces"]
    assert interface["subnetwork"] == "regions/us-west1/subnetworks/west"
    assert "network" not in interface
    (interface,) = body(VM())["networkInterfaces"]
    assert interface["network"] == "global/networks/default"
    assert "accessConfigs" not in body(VM(external_ip=False))["networkInterfaces"][0]


def test_what_the_agent_reads_is_in_the_metadata_and_the_users_is_added() -> None:
    items = {item["key"]: item["value"] for item in body(VM(metadata={"mine": "1"}))["metadata"]["items"]}
    assert items.items() >= {**ATTRIBUTES, "hydra-gce-job": "3", "mine": "1"}.items()
    assert items["startup-script"] == startup_script()
    assert items["startup-script"].startswith("#!/bin/bash")


def test_a_vm_is_found_by_its_labels_whatever_the_user_adds() -> None:
    labels = body(VM(labels={"team": "vision", SWEEP_LABEL: "another"}))["labels"]
    assert labels == {"team": "vision", SWEEP_LABEL: "calm-otter", JOB_LABEL: "3"}


@given(st.integers(0), st.integers(0, 10**7), st.integers(1, 10**5))
def test_names_of_vms_are_valid_and_belong_to_one_attempt(seed: int, num: int, attempt: int) -> None:
    asked = Order(sweep_name(Random(seed)), "p", VM(), None, {})
    name = asked.instance_name(num, attempt)
    assert RFC1035.fullmatch(name)
    assert RFC1035.fullmatch(asked.sweep)  # it is a label's value too
    assert asked.instance_name(num, attempt) == name
    assert len({name, asked.instance_name(num, attempt + 1), asked.instance_name(num + 1, attempt)}) == 3


@given(st.integers(0, 99), st.integers(1, 9), st.integers(0, 10**10))
def test_a_request_sent_again_is_known_by_its_id(num: int, attempt: int, round_: int) -> None:
    asked = order()
    first = asked.request_id(num, attempt, "us-central1-a", round_)
    assert uuid.UUID(first).int != 0
    assert order().request_id(num, attempt, "us-central1-a", round_) == first
    others = [
        asked.request_id(num + 1, attempt, "us-central1-a", round_),
        asked.request_id(num, attempt + 1, "us-central1-a", round_),
        asked.request_id(num, attempt, "us-central1-b", round_),
        asked.request_id(num, attempt, "us-central1-a", round_ + 1),
    ]
    assert len({first, *others}) == 5


def test_the_same_request_makes_the_same_body() -> None:
    assert json.dumps(body(VM(gpu="T4"))) == json.dumps(body(VM(gpu="T4")))
