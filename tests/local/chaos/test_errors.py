"""What requests meet on a bad day, seen through Google's own client."""

from __future__ import annotations

import time
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from google.api_core import exceptions
from google.cloud import compute_v1

from tests.local.chaos.weather import bring, happened, running
from tests.local.embedded import PROJECT, ZONE, Embedded, eventually, instance
from tests.local.fake_machine import FakeMachines

RATE_LIMIT = {"status": 403, "reason": "rateLimitExceeded"}


def rule(methods: str | list[str] = "instances.insert", **effect: Any) -> dict[str, Any]:
    return {"methods": methods, **effect}


def begin(cloud: Embedded, name: str = "vm", request_id: str | None = None) -> compute_v1.Operation:
    """Insert once, as the wire has it: no second try, no waiting."""
    request = compute_v1.InsertInstanceRequest(
        project=PROJECT,
        zone=ZONE,
        instance_resource=instance(name),
        request_id=request_id or str(uuid.uuid4()),
    )
    operation: compute_v1.Operation = cloud.instances.insert_unary(request=request, retry=None)
    return operation


def test_a_rate_limit_has_googles_shape_and_passes_after_its_times(cloud: Embedded) -> None:
    bring(cloud, {"errors": [rule(answer=RATE_LIMIT, times=2)]})
    for _ in range(2):
        with pytest.raises(exceptions.Forbidden) as refused:
            begin(cloud)
        assert refused.value.errors[0]["reason"] == "rateLimitExceeded"
        assert refused.value.errors[0]["domain"] == "usageLimits"
        assert "Queries per minute" in refused.value.message
        assert refused.value.reason == "RATE_LIMIT_EXCEEDED"  # from the errorInfo among the details
    assert cloud.names() == []
    cloud.wait(begin(cloud))
    assert happened(cloud, "errors") == [2]


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (429, "rateLimitExceeded", exceptions.TooManyRequests),
        (500, "backendError", exceptions.InternalServerError),
        (503, "backendError", exceptions.ServiceUnavailable),
    ],
)
def test_an_answer_comes_as_the_scenario_says(
    cloud: Embedded, status: int, reason: str, kind: type[exceptions.GoogleAPICallError]
) -> None:
    answer = {"status": status, "reason": reason, "message": "said so"}
    bring(cloud, {"errors": [rule(answer=answer, times=1)]})
    with pytest.raises(kind, match="said so") as refused:
        begin(cloud)
    assert refused.value.errors[0]["reason"] == reason


def test_a_refused_request_may_come_again_with_its_request_id(cloud: Embedded) -> None:
    bring(cloud, {"errors": [rule(answer=RATE_LIMIT, times=1)]})
    request_id = str(uuid.uuid4())
    with pytest.raises(exceptions.Forbidden):
        begin(cloud, request_id=request_id)
    assert not cloud.wait(begin(cloud, request_id=request_id)).error.errors


def test_an_operation_fails_and_leaves_nothing(cloud: Embedded) -> None:
    end = {
        "code": "QUOTA_EXCEEDED",
        "message": "Quota 'CPUS' exceeded.",
        "http": 403,
        "details": [{"quotaInfo": {"metricName": "compute.googleapis.com/cpus"}}],
    }
    bring(cloud, {"errors": [rule(operation=end, times=1)]})
    operation = cloud.wait(begin(cloud))
    (error,) = operation.error.errors
    assert (error.code, error.message) == ("QUOTA_EXCEEDED", "Quota 'CPUS' exceeded.")
    assert error.error_details[0].quota_info.metric_name == "compute.googleapis.com/cpus"
    assert (operation.http_error_status_code, operation.http_error_message) == (403, "FORBIDDEN")
    assert cloud.names() == []
    assert list(cloud.disks.list(project=PROJECT, zone=ZONE)) == []


def test_an_operation_that_failed_comes_again_for_its_request_id(cloud: Embedded) -> None:
    bring(cloud, {"errors": [rule(operation={"code": "INTERNAL_ERROR", "message": "so"}, times=1)]})
    request_id = str(uuid.uuid4())
    first = cloud.wait(begin(cloud, request_id=request_id))
    again = begin(cloud, request_id=request_id)
    assert again.name == first.name
    assert cloud.codes(again) == ["INTERNAL_ERROR"]
    assert happened(cloud, "errors") == [1]


def test_a_vm_may_run_although_its_operation_failed(cloud: Embedded) -> None:
    bring(cloud, {"errors": [rule(operation={"code": "INTERNAL_ERROR", "message": "so", "made": True})]})
    assert cloud.codes(cloud.wait(begin(cloud))) == ["INTERNAL_ERROR"]
    assert cloud.get("vm").status == "RUNNING"
    assert cloud.machines.named("vm").running()


def test_the_first_rule_that_fires_wins_and_skips_are_counted(cloud: Embedded) -> None:
    first = rule(answer={"status": 503, "reason": "backendError"}, skip=1, times=1)
    second = rule(methods="instances.*", answer=RATE_LIMIT, zones="us-*", times=1)
    bring(cloud, {"errors": [first, second]})
    with pytest.raises(exceptions.Forbidden):
        begin(cloud)
    with pytest.raises(exceptions.ServiceUnavailable):
        begin(cloud)
    cloud.wait(begin(cloud))
    assert happened(cloud, "errors") == [1, 1]


def test_a_rule_for_other_places_and_methods_leaves_a_request_alone(cloud: Embedded) -> None:
    elsewhere = rule(answer=RATE_LIMIT, zones="europe-*")
    other = rule(methods=["instances.stop", "zoneOperations.*"], answer=RATE_LIMIT, share=0)
    bring(cloud, {"errors": [elsewhere, other]})
    cloud.wait(begin(cloud))
    assert happened(cloud, "errors") == [0, 0]


def test_a_share_falls_the_same_way_for_the_same_seed(cloud: Embedded) -> None:
    def draws(seed: int) -> list[str]:
        bring(cloud, {"seed": seed, "errors": [rule("zones.get", answer=RATE_LIMIT, share=0.5)]})
        return ["error" if "error" in cloud.raw(f"zones/{ZONE}") else "ok" for _ in range(20)]

    first = draws(7)
    assert draws(7) == first
    assert draws(8) != first
    assert 3 < first.count("error") < 17


def test_a_request_that_is_wrong_uses_up_no_operation_rule(cloud: Embedded) -> None:
    bring(cloud, {"errors": [rule(operation={"code": "INTERNAL_ERROR"}, times=1)]})
    with pytest.raises(exceptions.BadRequest):
        begin(cloud, "NoName")
    assert happened(cloud, "errors") == [0]
    assert cloud.codes(cloud.wait(begin(cloud))) == ["INTERNAL_ERROR"]


def test_a_lost_answer_is_of_a_request_that_was_carried_out(cloud: Embedded) -> None:
    bring(cloud, {"errors": [rule(lost=True, times=1)]})
    request_id = str(uuid.uuid4())
    with pytest.raises(requests.ConnectionError):
        begin(cloud, request_id=request_id)
    assert cloud.names() == ["vm"]
    operation = begin(cloud, request_id=request_id)
    assert not cloud.wait(operation).error.errors
    assert cloud.get("vm").status == "RUNNING"
    made = [
        one for one in cloud.operations.list(project=PROJECT, zone=ZONE) if one.operation_type == "insert"
    ]
    assert [one.name for one in made] == [operation.name]


def test_a_cut_request_is_not_carried_out(cloud: Embedded) -> None:
    bring(cloud, {"errors": [rule(cut=True, times=1)]})
    with pytest.raises(requests.ConnectionError):
        begin(cloud)
    assert cloud.names() == []
    cloud.wait(begin(cloud))


def test_an_answer_may_come_late(cloud: Embedded) -> None:
    bring(cloud, {"errors": [rule("zones.get", slow_s=0.3)]})
    start = time.monotonic()
    assert cloud.raw(f"zones/{ZONE}")["name"] == ZONE
    assert time.monotonic() - start >= 0.3


def test_an_operation_may_take_longer(cloud: Embedded) -> None:
    bring(cloud, {"errors": [rule(operation_slow_s=0.5)]})
    operation = cloud.wait(begin(cloud))
    assert not operation.error.errors
    start, end = (datetime.fromisoformat(one) for one in (operation.start_time, operation.end_time))
    assert (end - start).total_seconds() >= 0.5
    assert cloud.get("vm").status == "RUNNING"


@pytest.mark.parametrize(
    ("code", "http", "sentence"),
    [
        ("ZONE_RESOURCE_POOL_EXHAUSTED", 503, "Try a different zone, or try again later."),
        ("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", 503, "resource type:compute)'."),
        ("QUOTA_EXCEEDED", 403, "The operation failed with QUOTA_EXCEEDED."),
        ("SOMETHING_NEW", 400, "The operation failed with SOMETHING_NEW."),
    ],
)
def test_a_code_alone_is_enough(cloud: Embedded, code: str, http: int, sentence: str) -> None:
    bring(cloud, {"errors": [rule(operation={"code": code})]})
    operation = cloud.wait(begin(cloud))
    assert cloud.codes(operation) == [code]
    assert operation.error.errors[0].message.endswith(sentence)
    assert operation.http_error_status_code == http


def test_vms_of_one_bulk_insert_share_its_end(cloud: Embedded) -> None:
    bring(cloud, {"errors": [rule("instances.bulkInsert", operation={"code": "INTERNAL_ERROR"}, times=1)]})
    vm = instance("any")
    properties = compute_v1.InstanceProperties(
        machine_type="e2-micro", disks=vm.disks, network_interfaces=vm.network_interfaces
    )
    bulk = compute_v1.BulkInsertInstanceResource(count=2, name_pattern="vm-#", instance_properties=properties)
    cloud.instances.bulk_insert_unary(project=PROJECT, zone=ZONE, bulk_insert_instance_resource_resource=bulk)
    eventually(lambda: cloud.names() == [])
    made = [
        one for one in cloud.operations.list(project=PROJECT, zone=ZONE) if one.operation_type == "insert"
    ]
    assert [cloud.codes(cloud.wait(one)) for one in made] == [["INTERNAL_ERROR"]] * 2


def test_a_stuck_insert_stays_so_over_a_restart_until_its_vm_is_deleted(
    tmp_path: Path, machines: FakeMachines
) -> None:
    with running(tmp_path, machines) as first:
        bring(first, {"errors": [rule(stuck=True, times=1)]})
        operation = begin(first)
        eventually(lambda: status(first, operation) == "RUNNING")
    with running(tmp_path, machines) as second:
        assert status(second, operation) == "RUNNING"
        assert second.get("vm").status == "PROVISIONING"
        assert happened(second, "errors") == [1]
        assert not second.call("delete", "vm").error.errors
        assert second.codes(second.wait(operation)) == ["OPERATION_CANCELED_BY_USER"]
        assert second.names() == []
        assert not second.insert("vm").error.errors


def test_a_stuck_insert_does_not_keep_the_server_from_ending(cloud: Embedded) -> None:
    bring(cloud, {"errors": [rule(stuck=True)]})
    operation = begin(cloud)
    eventually(lambda: status(cloud, operation) == "RUNNING")
    cloud.close()


def test_the_scenario_ends_when_it_is_told_to(cloud: Embedded) -> None:
    bring(cloud, {"errors": [rule(answer=RATE_LIMIT)]})
    with pytest.raises(exceptions.Forbidden):
        begin(cloud)
    bring(cloud, None)
    cloud.wait(begin(cloud))


def status(cloud: Embedded, operation: compute_v1.Operation) -> str:
    found = cloud.operations.get(project=PROJECT, zone=ZONE, operation=operation.name)
    return str(compute_v1.Operation.Status(found.status).name)
