"""What each check makes of what it was told, without asking anybody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials

from hydra_gce.cloud.backend import Backend
from hydra_gce.compute.leftovers import Kind, Leftover
from hydra_gce.compute.quotas import Quota, Quotas
from hydra_gce.doctor import (
    account,
    apis,
    billing,
    bucket,
    clock,
    credentials,
    firewall,
    gcloud,
    image,
    leftovers,
    mlflow,
    nat,
    network,
    permissions,
    project,
    python,
    quota,
)
from hydra_gce.doctor.findings import Finding, State, by, lines, warning
from hydra_gce.doctor.firewall import Rule
from hydra_gce.doctor.patient import Patient, patient_of
from hydra_gce.machines import VMRequest, resolve
from hydra_gce.settings import VM, Settings

OK, WARNING, ERROR, SKIPPED = State.OK, State.WARNING, State.ERROR, State.SKIPPED


@pytest.fixture
def patient() -> Patient:
    backend = Backend("cloud", "lab", "http://127.0.0.1:9", None, AnonymousCredentials(), None)
    found = patient_of(backend, Settings(), {}, "hydra-gce setup")
    found.__dict__["member"] = "user:me@example.com"  # nobody is asked
    return found


def remedies(finding: Finding) -> list[str]:
    return [str(one) for one in finding.remedies]


def test_credentials_are_named_by_their_kind() -> None:
    known = credentials.judge(credentials.Answer("user account", "user:me@example.com", None, None))
    assert (known.state, known.found) == (OK, "user account, me@example.com")
    unknown = credentials.judge(credentials.Answer("user account", "user:YOU", None, None))
    assert unknown.found == "user account"


def test_a_key_that_counts_no_more_is_replaced_and_a_login_is_renewed() -> None:
    person = credentials.judge(credentials.Answer("user account", "", "invalid_grant", None))
    assert (person.state, remedies(person)) == (ERROR, ["gcloud auth application-default login"])
    robot = credentials.judge(credentials.Answer("service account r@lab", "", "invalid_grant", "/key.json"))
    assert remedies(robot)[0] == "gcloud iam service-accounts keys create /key.json --iam-account=r@lab"
    assert "unset GOOGLE_APPLICATION_CREDENTIALS" in remedies(robot)[1]


def test_a_project_that_is_shut_down_can_be_brought_back() -> None:
    found = project.judge(project.Answer("lab", "DELETE_REQUESTED"))
    assert (found.state, remedies(found)) == (ERROR, ["gcloud projects undelete lab"])


def test_billing_is_linked_on_a_page_or_by_a_command() -> None:
    assert billing.judge("lab", True).state is OK
    found = billing.judge("lab", False)
    assert found.state is ERROR
    assert any("console.cloud.google.com/billing" in one for one in remedies(found))


def test_an_api_that_only_doctor_needs_is_no_error() -> None:
    states = {"compute.googleapis.com": "ENABLED", "iam.googleapis.com": "DISABLED"}
    assert apis.judge("lab", states, "hydra-gce setup").state is WARNING
    states["compute.googleapis.com"] = "DISABLED"
    found = apis.judge("lab", states, "hydra-gce setup")
    assert found.state is ERROR
    assert remedies(found)[0] == (
        "gcloud services enable compute.googleapis.com iam.googleapis.com --project=lab"
    )


def test_permissions_that_lack_come_with_the_smallest_role() -> None:
    roles = {**permissions.NEEDED, **permissions.TUNNEL}
    found = permissions.judge(list(roles), permissions.NEEDED, roles, "lab", "user:me@example.com")
    assert found.state is ERROR
    (remedy,) = found.remedies
    assert [one.partition("--role=")[2].split()[0] for one in remedy.steps] == [
        "roles/compute.instanceAdmin.v1",
        "roles/iap.tunnelResourceAccessor",
    ]
    some = permissions.judge(
        list(permissions.TUNNEL), permissions.NEEDED, roles, "lab", "user:me@example.com"
    )
    assert some.state is WARNING


CANDIDATES = resolve(VMRequest(gpu="T4", regions=["us-central1", "europe-west4"]))
SPOT_FIRST = resolve(VMRequest(gpu="T4", provisioning="spot_else_standard", regions=["us-central1"]))
ENOUGH = {"NVIDIA_T4_GPUS": Quota(4, 0), "CPUS": Quota(100, 0), "PREEMPTIBLE_NVIDIA_T4_GPUS": Quota(4, 0)}
NONE = {**ENOUGH, "NVIDIA_T4_GPUS": Quota(0, 0)}
IN_USE = {**ENOUGH, "NVIDIA_T4_GPUS": Quota(4, 4)}
NO_SPOT = {**ENOUGH, "PREEMPTIBLE_NVIDIA_T4_GPUS": Quota(0, 0)}


def quotas(**regions: dict[str, Quota]) -> Quotas:
    return Quotas("lab", {name.replace("_", "-"): one for name, one in regions.items()})


def test_one_region_with_room_is_enough() -> None:
    found = quota.judge(CANDIDATES, [], quotas(us_central1=NONE, europe_west4=ENOUGH), VM())
    assert (found.state, found.found) == (
        OK,
        "room in europe-west4; 4 such VMs fit in europe-west4, none in us-central1",
    )


def test_without_room_anywhere_another_region_is_named_where_there_is_some() -> None:
    elsewhere = resolve(VMRequest(gpu="T4"))
    known = quotas(us_central1=NONE, europe_west4=NONE, us_east1=ENOUGH, us_west1=NONE)
    known = replace(known, regions={one.region: known.regions.get(one.region, NONE) for one in elsewhere})
    found = quota.judge(CANDIDATES, elsewhere, known, VM())
    assert found.state is ERROR
    assert "NVIDIA_T4_GPUS is 0 in" in found.found
    assert found.found.endswith("all regions asked for")
    assert remedies(found)[0] == "hydra.launcher.vm.regions=[us-east1]"
    assert remedies(found)[1].startswith("https://console.cloud.google.com/iam-admin/quotas")


def test_a_quota_that_is_in_use_is_a_warning() -> None:
    found = quota.judge(CANDIDATES, [], quotas(us_central1=IN_USE, europe_west4=IN_USE), VM())
    assert found.state is WARNING


def test_where_spot_has_no_quota_standard_counts() -> None:
    found = quota.judge(SPOT_FIRST, [], quotas(us_central1=NO_SPOT), VM(provisioning="spot_else_standard"))
    assert found.state is OK


def test_quotas_that_cannot_be_read_are_not_judged() -> None:
    assert quota.judge(CANDIDATES, [], Quotas("lab", unknown="closed"), VM()).state is SKIPPED


OLD: dict[str, Any] = {"action": {"type": "Delete"}, "condition": {"age": 30}}


@pytest.mark.parametrize(
    ("location", "regions", "states"),
    [
        ("US-CENTRAL1", ["us-central1"], [OK]),
        ("US-CENTRAL1", ["us-east1", "us-central1"], [OK]),
        ("US", ["us-east1"], [OK]),
        ("EU", ["europe-west4"], [OK]),
        ("US", ["europe-west4"], [WARNING]),
        ("US-CENTRAL1", ["us-east1"], [WARNING]),
        ("US-CENTRAL1", [], [OK]),
    ],
)
def test_a_bucket_is_to_be_near_the_vms(
    patient: Patient, location: str, regions: Sequence[str], states: list[State]
) -> None:
    answer = bucket.Answer("b", location, rules=[OLD])
    assert [one.state for one in bucket.judge(answer, regions, patient, "")] == states


@pytest.mark.parametrize(
    ("rule", "enough"),
    [
        (OLD, True),
        ({**OLD, "condition": {"age": 30, "matchesPrefix": ["hydra-gce/sweeps/"]}}, True),
        ({**OLD, "condition": {"age": 30, "matchesPrefix": ["hydra"]}}, True),
        ({**OLD, "condition": {"age": 30, "matchesPrefix": ["mine/"]}}, False),
        ({**OLD, "condition": {"isLive": False}}, False),
        ({"action": {"type": "SetStorageClass"}, "condition": {"age": 30}}, False),
    ],
)
def test_which_lifecycle_rules_end_what_is_old(rule: dict[str, Any], enough: bool) -> None:
    assert bucket.forgets(rule) is enough


def test_a_bucket_without_permissions_names_them(patient: Patient) -> None:
    answer = bucket.Answer("b", "US", lacks=["storage.objects.create"], rules=[OLD])
    (found,) = bucket.judge(answer, [], patient, "user:me@example.com")
    assert (found.state, "storage.objects.create" in found.found) == (ERROR, True)
    (nowhere,) = bucket.judge(bucket.Answer("b", may_make=False), [], patient, "user:me@example.com")
    assert (nowhere.state, "storage.buckets.create" in nowhere.found) == (ERROR, True)


def test_an_image_that_its_owner_has_given_up_names_its_successor() -> None:
    newer = "projects/debian-cloud/global/images/family/debian-13"
    obsolete = image.judge(image.Answer("a", "debian-10", "OBSOLETE", newer, 10), 50)
    assert (obsolete.state, remedies(obsolete)) == (ERROR, [f"hydra.launcher.vm.image={newer}"])
    assert image.judge(image.Answer("a", "debian-10", "DEPRECATED", newer, 10), 50).state is WARNING
    assert image.judge(image.Answer("a", "debian-12", "", "", 10), 50).state is OK


def test_a_subnetwork_has_to_be_where_the_vms_may_be() -> None:
    answer = network.Answer("ml", None, ["default", "ml"], ["ml-eu"], ["europe-west4"])
    assert network.judge(answer, ["europe-west4"], "lab").state is OK
    some = network.judge(answer, ["us-central1", "europe-west4"], "lab")
    assert (some.state, remedies(some)) == (WARNING, ["hydra.launcher.vm.regions=[europe-west4]"])
    assert network.judge(answer, ["us-central1"], "lab").state is ERROR


def test_nat_in_some_of_the_regions_is_a_warning_that_names_them() -> None:
    found = nat.judge(["us-east1"], ["us-central1", "us-east1"], "default", "hydra-gce setup", False)
    assert found.state is WARNING
    assert remedies(found) == [
        "hydra.launcher.vm.regions=[us-east1]",
        "hydra-gce setup --nat us-central1",
        "hydra.launcher.vm.external_ip=true",
    ]
    assert nat.judge(["us-east1"], ["us-east1"], "default", "hydra-gce setup", False).state is OK


def test_a_shared_network_is_put_right_where_it_is_from() -> None:
    found = nat.judge([], ["us-west1"], "lab", "hydra-gce setup", False, shared="host")
    assert [one.partition(" --project=host")[1] for one in found.remedies[0].steps] == [" --project=host"] * 2
    door = firewall.judge([], [], None, "lab", "hydra-gce setup", "host")
    assert (
        door.remedies[0]
        .steps[0]
        .startswith("gcloud compute firewall-rules create hydra-gce-iap-ssh --project=host")
    )


@pytest.mark.parametrize(
    ("named", "owner"),
    [
        (None, None),
        ("lab", None),
        ("host/lab", "host"),
        ("projects/host/global/networks/lab", "host"),
        ("global/networks/lab", None),
        ("regions/us-west1/subnetworks/lab-west", None),
        ("https://www.googleapis.com/compute/v1/projects/host/regions/us-west1/subnetworks/lab", "host"),
    ],
)
def test_whose_a_network_is(named: str | None, owner: str | None) -> None:
    assert network.owner_of(named) == owner


def test_vms_with_nothing_to_fetch_can_do_without_a_way_out() -> None:
    found = nat.judge([], ["us-west1"], "lab", "hydra-gce setup", False, packages=False)
    assert found.state is WARNING


SSH = Rule("ssh", 1000, True, ("0.0.0.0/0",), (), (), (("tcp", ("22",)),))


@pytest.mark.parametrize(
    ("rules", "tags", "state"),
    [
        ([SSH], [], OK),
        ([replace(SSH, sources=("35.235.240.0/20",))], [], OK),
        ([replace(SSH, sources=("10.0.0.0/8",))], [], WARNING),
        ([replace(SSH, sources=("35.235.240.0/24",))], [], WARNING),
        ([replace(SSH, targets=("hydra-gce",))], [], WARNING),
        ([replace(SSH, targets=("hydra-gce",))], ["hydra-gce"], OK),
        ([replace(SSH, protocols=(("all", ()),))], [], OK),
        ([replace(SSH, protocols=(("tcp", ("20-30",)),))], [], OK),
        ([replace(SSH, protocols=(("udp", ("22",)),))], [], WARNING),
        ([replace(SSH, accounts=("vm@lab",))], [], WARNING),
        ([SSH, replace(SSH, name="no", priority=900, allows=False)], [], WARNING),
        ([SSH, replace(SSH, name="no", priority=1000, allows=False)], [], WARNING),
        ([SSH, replace(SSH, name="no", priority=1100, allows=False)], [], OK),
        ([replace(SSH, sources=("::/0",))], [], WARNING),
        ([], [], WARNING),
    ],
)
def test_the_first_rule_by_priority_decides_on_ssh(rules: list[Rule], tags: list[str], state: State) -> None:
    assert firewall.judge(rules, tags, None, "default", "hydra-gce setup").state is state


def test_a_vm_account_that_cannot_end_its_vm_is_a_warning(patient: Patient) -> None:
    answer = account.Answer("vm@lab", has=account.OBJECTS)
    (found,) = account.judge(answer, [account.DELETE], patient, "", own=True)
    assert found.state is WARNING
    assert remedies(found)[0].startswith("hydra-gce setup and hydra.launcher.vm.service_account=")
    (unknown,) = account.judge(account.Answer("vm@lab", has=None), [], patient, "", own=True)
    assert (unknown.state, "may not be read" in unknown.found) == (OK, True)


@pytest.mark.parametrize(
    ("ahead_s", "state"),
    [(0.4, OK), (-29, OK), (31, WARNING), (-299, WARNING), (600, ERROR), (-86400, ERROR)],
)
def test_how_far_a_clock_may_be_off(ahead_s: float, state: State) -> None:
    found = clock.judge(ahead_s, "Linux")
    assert found.state is state
    assert remedies(found) == ([] if state is OK else ["sudo timedatectl set-ntp true"])


@pytest.mark.parametrize(
    ("here", "wanted", "requires", "state"),
    [
        ((3, 11), None, None, OK),
        ((3, 11), "3.11", ">=3.10,<3.14", OK),
        ((3, 11), "3.12", None, WARNING),
        ((3, 11), "3.9", None, ERROR),
        ((3, 9), None, None, ERROR),
        ((3, 11), "3.11", ">=3.12", ERROR),
        ((3, 11), "latest", None, ERROR),
    ],
)
def test_pythons_have_to_understand_each_other(
    here: tuple[int, int], wanted: str | None, requires: str | None, state: State
) -> None:
    found = python.judge(here, wanted, requires)
    assert found.state is state
    assert bool(found.remedies) is (state is not OK)


def test_a_server_that_wants_a_login_is_told_from_one_that_is_down() -> None:
    login = mlflow.judge(mlflow.Answer("https://user:secret@mlflow.lab", 401))
    assert (login.state, "MLFLOW_TRACKING_USERNAME" in remedies(login)[0]) == (ERROR, True)
    assert "secret" not in login.found
    down = mlflow.judge(mlflow.Answer("http://127.0.0.1:5000", None, "ConnectionError"))
    assert remedies(down)[0] == "mlflow server --host 127.0.0.1 --port 5000"
    assert mlflow.judge(mlflow.Answer("http://mlflow.lab", 404)).state is OK
    assert mlflow.judge(mlflow.Answer("http://mlflow.lab", 502)).state is WARNING


def leftover(sweep: str, status: str = "RUNNING") -> Leftover:
    return Leftover(
        Kind.VM, f"hg-{sweep}-0", "z", sweep, status, "vm", 0.0, Decimal("0.5"), Decimal(1), owner="ann"
    )


def test_what_a_launcher_watches_over_is_no_leftover() -> None:
    assert leftovers.judge([leftover("calm-otter")], {"calm-otter"}).state is OK
    assert leftovers.judge([leftover("calm-otter", "STOPPING")], set()).state is OK
    found = leftovers.judge([leftover("calm-otter"), leftover("old-elk")], set())
    assert found.state is WARNING
    assert remedies(found) == ["hydra-gce down calm-otter --yes and hydra-gce down old-elk --yes"]
    assert "$1.000 an hour" in found.found
    assert "of ann" in found.found


def test_gcloud_is_missed_but_not_needed() -> None:
    assert gcloud.judge("/usr/bin/gcloud").state is OK
    assert (gcloud.judge(None).state, remedies(gcloud.judge(None))) == (WARNING, [gcloud.PAGE])


def test_a_finding_is_wrapped_but_a_command_is_not() -> None:
    command = "gcloud " + "x" * 90
    finding = warning("bucket", "word " * 30, by(command), by("other"))
    shown = lines(finding, 80)
    assert all(len(one) <= 80 for one in shown[:-2])
    assert shown[-2].strip() == f"→ {command}"
    assert shown[-1].strip() == "or other"
    assert len(lines(finding)) == 3
