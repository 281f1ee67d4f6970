"""What gcloud's own `instances create` sends for a VM, field by field beside what an order sends.

Every difference is one that docs/provisioning-gcloud.md names, with its reason.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from hydra_gce.local.host import Host
from hydra_gce.machines import resolve
from hydra_gce.request import Order, startup_script, vm_request
from hydra_gce.settings import VM
from tests.local.embedded import PROJECT, Embedded
from tests.local.fake_machine import FakeMachines

pytestmark = [
    pytest.mark.gcloud,
    pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed"),
]
PAGE = Path(__file__).parents[2] / "docs" / "provisioning-gcloud.md"
ZONE = "us-central1-a"
DEBIAN = ("--image-family=debian-12", "--image-project=debian-cloud")
DEEP_LEARNING = (
    "--image-family=common-cu128-ubuntu-2204-nvidia-570",
    "--image-project=deeplearning-platform-release",
)
BALANCED = "--boot-disk-type=pd-balanced"
GPU = (*DEEP_LEARNING, BALANCED, "--maintenance-policy=TERMINATE")
HOST_PROJECT = "projects/host/regions/us-central1/subnetworks/lab"

# Where the two differ: field -> what an order sends, what gcloud sends (None: nothing), and the words on the page.
DIFFERENCES: dict[str, tuple[Any, Any, str]] = {
    "canIpForward": (None, False, "Its default, said outright"),
    "deletionProtection": (None, False, "Its default, said outright"),
    "disks.*.mode": (None, "READ_WRITE", "Its default, said outright"),
    "disks.0.type": (None, "PERSISTENT", "Its default, said outright"),
    "scheduling.preemptible": (None, True, "The older word for spot"),
    "scheduling.provisioningModel": ("STANDARD", None, "Our default, said outright"),
    "scheduling.onHostMaintenance": ("MIGRATE", None, "Our default, said outright"),
    "networkInterfaces.0.accessConfigs.0.name": (
        "External NAT",
        "external-nat",
        "A name that nothing refers to",
    ),
    "disks.0.initializeParams.labels.*": (ANY, None, "gcloud has no flag for it"),
    "shieldedInstanceConfig.*": (True, None, "gcloud says only what its flags say"),
}

# path of a field -> (what an order sends, what gcloud sends)
Differences = dict[str, tuple[Any, Any]]


class NotInThisGcloud(Exception):
    """An older gcloud lacks a flag that the case needs."""


@dataclass(frozen=True, eq=False)
class Case:
    """A VM as it is asked for here and there. `flags` is what a person would write for it."""

    name: str
    vm: VM
    flags: tuple[str, ...]


CASES = [
    Case("plain", VM(), ("--machine-type=e2-standard-2", *DEBIAN, BALANCED)),
    Case(
        "spot with local SSDs",
        VM(machine_type="n2-standard-4", provisioning="spot", local_ssds=2),
        (
            "--machine-type=n2-standard-4", *DEBIAN, BALANCED, "--provisioning-model=SPOT",
            "--maintenance-policy=TERMINATE", "--local-ssd=interface=nvme", "--local-ssd=interface=nvme",
        ),
    ),
    Case(
        "attached GPUs",
        VM(gpu="T4", gpu_count=2),
        ("--machine-type=n1-standard-8", "--accelerator=type=nvidia-tesla-t4,count=2", *GPU),
    ),
    Case(
        "a machine that brings its GPU, spot",
        VM(gpu="L4", provisioning="spot", disk_gb=100),
        ("--machine-type=g2-standard-4", *GPU, "--provisioning-model=SPOT", "--boot-disk-size=100GB"),
    ),
    Case(
        "flex-start",
        VM(gpu="A100", provisioning="flex_start", queue_minutes=30, max_run_hours=36),
        (
            "--machine-type=a2-highgpu-1g", *GPU, "--provisioning-model=FLEX_START", "--reservation-affinity=none",
            "--request-valid-for-duration=30m", "--max-run-duration=36h",
        ),
    ),
    Case(
        "bound to a reservation",
        VM(gpu="A100", provisioning="reservation", reservation="mine"),
        (
            "--machine-type=a2-highgpu-1g", *GPU, "--provisioning-model=RESERVATION_BOUND",
            "--reservation-affinity=specific", "--reservation=mine",
        ),
    ),
    Case(
        "a custom type that uses another project's reservation",
        VM(machine_type="n2-custom-6-65536-ext", reservation="projects/other/reservations/mine"),
        (
            "--custom-vm-type=n2", "--custom-cpu=6", "--custom-memory=64GB", "--custom-extensions", *DEBIAN, BALANCED,
            "--reservation-affinity=specific", "--reservation=projects/other/reservations/mine",
        ),
    ),
    Case(
        "a shared network, no address, an account",
        VM(
            subnetwork=HOST_PROJECT,
            external_ip=False,
            service_account="trainer@lab.iam.gserviceaccount.com",
            scopes=["https://www.googleapis.com/auth/devstorage.read_write", "https://www.googleapis.com/auth/compute"],
            tags=["train", "lab"],
            labels={"team": "vision"},
            metadata={"enable-oslogin": "TRUE"},
        ),
        (
            "--machine-type=e2-standard-2", *DEBIAN, BALANCED, f"--subnet={HOST_PROJECT}", "--no-address",
            "--service-account=trainer@lab.iam.gserviceaccount.com", "--scopes=storage-rw,compute-rw",
            "--tags=train,lab",
        ),
    ),
    Case(
        "shielded",
        VM(secure_boot=True, vtpm=False, integrity_monitoring=False),
        (
            "--machine-type=e2-standard-2", *DEBIAN, BALANCED, "--shielded-secure-boot", "--no-shielded-vtpm",
            "--no-shielded-integrity-monitoring",
        ),
    ),
    Case(
        "Arm",
        VM(machine_type="t2a-standard-2", secure_boot=True),
        (
            "--machine-type=t2a-standard-2", "--image-family=debian-12-arm64", "--image-project=debian-cloud", BALANCED,
            "--shielded-secure-boot",
        ),
    ),
    Case(
        "an image of one's own on Hyperdisk",
        VM(machine_type="n4-standard-2", image="mine", disk_gb=200, max_run_hours=0.5),
        (
            "--machine-type=n4-standard-2", f"--image=projects/{PROJECT}/global/images/mine",
            "--boot-disk-type=hyperdisk-balanced", "--boot-disk-size=200GB", "--max-run-duration=30m",
        ),
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def gcloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gcloud]:
    home = tmp_path_factory.mktemp("gcloud-bodies")
    (home / "local").mkdir()
    machines = FakeMachines()
    embedded = Embedded(home / "local", machines, Host(cores=256, memory_bytes=2 << 40))
    try:
        yield Gcloud(home, embedded.url)
    finally:
        machines.booting.set()
        embedded.close()


class Gcloud:
    """gcloud, pointed at a server; what it sends is read from its own log."""

    def __init__(self, home: Path, url: str) -> None:
        self._home = home
        self._environment = {
            **os.environ,
            "CLOUDSDK_CONFIG": str(home / "gcloud"),
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"{url}/compute/v1/",
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
            "CLOUDSDK_CORE_PROJECT": PROJECT,
        }

    def sent(self, name: str, vm: VM, flags: tuple[str, ...]) -> dict[str, Any]:
        """The body of its `instances.insert`. Whether the server has that network or image does not matter here."""
        script = self._home / "startup.sh"
        script.write_text(startup_script())
        labels = {**vm.labels, "hydra-gce-sweep": "calm-otter", "hydra-gce-job": "0"}
        ours = [
            f"--metadata-from-file=startup-script={script}",
            f"--metadata={_pairs({'hydra-gce-job': '0', **vm.metadata})}",
            f"--labels={_pairs(labels)}",
            "--instance-termination-action=DELETE",
            "--no-restart-on-failure",
        ]
        defaults = {
            "--max-run-duration": "24h",
            "--boot-disk-size": "50GB",
            "--scopes": "cloud-platform",
        }
        said = " ".join(flags)
        ours += [f"{flag}={value}" for flag, value in defaults.items() if flag not in said]
        command = ["gcloud", "compute", "instances", "create", name, f"--zone={ZONE}", *flags, *ours]
        done = subprocess.run(
            [*command, "--log-http", "--quiet"],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        logged = re.search(
            rf"uri: \S+/zones/{ZONE}/instances\?\S*\nmethod: POST\n.*?== body start ==\n(.*?)\n== body end ==",
            done.stderr,
            re.DOTALL,
        )
        if logged is None and re.search("Invalid choice|unrecognized arguments", done.stderr):
            raise NotInThisGcloud(done.stderr.strip().splitlines()[0])
        assert logged is not None, done.stderr[-2000:]
        body: dict[str, Any] = json.loads(logged[1])
        return body


@pytest.fixture(scope="module")
def differences(gcloud: Gcloud) -> Callable[[Case], Differences]:
    """The fields in which the two bodies of a case differ. gcloud is asked once for each."""
    return cache(lambda case: _differences(case, gcloud))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_gcloud_sends_the_same_but_for_what_the_page_names(
    case: Case, differences: Callable[[Case], Differences]
) -> None:
    try:
        found = differences(case)
    except NotInThisGcloud as error:
        pytest.skip(str(error))
    assert {path: both for path, both in found.items() if _pattern(path, both) is None} == {}


def test_the_page_names_each_difference_with_its_reason_and_none_that_is_not_there(
    differences: Callable[[Case], Differences],
) -> None:
    seen: set[str | None] = set()
    for case in CASES:
        with suppress(NotInThisGcloud):
            seen |= {_pattern(path, both) for path, both in differences(case).items()}
    assert seen >= DIFFERENCES.keys()
    page = PAGE.read_text(encoding="utf-8")
    for pattern, (_, _, reason) in DIFFERENCES.items():
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{pattern}` |")]
        assert reason in row
    assert sorted(re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)) == sorted(DIFFERENCES)


def _differences(case: Case, gcloud: Gcloud) -> Differences:
    place = next(one for one in resolve(vm_request(case.vm)) if one.zone == ZONE)
    ours = Order("calm-otter", PROJECT, case.vm, None, {}).body(0, 1, place)
    theirs = gcloud.sent(ours["name"], case.vm, case.flags)
    mine, other = dict(_flat(_normal(ours))), dict(_flat(_normal(theirs)))
    paths = sorted(mine.keys() | other.keys())
    return {path: (mine.get(path), other.get(path)) for path in paths if mine.get(path) != other.get(path)}


def _pattern(path: str, both: tuple[Any, Any]) -> str | None:
    """The difference of the page that this one is."""
    for pattern, (ours, theirs, _) in DIFFERENCES.items():
        if fnmatchcase(path, pattern) and both == (ours, theirs):
            return pattern
    return None


def _normal(body: dict[str, Any]) -> dict[str, Any]:
    """Links without host and own project; metadata by its keys; what has no order, in order."""
    metadata = {item["key"]: item["value"] for item in body["metadata"]["items"]}
    accounts = [{**one, "scopes": sorted(one["scopes"])} for one in body["serviceAccounts"]]
    tags = sorted(body.get("tags", {}).get("items", []))
    return {**body, "metadata": metadata, "serviceAccounts": accounts, "tags": tags}


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, leaf) of a JSON value: "disks.0.boot"."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _flat(item, f"{path}.{index}")
    else:
        yield path, _link(value) if isinstance(value, str) else value


def _link(text: str) -> str:
    """A link as it is shortest. A zone's view of an image family is the family."""
    short = re.sub(rf"^https?://[^/]+/compute/v1/|^projects/{PROJECT}/", "", text)
    short = short.removeprefix(f"projects/{PROJECT}/")
    return re.sub(r"zones/-/imageFamilyViews/", "global/images/family/", short)


def _pairs(values: dict[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in values.items())
