"""The life of an instance, as Google's client sees it."""

from __future__ import annotations

import uuid

import pytest
from google.api_core import exceptions
from google.cloud import compute_v1

from hydra_gce.local.vm import ExitReason
from tests.local.embedded import PROJECT, ZONE, Embedded, eventually, instance

SPOT = compute_v1.Scheduling(provisioning_model="SPOT", instance_termination_action="DELETE")


def test_an_instance_is_running_when_its_insert_is_done(cloud: Embedded) -> None:
    operation = cloud.insert("vm", labels={"sweep": "otter"}, tags=compute_v1.Tags(items=["web"]))
    made = cloud.get("vm")
    assert operation.progress == 100
    assert operation.operation_type == "insert"
    assert operation.target_id == made.id
    assert made.status == "RUNNING"
    assert made.labels == {"sweep": "otter"}
    assert made.zone.endswith(f"/projects/{PROJECT}/zones/{ZONE}")
    assert cloud.machines.named("vm").running()


def test_an_operation_that_waits_for_the_boot_is_not_done(cloud: Embedded) -> None:
    cloud.machines.booting.clear()
    operation = cloud.instances.insert_unary(project=PROJECT, zone=ZONE, instance_resource=instance("vm"))
    eventually(lambda: cloud.get("vm").status == "STAGING")
    under_way = cloud.operations.get(project=PROJECT, zone=ZONE, operation=operation.name)
    assert under_way.status == compute_v1.Operation.Status.RUNNING
    cloud.machines.booting.set()
    assert not cloud.wait(operation).error.errors


def test_stop_start_reset_and_delete_go_their_way(cloud: Embedded) -> None:
    cloud.insert("vm")
    machine = cloud.machines.named("vm")
    cloud.call("stop", "vm")
    assert cloud.get("vm").status == "TERMINATED"
    assert not machine.running()
    cloud.call("start", "vm")
    assert cloud.get("vm").status == "RUNNING"
    cloud.call("reset", "vm")
    assert "reset" in machine.orders
    cloud.call("delete", "vm")
    assert not machine.directory.exists()
    with pytest.raises(exceptions.NotFound, match="instances/vm' was not found"):
        cloud.get("vm")


def test_a_stopped_instance_starts_again_as_another_machine_type(cloud: Embedded) -> None:
    cloud.insert("vm")
    change = compute_v1.InstancesSetMachineTypeRequest(
        machine_type=f"zones/{ZONE}/machineTypes/e2-standard-2"
    )
    resource = {"instances_set_machine_type_request_resource": change}
    with pytest.raises(exceptions.BadRequest, match="must be stopped"):
        cloud.call("set_machine_type", "vm", **resource)
    cloud.call("stop", "vm")
    cloud.call("set_machine_type", "vm", **resource)
    cloud.call("start", "vm")
    spec = cloud.machines.named("vm").spec
    assert spec is not None
    assert spec.memory_bytes == 8 << 30


def test_a_boot_disk_comes_and_goes_with_its_instance(cloud: Embedded) -> None:
    cloud.insert("vm")
    (disk,) = cloud.disks.list(project=PROJECT, zone=ZONE)
    assert disk.name == "vm"
    assert [user.rsplit("/", 1)[-1] for user in disk.users] == ["vm"]
    with pytest.raises(exceptions.BadRequest, match="already being used by"):
        cloud.disks.delete_unary(project=PROJECT, zone=ZONE, disk="vm")
    cloud.call("delete", "vm")
    assert list(cloud.disks.list(project=PROJECT, zone=ZONE)) == []


def test_the_console_is_read_piece_by_piece(cloud: Embedded) -> None:
    cloud.insert("vm")
    first = cloud.instances.get_serial_port_output(project=PROJECT, zone=ZONE, instance="vm")
    assert first.contents == "booted\n"
    cloud.machines.named("vm").console += b"more\n"
    request = compute_v1.GetSerialPortOutputInstanceRequest(
        project=PROJECT, zone=ZONE, instance="vm", start=first.next_
    )
    assert cloud.instances.get_serial_port_output(request=request).contents == "more\n"


def test_metadata_reaches_the_guest_and_needs_its_fingerprint(cloud: Embedded) -> None:
    cloud.insert("vm", metadata=compute_v1.Metadata(items=[compute_v1.Items(key="a", value="1")]))
    metadata = cloud.get("vm").metadata
    metadata.items.append(compute_v1.Items(key="b", value="2"))
    cloud.call("set_metadata", "vm", metadata_resource=metadata)
    guest = cloud.machines.named("vm").metadata["instance"]
    assert guest["attributes"] == {"a": "1", "b": "2"}
    assert guest["zone"].endswith(f"/zones/{ZONE}")
    with pytest.raises(exceptions.PreconditionFailed, match="fingerprint"):
        cloud.call("set_metadata", "vm", metadata_resource=metadata)


def test_labels_need_their_fingerprint(cloud: Embedded) -> None:
    cloud.insert("vm")
    request = compute_v1.InstancesSetLabelsRequest(labels={"a": "b"}, label_fingerprint="AAAAAAAAAAA=")
    with pytest.raises(exceptions.PreconditionFailed, match="Labels fingerprint"):
        cloud.call("set_labels", "vm", instances_set_labels_request_resource=request)
    request.label_fingerprint = cloud.get("vm").label_fingerprint
    cloud.call("set_labels", "vm", instances_set_labels_request_resource=request)
    assert cloud.get("vm").labels == {"a": "b"}


def test_a_preempted_spot_vm_is_warned_and_then_deleted(cloud: Embedded) -> None:
    cloud.insert("vm", scheduling=SPOT)
    machine = cloud.machines.named("vm")
    cloud.call("simulate_maintenance_event", "vm")
    assert machine.published[-1]["instance"]["preempted"] == "TRUE"
    assert machine.orders == ["shut-down 1"]
    assert cloud.names() == []
    types = [one.operation_type for one in cloud.operations.list(project=PROJECT, zone=ZONE)]
    assert "compute.instances.preempted" in types


@pytest.mark.parametrize(("scheduling", "grace"), [(SPOT, "1"), (compute_v1.Scheduling(), "2")])
def test_a_deleted_vm_is_shut_down_and_its_guest_has_the_time_of_its_kind(
    cloud: Embedded, scheduling: compute_v1.Scheduling, grace: str
) -> None:
    cloud.insert("vm", scheduling=scheduling)
    machine = cloud.machines.named("vm")
    request = compute_v1.DeleteInstanceRequest(
        project=PROJECT, zone=ZONE, instance="vm", no_graceful_shutdown=True
    )
    cloud.wait(cloud.instances.delete_unary(request=request))
    assert machine.orders == [f"shut-down {grace}"]
    assert cloud.names() == []


def test_a_standard_vm_migrates_and_stays_up(cloud: Embedded) -> None:
    cloud.insert("vm")
    cloud.call("simulate_maintenance_event", "vm")
    seen = [tree["instance"]["maintenanceEvent"] for tree in cloud.machines.named("vm").published]
    assert seen == ["MIGRATE_ON_HOST_MAINTENANCE", "NONE"]
    assert cloud.get("vm").status == "RUNNING"


def test_a_guest_that_powers_itself_off_leaves_a_terminated_instance(cloud: Embedded) -> None:
    cloud.insert("vm", scheduling=SPOT)
    cloud.machines.named("vm").end(ExitReason.GUEST_SHUTDOWN)
    eventually(lambda: cloud.get("vm").status == "TERMINATED")


def test_a_vm_whose_time_is_over_is_deleted_with_its_disk(cloud: Embedded) -> None:
    limit = compute_v1.Scheduling(
        max_run_duration=compute_v1.Duration(seconds=60), instance_termination_action="DELETE"
    )
    cloud.insert("vm", scheduling=limit)
    made = cloud.get("vm")
    assert made.resource_status.scheduling.termination_timestamp
    machine = cloud.machines.named("vm")
    assert machine.spec is not None
    assert machine.spec.max_run_s == 60
    machine.end(ExitReason.MAX_RUN_DURATION)
    eventually(lambda: cloud.names() == [])
    assert list(cloud.disks.list(project=PROJECT, zone=ZONE)) == []


def test_the_same_request_id_makes_one_instance(cloud: Embedded) -> None:
    request = compute_v1.InsertInstanceRequest(
        project=PROJECT, zone=ZONE, instance_resource=instance("vm"), request_id=str(uuid.uuid4())
    )
    first = cloud.instances.insert_unary(request=request)
    cloud.wait(first)
    assert cloud.instances.insert_unary(request=request).name == first.name
    request.instance_resource = instance("other")
    with pytest.raises(exceptions.BadRequest, match="requestId"):
        cloud.instances.insert_unary(request=request)
    assert cloud.names() == ["vm"]


def test_a_protected_instance_is_not_deleted(cloud: Embedded) -> None:
    cloud.insert("vm", deletion_protection=True)
    with pytest.raises(exceptions.BadRequest, match="protected against deletion"):
        cloud.call("delete", "vm")


def test_an_image_that_carries_a_python_gives_it_to_its_vms(cloud: Embedded) -> None:
    from hydra_gce.local.compute.images import register_python

    image = register_python(cloud.server.cloud, PROJECT, "python-1", "/opt/some/bin/python")
    cloud.insert("vm", image=image.path)
    cloud.insert("bare")
    carried = [spec.python for name in ("vm", "bare") if (spec := cloud.machines.named(name).spec)]
    assert carried == ["/opt/some/bin/python", None]


def test_bulk_insert_makes_all_in_one_group(cloud: Embedded) -> None:
    model = instance("unused")
    properties = compute_v1.InstanceProperties(
        machine_type="e2-micro", disks=model.disks, network_interfaces=model.network_interfaces
    )
    resource = compute_v1.BulkInsertInstanceResource(
        count=2, name_pattern="vm-##", instance_properties=properties
    )
    operation = cloud.instances.bulk_insert_unary(
        project=PROJECT, zone=ZONE, bulk_insert_instance_resource_resource=resource
    )
    assert operation.operation_group_id
    eventually(lambda: [cloud.get(name).status for name in ("vm-01", "vm-02")] == ["RUNNING", "RUNNING"])
