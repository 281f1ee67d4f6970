"""What of ``vm.*`` could never be sent: found before any request, with what to write instead."""

from __future__ import annotations

from typing import Any

import pytest

from hydra_gce.request.fields import wrong
from hydra_gce.settings import VM

AUTH = "https://www.googleapis.com/auth/"
NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    "vm",
    [
        VM(),
        VM(provisioning="flex_start", queue_minutes=1.5, max_run_hours=168),
        VM(provisioning="flex_start", queue_minutes=120),
        VM(max_run_hours=2880),
        VM(container="python"),
        VM(container="python:3.11-slim"),
        VM(container="us-docker.pkg.dev/my-project/images/train:v1"),
        VM(container="localhost:5000/a/b@sha256:" + "0" * 64),
        VM(network="lab", subnetwork="lab-west", reservation="mine"),
        VM(network="host-project/lab", subnetwork="host-project/lab-west"),
        VM(network="https://www.googleapis.com/compute/v1/projects/h/global/networks/lab"),
        VM(subnetwork="projects/example.com:host/regions/us-west1/subnetworks/lab-west"),
        VM(reservation="projects/other/reservations/mine"),
        VM(service_account="default"),
        VM(service_account="trainer@my-project.iam.gserviceaccount.com"),
        VM(service_account="123-compute@developer.gserviceaccount.com"),
        VM(scopes=[f"{AUTH}devstorage.full_control", f"{AUTH}compute", f"{AUTH}logging.write"]),
        VM(tags=["train", "a", "a-9"], labels={"größe": "klein-9", "team": ""}),
        VM(metadata={"enable-oslogin": "TRUE", "shutdown-script": "x" * 1000}),
        VM(vtpm=False, integrity_monitoring=False),
        VM(secure_boot=True),
        VM(secure_boot=True, machine_type="g1-small"),
        VM(secure_boot=True, gpu="T4", image="mine/signed"),
        VM(
            instance={
                "canIpForward": True,
                "scheduling": {"hostErrorTimeoutSeconds": 90},
                "labels": {"a": "b"},
            }
        ),
    ],
)
def test_what_can_be_sent_is_let_through(vm: VM) -> None:
    assert list(wrong(vm)) == []


@pytest.mark.parametrize(
    "fields, said",
    [
        (
            {"max_run_hours": NAN},
            "vm.max_run_hours=nan: Compute Engine takes 30 seconds (0.0084) to 120 days (2880).",
        ),
        ({"max_run_hours": INFINITE}, "vm.max_run_hours=inf: Compute Engine takes"),
        ({"max_run_hours": -1.0}, "vm.max_run_hours=-1: Compute Engine takes"),
        (
            {"provisioning": "flex_start", "max_run_hours": 169.0},
            "vm.max_run_hours=169: a flex_start VM runs for seven days at most. The nearest is vm.max_run_hours=168.",
        ),
        (
            {"provisioning": "flex_start", "max_run_hours": 0.1},
            "vm.max_run_hours=0.1: a flex_start VM is had for 10 minutes at least. The nearest is"
            " vm.max_run_hours=0.167.",
        ),
        (
            {"provisioning": "flex_start", "queue_minutes": 1.0},
            "vm.queue_minutes=1: a flex_start request may wait 1.5 to 120 minutes. The nearest is"
            " vm.queue_minutes=1.5.",
        ),
        ({"queue_minutes": 500.0}, "The nearest is vm.queue_minutes=120."),
        ({"queue_minutes": NAN}, "vm.queue_minutes=nan: a flex_start request may wait"),
        (
            {"queue_minutes": 30.0, "provisioning": "spot"},
            "vm.queue_minutes=30: only flex_start waits in a queue, and vm.provisioning is spot.",
        ),
        (
            {"container": "docker://python:3.11"},
            "vm.container=docker://python:3.11: no container image's name.",
        ),
        ({"container": "docker://python:3.11"}, "Did you mean python:3.11?"),
        ({"container": "Python:3.11"}, "Did you mean python:3.11?"),
        ({"container": ""}, "vm.container=: no container image's name."),
        ({"network": "Lab"}, "vm.network=Lab: no network's name. Write lab, "),
        ({"subnetwork": "a b"}, "vm.subnetwork=a b: no subnetwork's name."),
        ({"reservation": "my reservation"}, "vm.reservation=my reservation: no reservation's name."),
        ({"service_account": "trainer"}, "vm.service_account=trainer: no account's address."),
        (
            {"scopes": ["cloud-platform"]},
            "vm.scopes: 'cloud-platform' is no scope of Google's. Write the whole address, such as"
            f" {AUTH}cloud-platform.",
        ),
        ({"scopes": []}, "vm.scopes: devstorage.read_write, compute are missing"),
        ({"scopes": [f"{AUTH}devstorage.read_write"]}, "vm.scopes: compute is missing"),
        ({"tags": ["Train_1"]}, "vm.tags: 'Train_1' is no network tag"),
        ({"tags": ["Train_1"]}, "Did you mean train-1?"),
        ({"tags": [f"t{n}" for n in range(65)]}, "vm.tags: a VM has 64 network tags at most, not 65."),
        ({"labels": {"Team": "a"}}, "vm.labels.Team: a key is a lowercase letter"),
        ({"labels": {"": "a"}}, "vm.labels.: a key is a lowercase letter"),
        ({"labels": {"9a": "a"}}, "vm.labels.9a: a key is a lowercase letter"),
        ({"labels": {"team": "My Team"}}, "vm.labels.team=My Team: a value has up to 63 lowercase letters"),
        ({"labels": {"team": "My Team"}}, "Did you mean my-team?"),
        ({"labels": {"team": "x" * 64}}, "a value has up to 63"),
        (
            {"labels": {"hydra-gce-sweep": "a"}},
            "vm.labels.hydra-gce-sweep: labels that begin with hydra-gce- are",
        ),
        (
            {"labels": {f"l{n}": "" for n in range(63)}},
            "vm.labels: a VM has 64 labels at most; 62 of them are yours, not 63.",
        ),
        (
            {"metadata": {"hydra-gce-key": "a"}},
            "vm.metadata.hydra-gce-key: keys that begin with hydra-gce- are",
        ),
        ({"metadata": {"startup-script": "a"}}, "Commands to run before it go into env.setup"),
        ({"metadata": {"a.b": "a"}}, "vm.metadata.a.b: a key has up to 128 letters"),
        (
            {"metadata": {"a": "x" * (256 * 1024 + 1)}},
            "vm.metadata.a: 262,145 bytes; a value has 262,144 at most.",
        ),
        ({"metadata": {"a": "x" * 262144, "b": "x" * 262144}}, "vm.metadata: 524,290 bytes in all;"),
        ({"vtpm": False}, "vm.vtpm=false: integrity monitoring compares what the virtual TPM has measured."),
        ({"secure_boot": True, "gpu": "T4"}, "vm.secure_boot=true: the default image for GPUs"),
        ({"secure_boot": True, "machine_type": "a2-highgpu-1g"}, "vm.secure_boot=true"),
        (
            {"instance": {"machineTipe": "n1"}},
            "vm.instance.machineTipe: Compute Engine has no such field. The nearest are machineType,",
        ),
        (
            {"instance": {"scheduling": {"preemtible": True}}},
            "vm.instance.scheduling.preemtible: Compute Engine has no such field. The nearest are preemptible,",
        ),
        (
            {"instance": {"disks": [{"boot": True, "siz": 1}]}},
            "vm.instance.disks[0].siz: Compute Engine has no such",
        ),
        (
            {"instance": {"canIpForward": "perhaps"}},
            "vm.instance: Compute Engine's Instance does not take this",
        ),
        (
            {"instance": {"labels": {"hydra-gce-sweep": "a"}}},
            "vm.instance.labels.hydra-gce-sweep: labels that begin",
        ),
        ({"instance": {"name": "mine"}}, "vm.instance.name: VMs are named after their sweep and job"),
        (
            {"instance": {"metadata": {"items": []}}},
            "vm.instance.metadata: it would replace what the VM's agent",
        ),
    ],
)
def test_what_cannot_be_sent_is_named_with_what_to_write(fields: dict[str, Any], said: str) -> None:
    assert any(said in finding for finding in wrong(VM(**fields))), list(wrong(VM(**fields)))
