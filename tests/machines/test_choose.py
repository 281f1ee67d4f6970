"""Where a request can be met, in which order, and how it is refused."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import pytest

from hydra_gce import catalog
from hydra_gce.errors import ConfigError
from hydra_gce.machines import (
    DEFAULT_MACHINE_TYPE,
    ProvisioningModel,
    VMRequest,
    contradictions,
    offers,
    resolve,
)


def refusal(request: VMRequest) -> str:
    with pytest.raises(ConfigError) as refused:
        resolve(request)
    return str(refused.value)


def test_with_nothing_said_the_default_machine_is_taken_where_it_is_cheapest() -> None:
    candidates = resolve(VMRequest())
    assert {candidate.machine_type for candidate in candidates} == {DEFAULT_MACHINE_TYPE}
    assert candidates[0].model is ProvisioningModel.STANDARD
    assert not candidates[0].has_gpu
    assert resolve(VMRequest(default_machine_type="e2-standard-2"))[0].machine_type == "e2-standard-2"


@pytest.mark.parametrize("provisioning", ["standard", "spot", "flex_start"])
def test_candidates_come_cheapest_first_and_always_in_the_same_order(provisioning: str) -> None:
    request = VMRequest(gpu="L4", provisioning=provisioning)
    candidates = resolve(request)
    prices = [candidate.price.hourly for candidate in candidates]
    assert prices == sorted(prices)
    assert len({candidate.zone for candidate in candidates}) == len(candidates)
    for one, other in pairwise(candidates):
        if one.price == other.price:
            assert one.zone < other.zone
    assert resolve(request) == candidates


def test_spot_else_standard_tries_every_spot_place_before_the_first_standard_one() -> None:
    candidates = resolve(VMRequest(gpu="T4", provisioning="spot_else_standard"))
    models = [candidate.model for candidate in candidates]
    half = len(models) // 2
    assert models == [ProvisioningModel.SPOT] * half + [ProvisioningModel.STANDARD] * half
    assert [c.zone for c in candidates[:half]] != sorted(c.zone for c in candidates[:half])


def test_a_reservation_is_bound_and_costs_what_standard_does() -> None:
    bound = resolve(
        VMRequest(gpu="A100", provisioning="reservation", reservation="mine", regions=["us-central1"])
    )
    standard = resolve(VMRequest(gpu="A100", regions=["us-central1"]))
    assert bound[0].model is ProvisioningModel.RESERVATION_BOUND
    assert bound[0].price == standard[0].price


def test_wildcards_choose_zones_and_regions() -> None:
    by_zone = resolve(VMRequest(zones=["us-central1-*", "europe-west4-a"]))
    assert {candidate.zone for candidate in by_zone} == {
        "us-central1-a", "us-central1-b", "us-central1-c", "us-central1-f", "europe-west4-a",
    }  # fmt: skip
    by_region = resolve(VMRequest(regions=["europe-*"]))
    assert {candidate.region.split("-")[0] for candidate in by_region} == {"europe"}
    both = resolve(VMRequest(zones=["*-a"], regions=["us-*"]))
    assert all(c.zone.endswith("-a") and c.region.startswith("us-") for c in both)


def test_gpus_are_only_looked_for_in_zones_that_have_them() -> None:
    assert {c.zone for c in resolve(VMRequest(gpu="V100", regions=["us-west1", "asia-east1"]))} == {
        "us-west1-a", "us-west1-b", "asia-east1-c",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            VMRequest(zones=["us-central1-z"]),
            "hydra.launcher.vm.zones: there is no zone 'us-central1-z'. The nearest are us-central1-a, "
            "us-central1-b or us-central1-c.",
        ),
        (
            VMRequest(zones=["us-central1"]),
            "hydra.launcher.vm.zones: 'us-central1' is a region. Write vm.regions=[us-central1], or "
            "vm.zones=[us-central1-*].",
        ),
        (
            VMRequest(regions=["us-central1-a"]),
            "hydra.launcher.vm.regions: 'us-central1-a' is a zone. Write vm.zones=[us-central1-a].",
        ),
        (
            VMRequest(regions=["us-*"], zones=["europe-west4-a"]),
            "hydra.launcher.vm: no zone is left: none of vm.zones=[europe-west4-a] lies in "
            "vm.regions=[us-*]. Leave one of the two out.",
        ),
        (
            VMRequest(gpu="V100", zones=["us-west4-a"]),
            "hydra.launcher.vm.zones: n1-standard-4 + 1 x V100 is not offered in us-west4-a. It is in "
            "asia-east1, europe-west4, us-central1, us-east1, us-west1.",
        ),
        (
            VMRequest(provisioning="spott"),
            "hydra.launcher.vm.provisioning: 'spott' is none of standard, spot, spot_else_standard, "
            "flex_start, reservation. Did you mean spot?",
        ),
        (
            VMRequest(provisioning="spot", reservation="mine"),
            "hydra.launcher.vm.provisioning: a reservation (vm.reservation=mine) cannot be used with spot. "
            "Say vm.provisioning=reservation, or leave vm.reservation out.",
        ),
        (
            VMRequest(provisioning="reservation"),
            "hydra.launcher.vm.provisioning: reservation needs to know which one: vm.reservation=<its name>.",
        ),
        (
            VMRequest(provisioning="flex_start"),
            "hydra.launcher.vm.provisioning: e2-standard-4 has no GPU, and flex_start is for GPU machines. "
            "Say vm.provisioning=spot or standard.",
        ),
        (
            VMRequest(gpu="H100", gpu_count=1),
            "hydra.launcher.vm.provisioning: a3-highgpu-1g is not sold on demand. Say vm.provisioning=spot "
            "or flex_start, or take a3-highgpu-8g.",
        ),
        (
            VMRequest(gpu="H200"),
            "hydra.launcher.vm.provisioning: a3-ultragpu-8g is not sold on demand. Say vm.provisioning=spot, "
            "flex_start or reservation.",
        ),
        (
            VMRequest(gpu="T4", machine_type="g1-small"),
            "hydra.launcher.vm: a T4 cannot be attached to g1-small (T4s are attached to n1-standard-*, n1-highmem-*, "
            "n1-highcpu-* and custom N1 types). Leave vm.machine_type out and n1-standard-4 is taken.",
        ),
        (
            VMRequest(machine_type="m2-ultramem-208", provisioning="spot"),
            "hydra.launcher.vm.provisioning: m2-ultramem-208 is not sold as spot. Say "
            "vm.provisioning=standard.",
        ),
        (
            VMRequest(disk_gb=5),
            "hydra.launcher.vm.disk_gb: a boot disk has 10 to 65536 GB, not 5. The nearest is vm.disk_gb=10.",
        ),
        (
            VMRequest(disk_gb=0),
            "hydra.launcher.vm.disk_gb: a boot disk has 10 to 65536 GB, not 0. The nearest is vm.disk_gb=10.",
        ),
        (
            VMRequest(zones=["us-central1-a", "us-central1-b", "us-central1-a"]),
            "hydra.launcher.vm.zones: us-central1-a is named more than once. Leave the others out.",
        ),
        (
            VMRequest(zones="us-central1-a"),
            "hydra.launcher.vm.zones: 'us-central1-a' is not a list; write [us-central1-a].",
        ),
        (
            VMRequest(subnetwork="projects/h/regions/us-west1/subnetworks/lab", regions=["europe-west4"]),
            "hydra.launcher.vm.subnetwork: it lies in us-west1, and vm.zones and vm.regions allow "
            "europe-west4-a, europe-west4-b, europe-west4-c only. Say vm.regions=[us-west1], or take a subnetwork "
            "there.",
        ),
        (
            VMRequest(subnetwork="regions/us-west9/subnetworks/lab"),
            "hydra.launcher.vm.subnetwork: there is no region 'us-west9'. The nearest are us-west1, us-west2 or "
            "us-west3.",
        ),
        (
            VMRequest(gpu_count=2),
            "hydra.launcher.vm.gpu_count: 2 GPUs of which kind? e2-standard-4 brings none. Say vm.gpu=T4, for one, or "
            "leave vm.gpu_count out.",
        ),
        (
            VMRequest(disk_type="pd-sdd"),
            "hydra.launcher.vm.disk_type: 'pd-sdd' is none of pd-standard, pd-balanced, pd-ssd, "
            "hyperdisk-balanced. Did you mean pd-ssd?",
        ),
        (
            VMRequest(machine_type="n4-standard-4", disk_type="pd-balanced"),
            "hydra.launcher.vm.disk_type: n4-standard-4 takes no pd-balanced, only Hyperdisk. Say "
            "vm.disk_type=hyperdisk-balanced.",
        ),
        (
            VMRequest(machine_type="e2-standard-4", disk_type="hyperdisk-balanced"),
            "hydra.launcher.vm.disk_type: e2-standard-4 takes no hyperdisk-balanced. Say "
            "vm.disk_type=pd-balanced or pd-ssd.",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_the_nearest_that_works(request_: VMRequest, message: str) -> None:
    assert refusal(request_) == message


def test_everything_that_is_wrong_is_said_at_once() -> None:
    lines = refusal(
        VMRequest(
            gpu="T4",
            provisioning="reservation",
            disk_gb=1,
            disk_type="pd-sdd",
            local_ssds=9,
            zones=["mars-*"],
        )
    ).splitlines()
    assert [line.split(":")[0].removeprefix("hydra.launcher.vm.") for line in lines] == [
        "provisioning", "zones", "disk_gb", "local_ssds",
    ]  # fmt: skip


def test_what_is_refused_is_what_contradicts_and_nothing_else() -> None:
    assert contradictions(VMRequest(gpu="T4")) == []
    assert (
        contradictions(VMRequest(gpu="T5", disk_gb=0)) == refusal(VMRequest(gpu="T5", disk_gb=0)).splitlines()
    )


def test_a_subnetwork_with_a_region_keeps_the_vm_there() -> None:
    there = resolve(VMRequest(subnetwork="projects/host/regions/us-west1/subnetworks/lab"))
    assert {candidate.region for candidate in there} == {"us-west1"}
    assert len({candidate.region for candidate in resolve(VMRequest(subnetwork="lab"))}) > 1


@pytest.mark.parametrize("wild", ["eu-*", "europe-westt*"])
def test_a_wildcard_that_matches_nothing_names_one_that_does(wild: str) -> None:
    message = refusal(VMRequest(regions=[wild]))
    assert message.startswith(f"hydra.launcher.vm.regions: '{wild}' matches no region.")
    assert "europe-" in message


def test_h100s_that_fall_back_to_standard_stay_spot_where_standard_is_not_sold() -> None:
    models = {c.model for c in resolve(VMRequest(gpu="H100", gpu_count=1, provisioning="spot_else_standard"))}
    assert models == {ProvisioningModel.SPOT}


def test_machines_that_take_hyperdisk_only_get_it_unasked() -> None:
    assert resolve(VMRequest(machine_type="n4-standard-4"))[0].disk_type == "hyperdisk-balanced"
    assert resolve(VMRequest())[0].disk_type == "pd-balanced"


def test_every_machine_type_can_be_resolved_and_has_a_price_in_each_of_its_regions() -> None:
    for name, listed in catalog.machine_types().items():
        if name.startswith(("ct", "tpu", "a4x")):
            continue
        demand = name.startswith(("a3-highgpu-1g", "a3-highgpu-2g", "a3-highgpu-4g", "a3-ultra", "a4-"))
        candidates = resolve(VMRequest(machine_type=name, provisioning="spot" if demand else "standard"))
        assert {candidate.region for candidate in candidates} == set(listed.regions), name
        assert all(candidate.price.vm > 0 for candidate in candidates), name


@pytest.mark.parametrize(
    ("gpu", "provisioning", "quota"),
    [
        ("T4", "standard", "NVIDIA_T4_GPUS"),
        ("T4", "spot", "PREEMPTIBLE_NVIDIA_T4_GPUS"),
        ("A100-80GB", "flex_start", "PREEMPTIBLE_NVIDIA_A100_80GB_GPUS"),
        ("RTX-PRO-6000", "spot", None),
        (None, "spot", None),
    ],
)
def test_a_candidate_names_the_quota_of_its_gpus(
    gpu: str | None, provisioning: str, quota: str | None
) -> None:
    assert resolve(VMRequest(gpu=gpu, provisioning=provisioning))[0].gpu_quota == quota


def test_offers_are_rows_cheapest_first_without_disk_and_address() -> None:
    rows = offers("A100", spot=True)
    prices = [row.price.hourly for row in rows]
    assert prices == sorted(prices)
    assert {row.gpu_count for row in rows} == {1, 2, 4, 8, 16}
    assert all(row.model is ProvisioningModel.SPOT and row.zones for row in rows)
    assert all(row.price.disk == row.price.address == Decimal(0) for row in rows)
    assert {row.gpu_count for row in offers("A100", gpu_count=2)} == {2}
    assert {row.region for row in offers("A100", regions=["us-central1"])} == {"us-central1"}


def test_offers_leave_out_counts_that_are_not_sold_so_and_refuse_when_none_is() -> None:
    assert {row.machine_type for row in offers("H100")} == {"a3-highgpu-8g"}
    with pytest.raises(ConfigError, match="not offered in"):
        offers("A100", regions=["africa-south1"])
