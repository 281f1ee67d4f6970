"""What Compute Engine is asked for: valid by Google's own schema, named by the job alone, and the user's word last."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import fields
from pathlib import Path
from random import Random
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st

from hydra_gce.bucket import SweepNames
from hydra_gce.cargo.pack import Sent
from hydra_gce.errors import ConfigError
from hydra_gce.identity import Identity
from hydra_gce.jobs import Placement
from hydra_gce.labels import JOB_LABEL, SWEEP_LABEL
from hydra_gce.local.compute.cloud import Cloud, Machine
from hydra_gce.local.compute.instance_draft import draft_instance
from hydra_gce.local.host import Host
from hydra_gce.local.store import Store
from hydra_gce.machines import Candidate, resolve
from hydra_gce.names import sweep_name
from hydra_gce.request import Order, order, startup_script, to_message, vm_request
from hydra_gce.settings import VM, Settings
from tests.local.schema import violations

ATTRIBUTES = {"hydra-gce-bucket": "b", "hydra-gce-key": "00", "hydra-gce-sweep": "calm-otter"}
RFC1035 = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")


def order_of(vm: VM | None = None, image: str | None = None) -> Order:
    return Order("calm-otter", "my-project", vm or VM(), image, ATTRIBUTES)


def candidate(vm: VM) -> Candidate:
    return resolve(vm_request(vm))[0]


def body(vm: VM, image: str | None = None) -> dict[str, Any]:
    return order_of(vm, image).body(3, 1, candidate(vm))


def against_schema(body: dict[str, Any]) -> list[str]:
    path = "/compute/v1/projects/my-project/zones/us-central1-a/instances"
    return [found for found in violations("POST", path, body, 200, {}) if "request" in found]


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    """An embedded Compute Engine that answers nobody and makes no VM."""

    def no_machine(directory: Path) -> Machine:
        raise AssertionError(directory)

    store = Store(tmp_path / "state.db")
    return Cloud(store, Host(2, 8 << 30), tmp_path, no_machine, {}, lambda: 1_800_000_000.0, Random(0))


def _embedded_has(surroundings: dict[str, Any]) -> bool:
    """Whether nothing is named that only a real project would have, nor in letters that it does not take."""
    return not {"network", "image", "labels"} & set(surroundings)


MACHINES: list[dict[str, Any]] = [
    {},
    {"machine_type": "n2-custom-6-20480-ext"},
    {"machine_type": "t2a-standard-4"},
    {"machine_type": "c4a-standard-8", "provisioning": "spot"},
    {"machine_type": "c3-standard-8-lssd"},
    {"machine_type": "n2-standard-16", "local_ssds": 4, "reservation": "mine"},
    {"gpu": "T4", "gpu_count": 2},
    {"gpu": "T4", "machine_type": "custom-6-20480", "local_ssds": 1},
    {"gpu": "L4", "provisioning": "spot", "local_ssds": 1},
    {"gpu": "A100", "provisioning": "flex_start", "queue_minutes": 1.5},
    {"gpu": "A100-80GB", "provisioning": "reservation", "reservation": "projects/other/reservations/mine"},
    {"gpu": "H100", "provisioning": "spot", "disk_gb": 500},
    {"gpu": "H200", "provisioning": "flex_start", "max_run_hours": 168},
    {"gpu": "B200", "provisioning": "spot"},
    {"gpu": "RTX-PRO-6000"},
    {"gpu": "V100", "provisioning": "spot_else_standard"},
]
SURROUNDINGS: list[dict[str, Any]] = [
    {},
    {"network": "lab", "subnetwork": "lab-west", "external_ip": False},
    {"network": "host-project/shared", "subnetwork": "host-project/shared-part"},
    {
        "labels": {"team": "vision", "größe": "klein"},
        "metadata": {"enable-oslogin": "TRUE"},
        "tags": ["train"],
        "service_account": "trainer@my-project.iam.gserviceaccount.com",
        "scopes": ["https://www.googleapis.com/auth/devstorage.read_write"],
    },
    {"image": "my-project/trained", "disk_gb": 100, "zones": ["*-a", "*-b", "*-c"]},
    {"vtpm": False, "integrity_monitoring": False, "container": "python:3.11-slim"},
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
    asked = body(VM(**{**machine, **surroundings}))
    assert against_schema(asked) == []
    message = to_message(asked)
    sent = MessageToDict(type(message).pb(message))
    assert sent["name"] == "hg-calm-otter-3"
    assert sent["scheduling"] == asked["scheduling"]  # nothing is lost on the way into Google's client
    assert sent.get("params") == asked.get("params")
    assert sent["disks"] == asked["disks"]


@pytest.mark.parametrize("surroundings", [one for one in SURROUNDINGS if _embedded_has(one)])
@pytest.mark.parametrize("machine", MACHINES)
def test_every_request_passes_the_checks_of_the_embedded_compute_engine(
    machine: dict[str, Any], surroundings: dict[str, Any], cloud: Cloud
) -> None:
    vm = VM(**{**machine, **surroundings})
    place = candidate(vm)
    asked = order_of(vm).body(3, 1, place)
    draft = draft_instance(cloud, "my-project", place.zone, asked)
    assert draft.instance.body["scheduling"]["instanceTerminationAction"] == "DELETE"
    assert [disk.body["labels"][SWEEP_LABEL] for disk in draft.disks] == ["calm-otter"]


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


CHANGES: dict[str, Any] = {
    "gpu": "T4",
    "gpu_count": 8,
    "machine_type": "n1-standard-8",
    "provisioning": "spot",
    "zones": ["us-central1-f"],
    "regions": ["europe-west4"],
    "queue_minutes": 5.0,
    "image": "mine",
    "container": "python:3.11-slim",
    "disk_gb": 51,
    "disk_type": "pd-ssd",
    "local_ssds": 8,
    "network": "lab",
    "subnetwork": "lab",
    "external_ip": False,
    "service_account": "a@b.iam.gserviceaccount.com",
    "scopes": [],
    "tags": ["lab"],
    "labels": {"team": "vision"},
    "metadata": {"enable-oslogin": "TRUE"},
    "reservation": "mine",
    "secure_boot": True,
    "vtpm": False,
    "integrity_monitoring": False,
    "max_run_hours": 1.0,
    "instance": {"description": "mine"},
}
# What a field needs to have a meaning at all.
NEEDED: dict[str, dict[str, Any]] = {
    "gpu_count": {"gpu": "V100"},
    "queue_minutes": {"gpu": "L4", "provisioning": "flex_start"},
    "local_ssds": {"machine_type": "n2-standard-4"},
}


@pytest.mark.parametrize("field", [field.name for field in fields(VM)])
def test_no_field_is_without_effect(field: str) -> None:
    needed = NEEDED.get(field, {})
    before, after = VM(**needed), VM(**{**needed, field: CHANGES[field]})
    assert _asked(before) != _asked(after)


def _asked(vm: VM) -> dict[str, Any]:
    """All that Compute Engine is told about a sweep's first VM."""
    identity = Identity(SweepNames("calm-otter"), b"k" * 32, 0.0)
    sent = Sent(Placement("code", "/p"), [], "environment", "launcher")
    made = order(Settings(vm=vm), "my-project", None, "b", identity, sent)
    return made.body(0, 1, candidate(vm))


def test_every_vm_carries_its_own_end() -> None:
    for machine in MACHINES:
        scheduling = body(VM(**{**machine, "max_run_hours": 1.5}))["scheduling"]
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


@pytest.mark.parametrize(
    "provisioning, model", [("reservation", "RESERVATION_BOUND"), ("standard", "STANDARD")]
)
def test_a_reservation_is_named_whether_the_vm_is_bound_to_it_or_only_uses_it(
    provisioning: str, model: str
) -> None:
    asked = body(VM(gpu="A100", provisioning=provisioning, reservation="mine"))
    assert asked["scheduling"]["provisioningModel"] == model
    assert asked["reservationAffinity"] == {
        "consumeReservationType": "SPECIFIC_RESERVATION",
        "key": "compute.googleapis.com/reservation-name",
        "values": ["mine"],
    }
    assert "reservationAffinity" not in body(VM())


def test_flex_start_waits_in_the_queue_as_long_as_is_said_and_uses_no_reservation() -> None:
    asked = body(VM(gpu="A100", provisioning="flex_start", queue_minutes=30, max_run_hours=168))
    assert asked["params"] == {"requestValidForDuration": {"seconds": "1800"}}
    assert asked["reservationAffinity"] == {"consumeReservationType": "NO_RESERVATION"}
    assert asked["scheduling"]["maxRunDuration"] == {"seconds": "604800"}
    assert "params" not in body(VM(gpu="A100", provisioning="spot"))


def test_local_ssds_that_are_chosen_are_attached_and_those_that_a_type_brings_are_not() -> None:
    disks = body(VM(machine_type="n2-standard-4", local_ssds=2, zones=["us-central1-a"]))["disks"]
    assert disks[0]["boot"] is True
    assert disks[1:] == 2 * [
        {
            "type": "SCRATCH",
            "interface": "NVME",
            "autoDelete": True,
            "initializeParams": {"diskType": "zones/us-central1-a/diskTypes/local-ssd"},
        }
    ]
    assert len(body(VM(machine_type="c3-standard-8-lssd"))["disks"]) == 1


def test_a_disk_carries_the_labels_by_which_it_is_found_when_its_vm_is_gone() -> None:
    (disk,) = body(VM(labels={"team": "vision"}))["disks"]
    assert disk["initializeParams"]["labels"] == {
        "team": "vision", SWEEP_LABEL: "calm-otter", JOB_LABEL: "3",
    }  # fmt: skip
    assert disk["autoDelete"] is True


def test_a_shielded_vm_is_asked_for_only_where_it_differs_from_googles_defaults() -> None:
    assert "shieldedInstanceConfig" not in body(VM())
    assert body(VM(secure_boot=True))["shieldedInstanceConfig"] == {
        "enableSecureBoot": True, "enableVtpm": True, "enableIntegrityMonitoring": True,
    }  # fmt: skip


def test_the_agent_learns_which_container_the_program_runs_in() -> None:
    def container(vm: VM) -> list[str]:
        items = _asked(vm)["metadata"]["items"]
        return [item["value"] for item in items if item["key"] == "hydra-gce-container"]

    assert container(VM(container="python:3.11-slim")) == ["python:3.11-slim"]
    assert container(VM()) == []


@pytest.mark.parametrize(
    "vm, own, expected",
    [
        (VM(), None, "debian-cloud"),
        (VM(gpu="T4"), None, "deeplearning-platform-release"),
        (VM(machine_type="t2a-standard-4"), None, "family/debian-12-arm64"),
        (VM(machine_type="c4a-standard-4"), None, "family/debian-12-arm64"),
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


@pytest.mark.parametrize(
    "vm, network, subnetwork",
    [
        (VM(network="lab"), "global/networks/lab", None),
        (VM(network="host/lab"), "projects/host/global/networks/lab", None),
        (VM(network="projects/host/global/networks/lab"), "projects/host/global/networks/lab", None),
        (VM(subnetwork="host/west"), None, "projects/host/regions/us-west1/subnetworks/west"),
        (
            VM(subnetwork="projects/host/regions/us-west1/subnetworks/west"),
            None,
            "projects/host/regions/us-west1/subnetworks/west",
        ),
    ],
)
def test_a_network_may_be_another_projects(vm: VM, network: str | None, subnetwork: str | None) -> None:
    vm.zones = ["us-west1-b"]
    (interface,) = body(vm)["networkInterfaces"]
    assert (interface.get("network"), interface.get("subnetwork")) == (network, subnetwork)


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
    asked = order_of()
    first = asked.request_id(num, attempt, "us-central1-a", round_)
    assert uuid.UUID(first).int != 0
    assert order_of().request_id(num, attempt, "us-central1-a", round_) == first
    others = [
        asked.request_id(num + 1, attempt, "us-central1-a", round_),
        asked.request_id(num, attempt + 1, "us-central1-a", round_),
        asked.request_id(num, attempt, "us-central1-b", round_),
        asked.request_id(num, attempt, "us-central1-a", round_ + 1),
    ]
    assert len({first, *others}) == 5


def test_the_same_request_makes_the_same_body() -> None:
    assert json.dumps(body(VM(gpu="T4"))) == json.dumps(body(VM(gpu="T4")))
