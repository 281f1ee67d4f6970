"""Each fault is found, and what the doctor says mends it: the test does it, and the doctor has nothing more to say."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from hydra_gce.doctor import project
from hydra_gce.doctor.patient import patient_of
from hydra_gce.local.store import Resource
from hydra_gce.settings import Settings
from tests.doctor.clinic import POLICY, Clinic
from tests.local.embedded import PROJECT

HERE = "vm.regions=[us-central1]"
LAUNCHER = ("roles/compute.instanceAdmin.v1", "roles/iam.serviceAccountUser")
REST = ("roles/viewer", "roles/storage.admin", "roles/serviceusage.serviceUsageAdmin")


@dataclass(frozen=True)
class Fault:
    """``words`` go to the doctor. ``by_hand``: what a person does whose remedy is no command of ours or of gcloud's."""

    name: str
    check: str
    state: str
    says: str
    plant: Callable[[Clinic], object] = lambda clinic: None
    words: tuple[str, ...] = ()
    remedy: int = 0
    by_hand: Callable[[Clinic], object] | None = None


def _disable(api: str) -> Callable[[Clinic], object]:
    body = {"disableDependentServices": True}
    path = f"serviceusage/v1/projects/{PROJECT}/services/{api}.googleapis.com:disable"
    return lambda clinic: clinic.rest("POST", path, body)


def _quota(region: str, metric: str) -> Callable[[Clinic], object]:
    return lambda clinic: clinic.chaos({"quotas": [{"region": region, "metric": metric, "limit": 0}]})


def _bucket(
    name: str, *, owner: str = PROJECT, fields: dict[str, Any] | None = None
) -> Callable[[Clinic], object]:
    def plant(clinic: Clinic) -> None:
        policy = {"bindings": [{"role": "roles/owner", "members": ["user:admin@example.com"]}]}
        if owner != PROJECT:
            clinic.cloud.server.cloud.store.put(_policy_of(owner, policy["bindings"]))
        clinic.rest("POST", f"storage/v1/b?project={owner}", {"name": name, **(fields or {})})

    return plant


def _policy_of(owner: str, bindings: Any) -> Resource:
    return Resource("iamPolicies", "", "global", f"projects/{owner}", {"bindings": bindings})


def _default_account(clinic: Clinic) -> str:
    return str(clinic.cloud.projects.get(project=PROJECT).default_service_account)


def _disable_account(clinic: Clinic) -> None:
    path = f"iam/v1/projects/{PROJECT}/serviceAccounts/{_default_account(clinic)}:disable"
    clinic.rest("POST", path)


def _take_roles_of_the_account(clinic: Clinic) -> None:
    policy = clinic.rest("POST", f"{POLICY}:getIamPolicy")
    gone = f"serviceAccount:{_default_account(clinic)}"
    for one in policy["bindings"]:
        one["members"] = [each for each in one["members"] if each != gone]
    clinic.rest("POST", f"{POLICY}:setIamPolicy", {"policy": policy})


def _close_the_firewall(clinic: Clinic) -> None:
    for name in ("default-allow-ssh", "hydra-gce-iap-ssh"):
        clinic.rest("DELETE", f"compute/v1/projects/{PROJECT}/global/firewalls/{name}")


def _leave_a_vm(clinic: Clinic) -> None:
    clinic.cloud.insert("hg-calm-otter-0", labels={"hydra-gce-sweep": "calm-otter"})


def _name_a_dead_server(clinic: Clinic) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    clinic.monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")


def _expire(clinic: Clinic) -> None:
    answer = {
        "status": 401,
        "reason": "authError",
        "message": "Request had invalid authentication credentials.",
    }
    clinic.chaos({"errors": [{"methods": "*", "answer": answer}]})


def _billing(account: str) -> Callable[[Clinic], object]:
    path = f"cloudbilling/v1/projects/{PROJECT}/billingInfo"
    return lambda clinic: clinic.rest("PUT", path, {"billingAccountName": account})


def _well_again(clinic: Clinic) -> None:
    clinic.chaos(None)


FAR = {
    "location": "europe-west4",
    "lifecycle": {"rule": [{"action": {"type": "Delete"}, "condition": {"age": 30}}]},
    "iamConfiguration": {"publicAccessPrevention": "enforced"},
}
FAULTS = [
    Fault("credentials_expired", "credentials", "error", "expired", _expire, by_hand=_well_again, remedy=0),
    Fault("no_billing", "billing", "error", "no billing account", _billing(""),
          by_hand=_billing("billingAccounts/1-2-3")),
    Fault("compute_api_off", "APIs", "error", "compute", _disable("compute"), remedy=1),
    Fault("compute_api_off_by_gcloud", "APIs", "error", "compute", _disable("compute")),
    Fault("storage_api_off", "APIs", "error", "storage", _disable("storage"), remedy=1),
    Fault("permission_missing", "permissions", "error", "compute.instances.create",
          lambda clinic: clinic.give(*REST, "roles/iam.serviceAccountUser")),
    Fault("may_not_act_as_the_account", "VM account", "error", "iam.serviceAccounts.actAs",
          lambda clinic: clinic.give(*REST, "roles/compute.instanceAdmin.v1")),
    Fault("bucket_read_only", "bucket", "error", "storage.objects.create",
          lambda clinic: clinic.give("roles/viewer", *LAUNCHER)),
    Fault("bucket_closed", "bucket", "error", "closed to you", lambda clinic: clinic.give(*LAUNCHER), remedy=1),
    Fault("gpu_quota_zero", "quota", "error", "NVIDIA_L4_GPUS is 0 in us-central1",
          _quota("us-central1", "NVIDIA_L4_GPUS"), ("--gpu", "L4", "--regions", "us-central1")),
    Fault("no_gpu_at_all", "quota", "error", "GPUS_ALL_REGIONS is 0 in the whole project",
          _quota("global", "GPUS_ALL_REGIONS"), ("--gpu", "T4"), by_hand=_well_again),
    Fault("cpu_quota_zero", "quota", "error", "N2_CPUS is 0 in us-east1", _quota("us-east1", "N2_CPUS"),
          ("--machine-type", "n2-standard-2", "--regions", "us-east1")),
    Fault("bucket_elsewhere", "bucket", "warning", "lies in europe-west4, the VMs in us-central1",
          _bucket("far-away", fields=FAR), ("--bucket", "far-away", HERE)),
    Fault("bucket_elsewhere_go_there", "bucket", "warning", "lies in europe-west4, the VMs in us-central1",
          _bucket("far-away", fields=FAR), ("--bucket", "far-away", HERE), remedy=1),
    Fault("bucket_for_ever", "bucket", "warning", "for ever", _bucket("plain"), ("--bucket", "plain")),
    Fault("bucket_missing", "bucket", "warning", "does not exist", words=("--bucket", "not-there-yet")),
    Fault("bucket_of_somebody_else", "bucket", "error", "belongs to somebody else",
          _bucket("theirs", owner="their-project"), ("--bucket", "theirs")),
    Fault("image_missing", "image", "error", "no image", words=("vm.image=debian-cloud/debian-21",)),
    Fault("disk_too_small", "image", "error", "needs a disk of", words=("vm.disk_gb=10", "vm.image=global/images/big"),
          plant=lambda clinic: clinic.rest("POST", f"compute/v1/projects/{PROJECT}/global/images",
                                           {"name": "big", "diskSizeGb": "200", "sourceImage": DEBIAN})),
    Fault("network_missing", "network", "error", "no network defualt", words=("vm.network=defualt",)),
    Fault("subnetwork_missing", "network", "error", "no subnetwork defualt", words=("vm.subnetwork=defualt",)),
    Fault("no_way_out", "NAT", "error", "no Cloud NAT", words=("vm.external_ip=false", HERE)),
    Fault("no_way_in", "ssh", "warning", "lets no ssh in", _close_the_firewall),
    Fault("account_disabled", "VM account", "error", "is disabled", _disable_account, remedy=1),
    Fault("account_disabled_by_gcloud", "VM account", "error", "is disabled", _disable_account),
    Fault("account_missing", "VM account", "error", "no service account",
          words=(f"vm.service_account=trainer@{PROJECT}.iam.gserviceaccount.com",)),
    Fault("account_without_roles", "VM account", "error", "lets it use", _take_roles_of_the_account),
    Fault("scopes_too_small", "VM account", "error", "vm.scopes",
          words=("vm.scopes=[https://www.googleapis.com/auth/compute]",)),
    Fault("clock_ahead", "clock", "error", "10 min ahead", lambda clinic: clinic.chaos({"clock_s": 600}),
          by_hand=_well_again),
    Fault("clock_behind", "clock", "warning", "s behind", lambda clinic: clinic.chaos({"clock_s": -60}),
          by_hand=_well_again),
    Fault("python_too_old", "Python", "error", "3.8", words=("env.python='3.8'",)),
    Fault("mlflow_silent", "MLflow", "error", "does not answer", _name_a_dead_server, remedy=1),
    Fault("mlflow_silent_do_without", "MLflow", "error", "does not answer", _name_a_dead_server, remedy=2),
    Fault("leftovers", "leftovers", "warning", "calm-otter", _leave_a_vm),
]  # fmt: skip
DEBIAN = "projects/debian-cloud/global/images/family/debian-12"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_found_and_its_remedy_mends_it(clinic: Clinic, fault: Fault) -> None:
    fault.plant(clinic)
    found = clinic.doctor(*fault.words)
    told = [one for one in found[fault.check] if one["state"] == fault.state and fault.says in one["found"]]
    assert told, found[fault.check]

    remedies = told[0]["remedies"]
    settings = clinic.carry_out(remedies[fault.remedy])
    if fault.by_hand is not None:
        assert clinic.by_hand, remedies
        fault.by_hand(clinic)
    else:
        assert not clinic.by_hand

    after = clinic.doctor(*fault.words, *settings)
    assert {one["state"] for one in after[fault.check]} <= {"ok", "skipped"}, after[fault.check]
    assert all(one["state"] in ("ok", "skipped") for each in after.values() for one in each), after


def test_there_are_fifteen_faults_and_more() -> None:
    assert len({fault.name for fault in FAULTS}) >= 15


def test_a_project_that_is_not_there_is_answered_with_the_nearest(clinic: Clinic) -> None:
    wrong = replace(clinic.backend, project="hydra-gce-lokal")
    (found,) = project.check(patient_of(wrong, Settings(), {}, "hydra-gce setup"))
    assert found.state.value == "error"
    assert str(found.remedies[0]) == f"hydra.launcher.project={PROJECT}"


def test_a_healthy_project_has_nothing_wrong(clinic: Clinic) -> None:
    found = clinic.doctor()
    assert all(one["state"] in ("ok", "skipped") for each in found.values() for one in each), found


def test_a_bare_project_lacks_its_bucket_and_no_more(bare: Clinic) -> None:
    found = bare.doctor()
    wrong = {name for name, each in found.items() for one in each if one["state"] not in ("ok", "skipped")}
    assert wrong == {"bucket"}, found
