"""What a project's quotas say of a VM: which one is in the way, whether that may pass, how many VMs fit."""

from __future__ import annotations

import json
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from google.auth.credentials import AnonymousCredentials
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from hydra_gce.cloud.backend import Backend
from hydra_gce.compute.quotas import Need, Quota, Quotas, link, needs, read, room, shortage
from hydra_gce.machines import Candidate, VMRequest, resolve
from tests.local.embedded import Embedded
from tests.local.fake_machine import FakeMachines

REGION = "us-central1"


def candidate(**asked: Any) -> Candidate:
    return resolve(VMRequest(regions=[REGION], **asked))[0]


def granted(everywhere: dict[str, tuple[float, float]] | None = None, **here: tuple[float, float]) -> Quotas:
    """Quotas of one region (limit, used), and of the whole project."""
    regional = {metric: Quota(*pair) for metric, pair in here.items()}
    return Quotas(
        "ml-lab", {REGION: regional}, {metric: Quota(*pair) for metric, pair in (everywhere or {}).items()}
    )


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"machine_type": "n1-standard-4"}, [Need("CPUS", 4, REGION), Need("CPUS_ALL_REGIONS", 4)]),
        ({"machine_type": "n2-standard-8"}, [Need("N2_CPUS", 8, REGION)]),
        ({"machine_type": "e2-standard-2"}, [Need("E2_CPUS", 2, REGION, ("CPUS",))]),
        (
            {"machine_type": "n2-standard-8", "provisioning": "spot"},
            [Need("PREEMPTIBLE_CPUS", 8, REGION, ("N2_CPUS",))],
        ),
        (
            {"gpu": "T4", "gpu_count": 2},
            [Need("NVIDIA_T4_GPUS", 2, REGION), Need("GPUS_ALL_REGIONS", 2)],
        ),
        (
            {"gpu": "A100", "provisioning": "spot"},
            [Need("PREEMPTIBLE_NVIDIA_A100_GPUS", 1, REGION, ("NVIDIA_A100_GPUS",))],
        ),
        ({"gpu": "A100"}, [Need("A2_CPUS", 12, REGION), Need("NVIDIA_A100_GPUS", 1, REGION)]),
        (
            {"gpu": "A100", "provisioning": "flex_start"},
            [Need("PREEMPTIBLE_NVIDIA_A100_GPUS", 1, REGION, ("NVIDIA_A100_GPUS",))],
        ),
        ({}, [Need("INSTANCES", 1, REGION), Need("IN_USE_ADDRESSES", 1, REGION)]),
    ],
)
def test_a_vm_counts_as_the_quotas_that_google_says(asked: dict[str, Any], expected: list[Need]) -> None:
    told = needs(candidate(**asked))
    assert [need for need in expected if need not in told] == []


def test_nothing_is_told_of_gpus_and_families_that_the_api_has_no_quota_of() -> None:
    told = {need.metric for need in needs(candidate(gpu="H200", provisioning="spot"))}
    assert told == {"INSTANCES", "IN_USE_ADDRESSES"}


def test_a_vm_without_an_address_on_the_internet_needs_none() -> None:
    inside = candidate(external_ip=False)
    assert "IN_USE_ADDRESSES" not in {need.metric for need in needs(inside)}
    assert Need("IN_USE_ADDRESSES", 1, REGION) in needs(inside, external_ip=True)


def test_local_ssds_count_those_that_are_attached_too() -> None:
    vm = candidate(machine_type="n2-standard-8", local_ssds=2, provisioning="spot")
    assert Need("PREEMPTIBLE_LOCAL_SSD_GB", 750, REGION, ("LOCAL_SSD_TOTAL_GB",)) in needs(vm)
    assert room(vm, granted(PREEMPTIBLE_LOCAL_SSD_GB=(0, 0), LOCAL_SSD_TOTAL_GB=(1500, 0))) == 2


@pytest.mark.parametrize(
    ("disk_type", "metric"), [("pd-standard", "DISKS_TOTAL_GB"), ("pd-balanced", "SSD_TOTAL_GB")]
)
def test_the_boot_disk_counts_where_its_size_is_told(disk_type: str, metric: str) -> None:
    vm = candidate(disk_type=disk_type)
    assert Need(metric, 200, REGION) in needs(vm, disk_gb=200)
    assert metric not in {need.metric for need in needs(vm)}


def test_a_quota_that_is_nought_is_never_met_by_waiting() -> None:
    found = shortage(candidate(gpu="T4"), granted(NVIDIA_T4_GPUS=(0, 0)))
    assert found is not None
    assert (found.metric, found.region, found.limit, found.may_pass) == ("NVIDIA_T4_GPUS", REGION, 0, False)
    assert str(found) == "NVIDIA_T4_GPUS is 0 in us-central1"


def test_a_quota_in_use_may_become_free() -> None:
    found = shortage(candidate(gpu="T4"), granted(NVIDIA_T4_GPUS=(4, 4)))
    assert found is not None and found.may_pass
    assert str(found) == "NVIDIA_T4_GPUS is 4 in us-central1, 4 in use, 1 needed"


def test_a_quota_below_one_vm_is_told_before_one_that_is_only_in_use() -> None:
    found = shortage(candidate(gpu="T4", gpu_count=4), granted(CPUS=(16, 16), NVIDIA_T4_GPUS=(2, 0)))
    assert found is not None and not found.may_pass
    assert found.metric == "NVIDIA_T4_GPUS"


def test_quotas_of_the_whole_project_count_in_every_region() -> None:
    found = shortage(candidate(gpu="T4"), granted({"GPUS_ALL_REGIONS": (0, 0)}, NVIDIA_T4_GPUS=(4, 0)))
    assert found is not None and found.region is None
    assert str(found) == "GPUS_ALL_REGIONS is 0 in the whole project"


def test_many_vms_pass_a_quota_that_one_does_not() -> None:
    vm, quotas = candidate(machine_type="n1-standard-4"), granted(CPUS=(24, 8))
    assert shortage(vm, quotas) is None
    assert shortage(vm, quotas, vms=4) is None
    found = shortage(vm, quotas, vms=5)
    assert found is not None and (found.needed, found.may_pass) == (20, True)


def test_room_is_what_the_scarcest_quota_leaves() -> None:
    vm = candidate(machine_type="n1-standard-4")
    assert room(vm, granted(CPUS=(24, 8), INSTANCES=(100, 0))) == 4
    assert room(vm, granted({"CPUS_ALL_REGIONS": (12, 8)}, CPUS=(24, 8))) == 1
    assert room(vm, granted(CPUS=(24, 30))) == 0


def test_what_is_not_known_stands_in_nobodys_way() -> None:
    vm, unknown = candidate(gpu="T4"), Quotas("ml-lab", unknown="no permission")
    assert shortage(vm, unknown, vms=1000) is None
    assert room(vm, unknown) is None


def test_spot_counts_as_standard_where_no_preemptible_cpus_were_granted() -> None:
    vm = candidate(machine_type="n2-standard-8", provisioning="spot")
    assert room(vm, granted(PREEMPTIBLE_CPUS=(0, 0), N2_CPUS=(16, 0))) == 2
    assert room(vm, granted(N2_CPUS=(16, 0))) == 2
    assert room(vm, granted(PREEMPTIBLE_CPUS=(8, 0), N2_CPUS=(16, 0))) == 1


def test_spot_gpus_listed_as_nought_are_not_to_be_had() -> None:
    vm = candidate(gpu="T4", provisioning="spot")
    assert room(vm, granted(PREEMPTIBLE_NVIDIA_T4_GPUS=(0, 0), NVIDIA_T4_GPUS=(4, 0))) == 0
    assert room(vm, granted(NVIDIA_T4_GPUS=(4, 0))) == 4  # not listed: Google has not granted any apart


def test_e2_counts_as_its_own_quota_where_the_project_has_one() -> None:
    vm = candidate(machine_type="e2-standard-8")
    assert room(vm, granted(E2_CPUS=(8, 0), CPUS=(80, 0))) == 1
    assert room(vm, granted(CPUS=(80, 0))) == 10


def test_the_link_filters_the_console_by_metric_and_region() -> None:
    address = urlsplit(link("ml-lab", "NVIDIA_A100_GPUS", REGION))
    query = parse_qs(address.query)
    assert (address.netloc, address.path) == ("console.cloud.google.com", "/iam-admin/quotas")
    assert query["project"] == ["ml-lab"]
    state = query["pageState"][0]
    filters = state.removeprefix('("allQuotasTable":("f":"').removesuffix('"))')
    # The console reads an underscore as a percent sign.
    said = json.loads(unquote(filters.replace("_", "%")))
    assert [(one["k"], one["v"]) for one in said] == [
        ("Metric", '"compute.googleapis.com/nvidia_a100_gpus"'),
        ("Dimensions (e.g. location)", '"region:us-central1"'),
    ]


def test_the_link_names_metrics_as_the_quota_page_does() -> None:
    assert "ssd_5Ftotal_5Fstorage" in link("ml-lab", "SSD_TOTAL_GB", REGION)
    assert "displayDimensions" not in link("ml-lab", "GPUS_ALL_REGIONS", None)


# What the API answers


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Embedded]:
    (tmp_path / "local").mkdir()
    cloud = Embedded(tmp_path / "local", FakeMachines())
    try:
        yield cloud
    finally:
        cloud.close()


def backend_at(url: str, project: str = "hydra-gce-local") -> Backend:
    return Backend("cloud", project, url, None, AnonymousCredentials(), None)


@contextmanager
def answering(answer: Callable[[Request], Response]) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, Request.application(answer), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join(30)


def test_quotas_are_read_from_compute_engine_with_what_is_in_use(embedded: Embedded) -> None:
    embedded.insert("a-vm", "n1-standard-1")
    quotas = read(backend_at(embedded.url))
    assert quotas.unknown is None
    assert len(quotas.regions) > 30
    in_use = quotas.of("CPUS", REGION)
    assert in_use is not None and in_use.used == 1
    assert quotas.of("GPUS_ALL_REGIONS", None) is not None
    assert pickle.loads(pickle.dumps(quotas)) == quotas
    fits = room(candidate(machine_type="n1-standard-1"), quotas)
    assert fits == (in_use.limit - 1)


def test_a_missing_permission_gives_quotas_that_know_nothing_and_say_why() -> None:
    error = {"error": {"code": 403, "message": "Required 'compute.projects.get' permission", "errors": []}}
    with answering(lambda request: Response(json.dumps(error), 403, mimetype="application/json")) as url:
        quotas = read(backend_at(url, "ml-lab"))
    assert (quotas.regions, quotas.everywhere) == ({}, {})
    assert quotas.unknown is not None
    assert "ml-lab could not be read" in quotas.unknown and "compute.projects.get" in quotas.unknown


def test_an_api_that_is_not_there_gives_quotas_that_know_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
    quotas = read(backend_at(nobody, "ml-lab"))
    assert quotas.unknown is not None and quotas.regions == {}


def test_regions_whose_quotas_could_not_be_fetched_are_not_known() -> None:
    told = {"name": REGION, "quotas": [{"metric": "CPUS", "limit": 24.0, "usage": 4.0}]}
    untold = {"name": "us-east1", "quotaStatusWarning": {"code": "QUOTA_INFO_UNAVAILABLE"}}

    def answer(request: Request) -> Response:
        listed = request.path.endswith("/regions")
        body = {"items": [told, untold]} if listed else {"name": "ml-lab", "quotas": []}
        return Response(json.dumps(body), mimetype="application/json")

    with answering(answer) as url:
        quotas = read(backend_at(url, "ml-lab"))
    assert quotas.of("CPUS", REGION) == Quota(24, 4)
    assert quotas.of("CPUS", "us-east1") is None
    assert quotas.unknown is not None
