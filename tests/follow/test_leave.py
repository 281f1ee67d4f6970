"""At the end nothing is left, and who says so has looked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hydra_gce.compute import HereCompute
from hydra_gce.compute.leftovers import Leftover
from hydra_gce.follow.leave import NOTHING_LEFT, Patience, clear, delete_all, see_them_leave
from tests.local.embedded import PROJECT, ZONE, eventually
from tests.lossy_proxy import LossyProxy, lossy_proxy
from tests.quick_cloud import QuickCloud, quick_cloud

SOON = Patience(again_s=0.5, pause_s=0.05, longest_pause_s=0.1)


class SteppedClock:
    """Time that passes by waiting only."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[QuickCloud]:
    with quick_cloud(tmp_path) as made:
        yield made


@pytest.fixture
def compute(cloud: QuickCloud) -> HereCompute:
    return HereCompute(cloud.backend)


@pytest.fixture
def proxy(cloud: QuickCloud) -> Iterator[LossyProxy]:
    with lossy_proxy(cloud.embedded.url) as made:
        yield made


def without_waiting() -> Patience:
    clock = SteppedClock()
    return Patience(clock=clock, sleep=clock.sleep, deletion_s=30, longest_pause_s=20)


def test_all_that_a_sweep_has_is_deleted_and_nothing_of_others(
    cloud: QuickCloud, compute: HereCompute
) -> None:
    for num in range(3):
        cloud.make("calm-otter", num)
    cloud.embedded.call("stop", "hg-calm-otter-1")
    cloud.leave_its_disk("hg-calm-otter-2")
    cloud.make("calm-otter", 3, deletion_protection=True)
    other = cloud.make("calm-yak", 7)
    assert delete_all(compute, "calm-otter", SOON) == NOTHING_LEFT
    assert cloud.embedded.names() == cloud.disks() == [other]
    assert delete_all(compute, None, SOON) == NOTHING_LEFT
    assert cloud.embedded.names() == cloud.disks() == []


def test_a_disk_that_is_left_when_its_vm_goes_is_deleted_too(cloud: QuickCloud, compute: HereCompute) -> None:
    name = cloud.make("calm-otter")
    cloud.embedded.call("set_disk_auto_delete", name, auto_delete=False, device_name="persistent-disk-0")
    assert delete_all(compute, "calm-otter", SOON) == NOTHING_LEFT
    assert cloud.disks() == []


def test_a_vm_whose_insert_is_stuck_is_deleted_when_it_comes(cloud: QuickCloud, compute: HereCompute) -> None:
    cloud.machines.booting.clear()
    cloud.make("calm-otter", wait=False)
    looks = []

    def boots_in_the_end(left: list[Leftover]) -> None:
        looks.append([one.status for one in left])
        if len(looks) == 3:
            cloud.machines.booting.set()

    assert clear(compute, "calm-otter", boots_in_the_end, SOON).nothing
    assert len(looks) >= 3
    assert cloud.embedded.names() == []


def test_what_does_not_go_within_the_bound_is_named_with_what_to_run(
    cloud: QuickCloud, compute: HereCompute
) -> None:
    cloud.machines.booting.clear()
    name = cloud.make("calm-otter", wait=False)
    said = delete_all(compute, "calm-otter", without_waiting())
    assert said == f"still being deleted: {name}. Look again with: hydra-gce down calm-otter"


def test_a_vm_on_its_way_out_is_waited_for_and_not_deleted_again(
    cloud: QuickCloud, proxy: LossyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = cloud.make("calm-otter")
    machine, may_end = cloud.machines.named(name), threading.Event()

    def shut_down_slowly(grace_s: float) -> None:
        may_end.wait(30)
        machine.power_off()

    monkeypatch.setattr(machine, "shut_down", shut_down_slowly)
    compute = HereCompute(cloud.through(proxy))
    cloud.embedded.instances.stop_unary(project=PROJECT, zone=ZONE, instance=name)
    eventually(lambda: cloud.embedded.get(name).status == "STOPPING")
    statuses: list[str] = []

    def ends_after_some_looks(left: list[Leftover]) -> None:
        statuses.extend(one.status for one in left)
        if statuses.count("STOPPING") >= 3:
            may_end.set()

    assert clear(compute, "calm-otter", ends_after_some_looks, SOON).nothing
    assert statuses.count("STOPPING") >= 3
    assert len([path for method, path in proxy.seen if method == "DELETE"]) == 1


def test_an_answer_that_is_lost_is_no_reason_to_leave_anything(cloud: QuickCloud, proxy: LossyProxy) -> None:
    for num in range(3):
        cloud.make("calm-otter", num)
    lost: set[str] = set()

    def first_of_its_kind(method: str, path: str) -> bool:
        kind = f"{method} {path.partition('?')[0]}"
        is_first = kind not in lost
        lost.add(kind)
        return is_first

    proxy.lose = first_of_its_kind
    assert delete_all(HereCompute(cloud.through(proxy)), "calm-otter", SOON) == NOTHING_LEFT
    assert cloud.embedded.names() == []
    assert proxy.lost >= 7  # three deletions, four lists


class Away:
    """Compute Engine as seen over a network that is away at first."""

    def __init__(self, compute: HereCompute, looks: int) -> None:
        self._compute = compute
        self._looks = looks

    def __getattr__(self, name: str) -> object:
        from hydra_gce.errors import Unreachable

        if self._looks:
            self._looks -= 1
            raise Unreachable("no route to host")
        return getattr(self._compute, name)


def test_a_network_that_is_away_in_between_is_waited_for(cloud: QuickCloud, compute: HereCompute) -> None:
    cloud.make("calm-otter")
    away = Away(compute, looks=4)
    assert delete_all(away, "calm-otter", SOON) == NOTHING_LEFT  # type: ignore[arg-type]
    assert cloud.embedded.names() == []


def test_a_network_that_stays_away_is_said_and_so_is_what_to_run(compute: HereCompute) -> None:
    away = Away(compute, looks=10**6)
    said = see_them_leave(away, "calm-otter", without_waiting())  # type: ignore[arg-type]
    assert "what is left is not known: Compute Engine does not answer (no route to host)" in said
    assert said.endswith("Look again with: hydra-gce down calm-otter")


def test_a_refused_deletion_is_said_with_the_reason(cloud: QuickCloud, compute: HereCompute) -> None:
    class Refusing(HereCompute):
        def remove(self, leftover: Leftover) -> str:
            return "Required 'compute.instances.delete' permission"

    name = cloud.make("calm-otter")
    said = delete_all(Refusing(cloud.backend), "calm-otter", without_waiting())
    assert f"VM {name} in us-central1-a is still there: Required 'compute.instances.delete'" in said


def test_agents_get_the_time_to_delete_their_own_vms(cloud: QuickCloud, proxy: LossyProxy) -> None:
    name = cloud.make("calm-otter")
    clock = SteppedClock()

    def deletes_itself(seconds: float) -> None:
        clock.sleep(seconds)
        if clock.now > 1.0 and cloud.embedded.names():
            cloud.embedded.call("delete", name)

    patience = Patience(clock=clock, sleep=deletes_itself)
    assert see_them_leave(HereCompute(cloud.through(proxy)), "calm-otter", patience) == NOTHING_LEFT
    assert {method for method, _ in proxy.seen} == {"GET"}


def test_a_sweep_that_left_nothing_takes_one_look_at_each_kind(cloud: QuickCloud, proxy: LossyProxy) -> None:
    assert see_them_leave(HereCompute(cloud.through(proxy)), "calm-otter") == NOTHING_LEFT
    kinds = sorted(path.partition("?")[0].rpartition("/")[2] for _, path in proxy.seen)
    assert kinds == ["addresses", "disks", "instances", "instances", "operations"]
