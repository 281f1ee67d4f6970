"""What Compute Engine asks before it carries a request out: is the API on, may the caller do that?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hydra_gce.local.compute.cloud import Cloud
from hydra_gce.local.compute.errors import ApiError, Json
from hydra_gce.local.compute.names import last
from hydra_gce.local.home import PROJECT
from hydra_gce.local.services import accounts, policies
from hydra_gce.local.services.service_usage import disabled, is_on

_API = "compute.googleapis.com"
_VERBS = {
    "aggregatedList": "list",
    "bulkInsert": "create",
    "insert": "create",
    "patch": "update",
    "wait": "get",
}
_COLLECTIONS = {"imageFamilyViews": "images", "globalAddresses": "globalAddresses"}


def check(cloud: Cloud, caller: str, method: str, path: Mapping[str, str], body: Json) -> None:
    """Raises 403 where the project has the API disabled or the caller may not do what is asked for.

    Only the embedded project is guarded: public images and the like are everybody's.
    """
    if path["project"] != PROJECT:
        return
    if not is_on(cloud, _API):
        message, details = disabled(PROJECT, _API)
        raise ApiError(
            403, "accessNotConfigured", message, domain="usageLimits", status=True, details=details
        )
    may = policies.granted(cloud, caller, f"projects/{PROJECT}")
    for permission, what in _needed(method, path, body):
        if permission not in may:
            raise ApiError(403, "forbidden", f"Required '{permission}' permission for '{what}'")
    if method in ("instances.insert", "instances.bulkInsert"):
        _check_accounts(cloud, caller, may, body)


def _needed(method: str, path: Mapping[str, str], body: Json) -> Iterator[tuple[str, str]]:
    """Each permission that a request needs, and the resource as the refusal names it."""
    collection, _, verb = method.partition(".")
    collection = _COLLECTIONS.get(collection, collection)
    scope = next((f"{kind}s/{path[kind]}" for kind in ("zone", "region") if kind in path), "global")
    project = f"projects/{path['project']}"
    name = body.get("name") or next((value for key, value in path.items() if key not in _PLACES), "")
    what = f"{project}/{scope}/{collection}/{name}" if name else project
    yield f"compute.{collection}.{_VERBS.get(verb, verb)}", what
    if method != "instances.insert":
        return
    yield "compute.disks.create", f"{project}/{scope}/disks/{name}"
    for interface in body.get("networkInterfaces", []):
        region = path["zone"].rsplit("-", 1)[0]
        subnetwork = last(interface.get("subnetwork", "default"))
        where = f"{project}/regions/{region}/subnetworks/{subnetwork}"
        yield "compute.subnetworks.use", where
        if interface.get("accessConfigs"):
            yield "compute.subnetworks.useExternalIp", where


_PLACES = ("project", "zone", "region")


def _check_accounts(cloud: Cloud, caller: str, may: frozenset[str], body: Json) -> None:
    """Whoever makes a VM needs to be allowed to act as its service account, which must exist."""
    for one in body.get("serviceAccounts", []):
        email = one.get("email", "default")
        email = cloud.default_account(PROJECT) if email == "default" else email
        if not email.endswith(
            (f"@{PROJECT}.iam.gserviceaccount.com", "-compute@developer.gserviceaccount.com")
        ):
            continue
        account = accounts.find(cloud, email)
        if account is None or account.body.get("disabled"):
            raise ApiError(400, "invalid", f"The resource '{email}' of type 'serviceAccount' was not found.")
        on_it = policies.granted(cloud, caller, f"projects/{PROJECT}/serviceAccounts/{email}")
        if "iam.serviceAccounts.actAs" not in may | on_it:
            raise ApiError(
                400,
                "SERVICE_ACCOUNT_ACCESS_DENIED",
                f"The user does not have access to service account '{email}'.  User: '{caller.partition(':')[2]}'."
                "  Ask a project owner to grant you the iam.serviceAccountUser role on the service account",
            )
