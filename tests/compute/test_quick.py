"""What is listed by plain requests is what Google's client lists, in the same words, with the same errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.cloud import compute_v1

from hydra_gce.compute import HereCompute, quick
from hydra_gce.compute.instance import instance_in, instance_of
from hydra_gce.compute.leftovers import _FIELDS
from hydra_gce.errors import CredentialsError, CredentialsExpired, Unreachable
from hydra_gce.labels import SWEEP_LABEL
from tests.local.embedded import PROJECT, ZONE
from tests.quick_cloud import AnsweringProxy, QuickCloud

LABEL = f"labels.{SWEEP_LABEL}:*"


def listed(cloud: QuickCloud, collection: str = "instances", wanted: str = LABEL) -> list[dict[str, Any]]:
    silent: list[str] = []
    found = list(quick.aggregated(cloud.backend, collection, wanted, _FIELDS[collection], silent))
    assert silent == []
    return found


def test_vms_are_the_same_as_googles_client_has_them(cloud: QuickCloud) -> None:
    gpu = compute_v1.AcceleratorConfig(
        accelerator_type=f"projects/{PROJECT}/zones/{ZONE}/acceleratorTypes/nvidia-tesla-t4",
        accelerator_count=1,
    )
    cloud.make(
        "calm-otter",
        0,
        machine_type="n1-standard-1",
        guest_accelerators=[gpu],
        scheduling=compute_v1.Scheduling(
            provisioning_model="SPOT", on_host_maintenance="TERMINATE", automatic_restart=False
        ),
    )
    cloud.make("calm-otter", 1, deletion_protection=True)
    cloud.embedded.call("stop", cloud.make("wild-yak"))
    by_client = {one.name: one for one in HereCompute(cloud.backend).instances()}
    assert len(by_client) == 3
    assert {one.name: one for one in map(instance_in, listed(cloud))} == by_client


def test_a_vm_with_the_fewest_fields_is_read_as_googles_client_reads_it() -> None:
    plain = {"name": "a", "zone": "https://x/zones/z", "status": "RUNNING", "machineType": "https://x/m"}
    assert instance_in(plain) == instance_of(compute_v1.Instance.from_json(json.dumps(plain)))


def test_all_pages_are_read(cloud: QuickCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {cloud.make("calm-otter", num) for num in range(3)}
    monkeypatch.setattr(quick, "_PAGE", 2)
    assert {one["name"] for one in listed(cloud)} == names


def test_only_what_is_needed_travels(cloud: QuickCloud) -> None:
    cloud.make("calm-otter")
    (one,) = listed(cloud)
    assert "metadata" not in one
    assert "selfLink" not in one


def test_one_vm_is_found_or_is_not_there(cloud: QuickCloud) -> None:
    name = cloud.make("calm-otter")
    found = quick.instance(cloud.backend, ZONE, name)
    assert found is not None
    assert found["networkInterfaces"]
    assert quick.instance(cloud.backend, ZONE, "hg-calm-otter-7") is None


def test_zones_that_do_not_answer_are_named(cloud: QuickCloud, proxy: AnsweringProxy) -> None:
    proxy.answers["GET", "/aggregated/instances"] = lambda: {
        "items": {},
        "unreachables": ["zones/us-east1-b"],
    }
    silent: list[str] = []
    assert list(quick.aggregated(cloud.through(proxy), "instances", LABEL, "name", silent)) == []
    assert silent == ["us-east1-b"]


@pytest.mark.parametrize(
    ("status", "kind"), [(403, CredentialsError), (401, CredentialsExpired), (503, Unreachable)]
)
def test_refusals_are_ours(
    cloud: QuickCloud, status: int, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    import requests

    def refuse(self: object, *words: object, **more: object) -> requests.Response:
        answer = requests.Response()
        answer.status_code = status
        answer._content = b'{"error": {"code": 1, "message": "no", "errors": [{"reason": "forbidden"}]}}'
        answer.request = requests.Request("GET", "http://x").prepare()
        return answer

    monkeypatch.setattr("google.auth.transport.requests.AuthorizedSession.get", refuse)
    monkeypatch.setattr("hydra_gce.compute.asking._AGAIN_S", 0.1)
    with pytest.raises(kind):
        listed(cloud)
