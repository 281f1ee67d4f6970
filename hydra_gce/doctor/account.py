"""The VMs' service account: is it there, may it be used, can it do what a VM does?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hydra_gce.doctor.findings import Finding, by, error, ok, warning
from hydra_gce.doctor.patient import Patient, grant

NAME = "VM account"
OBJECTS = ("storage.objects.create", "storage.objects.delete", "storage.objects.get", "storage.objects.list")
"""What a VM does in the bucket."""
OBJECT_ROLE = "roles/storage.objectUser"
DELETE = "compute.instances.delete"
"""How a VM ends itself when it has no job any more."""
SCOPES = (
    "https://www.googleapis.com/auth/cloud-platform",
    "https://www.googleapis.com/auth/devstorage.read_write",
    "https://www.googleapis.com/auth/devstorage.full_control",
)


@dataclass(frozen=True)
class Answer:
    """``exists`` is None where that may not be asked; ``has`` is None where the policies may not be read."""

    email: str
    exists: bool | None = True
    disabled: bool = False
    may_act_as: bool = True
    has: Collection[str] | None = ()


def check(patient: Patient) -> list[Finding]:
    vm = patient.settings.vm
    named = vm.service_account
    email = named or str(
        patient.backend.projects.get(project=patient.project, timeout=20.0).default_service_account
    )
    answer = _ask(patient, email)
    lacks = _lacks(answer)
    member = patient.member if not answer.may_act_as else ""
    return judge(answer, lacks, patient, member, own=named is not None) + _scopes(vm.scopes)


def _ask(patient: Patient, email: str) -> Answer:
    from google.api_core.exceptions import Forbidden, NotFound

    from hydra_gce.doctor.apis import off

    iam, path = patient.backend.rest("iam"), f"v1/projects/-/serviceAccounts/{email}"
    try:
        found: dict[str, Any] | None = iam.get(path)
    except NotFound:
        return Answer(email, exists=False)
    except Forbidden as refused:
        if off(refused):
            raise
        found = None
    actable = iam.post(f"{path}:testIamPermissions", {"permissions": ["iam.serviceAccounts.actAs"]})
    return Answer(
        email,
        exists=None if found is None else True,
        disabled=bool(found and found.get("disabled")),
        may_act_as=bool(actable.get("permissions")),
        has=_permissions_of(patient, email),
    )


def _permissions_of(patient: Patient, email: str) -> Collection[str] | None:
    """By the policies of the project and the bucket, and what their roles include; None where they are closed."""
    from google.api_core.exceptions import Forbidden, NotFound

    project = patient.backend.rest("cloudresourcemanager")
    options = {"options": {"requestedPolicyVersion": 3}}
    try:
        bindings = project.post(f"v3/projects/{patient.project}:getIamPolicy", options).get("bindings", [])
    except Forbidden:
        return None
    try:
        bucket = patient.backend.buckets.bucket(patient.bucket)
        in_bucket = list(bucket.get_iam_policy(requested_policy_version=3, timeout=20.0).bindings)
    except NotFound:
        in_bucket = _of_a_new_bucket(patient.project)
    except Forbidden:
        in_bucket = []
    held: set[str] = set()
    for role in _roles_of(f"serviceAccount:{email}", [*bindings, *in_bucket], patient.project):
        try:
            held |= set(patient.backend.rest("iam").get(f"v1/{role}").get("includedPermissions", []))
        except (Forbidden, NotFound):
            continue
    return held


def _of_a_new_bucket(project: str) -> list[dict[str, Any]]:
    """https://cloud.google.com/storage/docs/access-control/iam-roles#default-bucket-roles"""
    able = [f"projectEditor:{project}", f"projectOwner:{project}"]
    roles = ("roles/storage.legacyBucketOwner", "roles/storage.legacyObjectOwner")
    return [{"role": role, "members": able} for role in roles]


def _roles_of(member: str, bindings: Iterable[Any], project: str) -> set[str]:
    """The roles of a member, those by way of `projectEditor:` and its like included."""
    known = list(bindings)
    basic = {one["role"] for one in known if member in one["members"]}
    groups = {
        f"project{role.removeprefix('roles/').capitalize()}:{project}"
        for role in basic
        if role in ("roles/owner", "roles/editor", "roles/viewer")
    }
    return {one["role"] for one in known if {member, *groups} & set(one["members"])}


def _lacks(answer: Answer) -> list[str]:
    if answer.has is None:
        return []
    return [one for one in (*OBJECTS, DELETE) if one not in answer.has]


def judge(answer: Answer, lacks: Sequence[str], patient: Patient, member: str, *, own: bool) -> list[Finding]:
    """:param own: whether the settings name the account."""
    email, project = answer.email, patient.project
    make = by(patient.setup, f"hydra.launcher.vm.service_account={account_of_setup(project)}")
    if answer.exists is False:
        other = [] if not own else [by("hydra.launcher.vm.service_account=null")]
        return [error(NAME, f"there is no service account {email}", make, *other)]
    if answer.disabled:
        enable = f"gcloud iam service-accounts enable {email} --project={project}"
        return [error(NAME, f"{email} is disabled", by(enable), make)]
    if not answer.may_act_as:
        act = (
            f"gcloud iam service-accounts add-iam-policy-binding {email} --project={project} --member={member}"
            " --role=roles/iam.serviceAccountUser"
        )
        who = member.partition(":")[2] or member
        return [
            error(NAME, f"{who} may not start VMs as {email}: iam.serviceAccounts.actAs is missing", by(act))
        ]
    objects = [one for one in lacks if one in OBJECTS]
    if objects:
        give = grant(project, f"serviceAccount:{email}", OBJECT_ROLE)
        said = f"{email} has no role in the project that lets it use gs://{patient.bucket} ({', '.join(objects)})"
        return [error(NAME, said, make, by(give))]
    if lacks:
        said = f"{email} lacks {DELETE}: VMs cannot end themselves, and run until the launcher ends them"
        return [warning(NAME, said, make)]
    unknown = " (its roles may not be read)" if answer.has is None else ""
    return [ok(NAME, f"{email}{unknown}")]


def _scopes(scopes: Sequence[str]) -> list[Finding]:
    if any(one in scopes for one in SCOPES):
        return []
    said = "vm.scopes lets VMs not write to the bucket, whatever roles their account has"
    return [error(NAME, said, by(f"hydra.launcher.vm.scopes=[{SCOPES[0]}]"))]


def account_of_setup(project: str) -> str:
    """The address of the account that ``hydra-gce setup`` makes."""
    return f"hydra-gce-vm@{project}.iam.gserviceaccount.com"
