"""At the end no VM is left, and who says so has looked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hydra_gce.compute import HereCompute
from hydra_gce.leave import NOTHING_LEFT, delete_all, see_them_leave
from hydra_gce.machines import VMRequest, resolve
from hydra_gce.request import Order
from hydra_gce.settings import VM
from tests.compute_stub import StubbedCompute, stubbed_compute

PLACES = resolve(VMRequest(machine_type="e2-micro", regions=["us-*"]))


@pytest.fixture
def google() -> Iterator[StubbedCompute]:
    with stubbed_compute() as stub:
        yield stub


@pytest.fixture
def compute(google: StubbedCompute) -> HereCompute:
    return HereCompute(google.backend)


def make(compute: HereCompute, sweep: str, num: int) -> str:
    """A VM, each in another zone."""
    order, place = Order(sweep, "my-project", VM(), None, {}), PLACES[num]
    assert (
        compute.insert(place.zone, order.body(num, 1, place), order.request_id(num, 1, place.zone, 0)) is None
    )
    return order.instance_name(num, 1)


def test_all_vms_of_a_sweep_are_deleted_wherever_they_are(
    google: StubbedCompute, compute: HereCompute
) -> None:
    names = [make(compute, "calm-otter", num) for num in range(6)]
    other = make(compute, "calm-yak", 7)
    assert delete_all(compute, "calm-otter") == NOTHING_LEFT
    assert sorted(google.deleted) == names
    assert list(google.instances) == [other]
    assert delete_all(compute, None) == NOTHING_LEFT
    assert google.instances == {}


def test_a_vm_on_its_way_out_is_waited_for_and_not_deleted_again(
    google: StubbedCompute, compute: HereCompute
) -> None:
    name = make(compute, "calm-otter", 0)
    google.instances[name]["status"] = "STOPPING"
    looks = iter(range(3))

    def gone_after_some_looks() -> None:
        if next(looks, None) is None:
            google.instances.clear()

    google.before_listing = gone_after_some_looks
    assert delete_all(compute, "calm-otter") == NOTHING_LEFT
    assert google.deleted == []


def test_agents_get_the_time_to_delete_their_own_vms(google: StubbedCompute, compute: HereCompute) -> None:
    make(compute, "calm-otter", 0)
    looks = iter(range(2))

    def deletes_itself() -> None:
        if next(looks, None) is None:
            google.instances.clear()

    google.before_listing = deletes_itself
    assert see_them_leave(compute, "calm-otter") == NOTHING_LEFT
    assert google.deleted == []


def test_a_sweep_that_left_nothing_takes_one_look(google: StubbedCompute, compute: HereCompute) -> None:
    assert see_them_leave(compute, "calm-otter") == NOTHING_LEFT
    assert len(google.filters) == 1
