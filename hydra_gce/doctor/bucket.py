"""The bucket: is it there, ours, near the VMs, and does it forget what is old?"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra_gce.bucket import ROOT
from hydra_gce.doctor.findings import Finding, by, error, ok, warning
from hydra_gce.doctor.patient import Patient, grant, some

NAME = "bucket"
OBJECTS = (
    "storage.objects.create",
    "storage.objects.delete",
    "storage.objects.get",
    "storage.objects.list",
)
ROLE = "roles/storage.objectAdmin"
BUCKET_ROLE = "roles/storage.legacyBucketReader"
"""To see the bucket itself, which the roles for objects do not include."""
CONTINENTS = {"US": ("us-", "northamerica-"), "EU": ("europe-",), "ASIA": ("asia-",)}


@dataclass(frozen=True)
class Answer:
    """``location`` is None where there is no such bucket, ``closed`` where it is somebody else's.

    may_make: whether who asks may make buckets in the project. lacks: the permissions on it that he has not.
    rules: the lifecycle's, as Cloud Storage writes them.
    """

    name: str
    location: str | None = None
    closed: bool = False
    may_make: bool = True
    lacks: Sequence[str] = ()
    rules: Sequence[dict[str, Any]] = field(default=())
    prevents_public: bool = True


def check(patient: Patient) -> list[Finding]:
    answer = _ask(patient)
    lacks = answer.lacks or (answer.location is None and not answer.may_make)
    regions = [] if patient.anywhere else patient.regions
    return judge(answer, regions, patient, patient.member if lacks else "")


def _ask(patient: Patient) -> Answer:
    from google.api_core.exceptions import Forbidden, NotFound

    from hydra_gce.doctor.apis import off

    client, name = patient.backend.buckets, patient.bucket
    try:
        found = client.get_bucket(name, timeout=20.0)
    except NotFound:
        asked = patient.backend.rest("cloudresourcemanager")
        wanted = ["storage.buckets.create"]
        may = asked.post(f"v3/projects/{patient.project}:testIamPermissions", {"permissions": wanted})
        return Answer(name, may_make=may.get("permissions") == wanted)
    except Forbidden as refused:
        if off(refused):
            raise
        return Answer(name, closed=True)
    held = found.test_iam_permissions(list(OBJECTS), timeout=20.0)
    return Answer(
        name,
        location=str(found.location).upper(),
        lacks=[one for one in OBJECTS if one not in held],
        rules=[dict(rule) for rule in found.lifecycle_rules],
        prevents_public=found.iam_configuration.public_access_prevention == "enforced",
    )


def judge(answer: Answer, regions: Sequence[str], patient: Patient, member: str) -> list[Finding]:
    """:param regions: where the VMs may be; empty: anywhere."""
    address, project = f"gs://{answer.name}", patient.project
    named = f"{project}-sweeps"
    own = by(f"{patient.setup} --bucket {named}", f"hydra.launcher.bucket={named}")
    if answer.closed:
        said = f"{address} belongs to somebody else, or is closed to you"
        return [error(NAME, said, own, by(*_grants(answer.name, patient.member, (ROLE, BUCKET_ROLE))))]
    if answer.location is None:
        return [_missing(answer, patient, member)]
    if answer.lacks:
        who = member.partition(":")[2] or member
        return [
            error(
                NAME,
                f"{who} lacks {', '.join(answer.lacks)} on {address}",
                by(*_grants(answer.name, member, (ROLE,))),
            )
        ]
    found = []
    if regions and not any(is_near(answer.location, region) for region in regions):
        found.append(_far(answer, regions, patient))
    if not any(forgets(rule) for rule in answer.rules):
        said = f"{address} keeps what sweeps leave in it for ever"
        found.append(warning(NAME, said, by(setup_of(patient))))
    if not answer.prevents_public:
        said = f"{address} could be opened to everybody by mistake: public access is not prevented"
        found.append(warning(NAME, said, by(setup_of(patient))))
    return found or [ok(NAME, f"{address} in {answer.location.lower()}")]


def _grants(name: str, member: str, roles: Sequence[str]) -> list[str]:
    return [
        f"gcloud storage buckets add-iam-policy-binding gs://{name} --member={member} --role={role}"
        for role in roles
    ]


def setup_of(patient: Patient) -> str:
    """``hydra-gce setup`` for the bucket of these settings."""
    named = patient.settings.bucket
    return f"{patient.setup} --bucket {named}" if named else patient.setup


def _missing(answer: Answer, patient: Patient, member: str) -> Finding:
    address = f"gs://{answer.name}"
    if answer.may_make:
        said = (
            f"{address} does not exist: the first sweep makes it, in US, and without an end for what is old"
        )
        return warning(NAME, said, by(setup_of(patient)))
    give = grant(patient.project, member, "roles/storage.admin")
    who = member.partition(":")[2] or member
    return error(NAME, f"{address} does not exist, and {who} lacks storage.buckets.create", by(give))


def _far(answer: Answer, regions: Sequence[str], patient: Patient) -> Finding:
    assert answer.location is not None
    there = answer.location.lower()
    said = (
        f"gs://{answer.name} lies in {there}, the VMs in {some(list(regions))}: what they read of it costs"
        " $0.02 a GB and more, and takes longer"
    )
    near = f"{patient.backend.default_bucket}-{regions[0]}"
    move = by(
        f"{patient.setup} --bucket {near} --bucket-location {regions[0]}", f"hydra.launcher.bucket={near}"
    )
    beside = [by(f"hydra.launcher.vm.regions=[{there}]")] if answer.location not in CONTINENTS else []
    return warning(NAME, said, move, *beside)


def is_near(location: str, region: str) -> bool:
    """Whether a bucket there is the region's own, or that of its continent."""
    return location.lower() == region or region.startswith(CONTINENTS.get(location, ("\0",)))


def forgets(rule: dict[str, Any]) -> bool:
    """Whether a lifecycle rule deletes old objects of ours."""
    if rule.get("action", {}).get("type") != "Delete":
        return False
    condition = rule.get("condition", {})
    prefixes: Collection[str] = condition.get("matchesPrefix", [""])
    aged = any(key in condition for key in ("age", "daysSinceCustomTime", "createdBefore"))
    return aged and any(one.startswith(ROOT) or ROOT.startswith(one) for one in prefixes)
