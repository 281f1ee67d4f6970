"""IAM policies: who has which role on a project, a service account or a bucket, and what that lets a caller do."""

from __future__ import annotations

from collections.abc import Iterable

from hydra_gce.local.compute.cloud import Cloud
from hydra_gce.local.compute.names import project_number
from hydra_gce.local.home import PROJECT
from hydra_gce.local.services import roles
from hydra_gce.local.services.call import ADMIN, PERSON, Call, Json, RpcError, etag
from hydra_gce.local.store import Resource

_COLLECTION = "iamPolicies"
_OLDEST_WITH_CONDITIONS = 3


def read(cloud: Cloud, resource: str) -> Json:
    """The policy of `projects/<p>`, `projects/<p>/serviceAccounts/<email>` or `buckets/<name>`."""
    found = cloud.store.get(_COLLECTION, "", "global", resource)
    bindings = _first(cloud, resource) if found is None else found.body["bindings"]
    version = _OLDEST_WITH_CONDITIONS if any("condition" in one for one in bindings) else 1
    policy: Json = {"version": version, "etag": etag([resource, bindings])}
    return {**policy, "bindings": bindings} if bindings else policy


def write(cloud: Cloud, resource: str, given: Json) -> Json:
    """Replace a policy. Raises 409 where it has changed since it was read, 400 for what it cannot hold."""
    policy = given.get("policy", {})
    before = read(cloud, resource)
    if policy.get("etag") and policy["etag"] != before["etag"]:
        raise RpcError(
            409,
            "There were concurrent policy changes. Please retry the whole read-modify-write with exponential"
            f" backoff. The request's ETag '{policy['etag']}' did not match the current policy's ETag"
            f" '{before['etag']}'.",
            status="ABORTED",
        )
    bindings = [one for one in policy.get("bindings", []) if one.get("members")]
    for binding in bindings:
        _check(cloud, binding, policy.get("version", 0))
    with cloud.lock:
        cloud.store.put(Resource(_COLLECTION, "", "global", resource, {"bindings": bindings}))
    return read(cloud, resource)


def forget(cloud: Cloud, resource: str) -> None:
    """The resource is gone, and its policy with it."""
    cloud.store.delete(Resource(_COLLECTION, "", "global", resource, {}))


def granted(cloud: Cloud, caller: str, *resources: str) -> frozenset[str]:
    """What a caller may do by the policies of a resource and of those above it."""
    found: set[str] = set()
    for resource in resources:
        for binding in read(cloud, resource).get("bindings", []):
            # A condition is about what lies in the resource, and does not hold for the resource itself.
            if "condition" not in binding and caller in members(cloud, binding):
                found |= role_permissions(cloud, binding["role"])
    return frozenset(found)


def role_permissions(cloud: Cloud, role: str) -> frozenset[str]:
    """What a role includes; nothing where it is none any more."""
    known = roles.predefined().get(role)
    if known is not None:
        return known[1]
    custom = cloud.store.get("customRoles", "", "global", role)
    if custom is None or custom.body.get("deleted"):
        return frozenset()
    return frozenset(custom.body.get("includedPermissions", []))


def test(cloud: Cloud, call: Call, wanted: Iterable[str], *resources: str) -> Json:
    """`testIamPermissions`: those of the wanted that the caller has. Raises 400 for one that is none."""
    asked = list(wanted)
    for one in asked:
        if one not in roles.permissions():
            raise RpcError(400, f"Permission {one} is not valid for this resource.")
    has = granted(cloud, call.caller, *resources)
    held = [one for one in asked if one in has]
    return {"permissions": held} if held else {}


def demand(cloud: Cloud, call: Call, permission: str, what: str, *resources: str) -> None:
    """Raises 403 unless the caller has the permission. `what` is the resource as messages name it."""
    if permission in granted(cloud, call.caller, *resources):
        return
    raise RpcError(
        403,
        f"Permission '{permission}' denied on resource '{what}' (or it may not exist).",
        details=[
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "IAM_PERMISSION_DENIED",
                "domain": f"{permission.split('.')[0]}.googleapis.com",
                "metadata": {"permission": permission, "resource": what.removeprefix("//")},
            }
        ],
    )


def _first(cloud: Cloud, resource: str) -> list[Json]:
    """What a resource's policy is before anybody writes it."""
    if resource == f"projects/{PROJECT}":
        number = project_number(PROJECT)
        robots = [
            f"serviceAccount:{cloud.default_account(PROJECT)}",
            f"serviceAccount:{number}@cloudservices.gserviceaccount.com",
        ]
        return [
            {"role": "roles/editor", "members": robots},
            {"role": "roles/owner", "members": [ADMIN, PERSON]},
        ]
    if resource.startswith("buckets/"):
        # https://cloud.google.com/storage/docs/access-control/iam-roles#default-bucket-roles
        found = cloud.store.get("buckets", "", "global", resource.removeprefix("buckets/"))
        project = PROJECT if found is None else found.private.get("project", PROJECT)
        owners = [f"projectEditor:{project}", f"projectOwner:{project}"]
        viewers = [f"projectViewer:{project}"]
        return [
            {"role": "roles/storage.legacyBucketOwner", "members": owners},
            {"role": "roles/storage.legacyBucketReader", "members": viewers},
            {"role": "roles/storage.legacyObjectOwner", "members": owners},
            {"role": "roles/storage.legacyObjectReader", "members": viewers},
        ]
    return []


def members(cloud: Cloud, binding: Json) -> set[str]:
    """A binding's members, with `projectOwner:` and its like replaced by those who are that."""
    found: set[str] = set()
    for one in binding["members"]:
        kind, _, project = one.partition(":")
        if kind in ("projectOwner", "projectEditor", "projectViewer"):
            basic = f"roles/{kind.removeprefix('project').lower()}"
            for other in read(cloud, f"projects/{project}").get("bindings", []):
                if other["role"] == basic:
                    found |= set(other["members"])
        else:
            found.add(one)
    return found


def _check(cloud: Cloud, binding: Json, version: int) -> None:
    role = binding.get("role", "")
    if role not in roles.predefined() and cloud.store.get("customRoles", "", "global", role) is None:
        raise RpcError(400, f"Role {role} is not supported for this resource.")
    if "condition" in binding and version < _OLDEST_WITH_CONDITIONS:
        raise RpcError(
            400,
            "Specified policy version cannot have conditional bindings. Please set the policy version to 3.",
        )
    for member in binding["members"]:
        kind, _, email = member.partition(":")
        own = email.endswith(f"@{PROJECT}.iam.gserviceaccount.com")
        if (
            kind == "serviceAccount"
            and own
            and cloud.store.get("serviceAccounts", "", "global", email) is None
        ):
            raise RpcError(400, f"Service account {email} does not exist.")
        if not email and member not in ("allUsers", "allAuthenticatedUsers"):
            raise RpcError(400, f"The member {member} is of an unknown type. Please set a valid type prefix.")


def mark_deleted(cloud: Cloud, email: str, unique: str) -> None:
    """A service account is gone: where it is a member it stands as `deleted:serviceAccount:…?uid=…`."""
    gone = f"deleted:serviceAccount:{email}?uid={unique}"
    for found in cloud.store.list(_COLLECTION):
        for binding in found.body["bindings"]:
            if f"serviceAccount:{email}" in binding["members"]:
                binding["members"] = [
                    gone if one == f"serviceAccount:{email}" else one for one in binding["members"]
                ]
                cloud.store.put(found)
