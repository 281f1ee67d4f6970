"""Buckets as resources: settings and policies, which fake-gcs-server does not keep. What lies in them is its own.

https://cloud.google.com/storage/docs/json_api/v1/buckets
"""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import quote, urlsplit

from hydra_gce.local.compute.cloud import Cloud
from hydra_gce.local.compute.names import project_number
from hydra_gce.local.home import PROJECT
from hydra_gce.local.services import policies
from hydra_gce.local.services.call import Call, Json, RpcError, etag
from hydra_gce.local.services.service_usage import disabled, is_on
from hydra_gce.local.store import Resource

_COLLECTION = "buckets"
_API = "storage.googleapis.com"
_MULTI_REGIONS = ("ASIA", "EU", "US")
_KEPT = ("iamConfiguration", "labels", "lifecycle", "softDeletePolicy", "storageClass", "versioning")
_WITHIN_S = 30.0


def insert(cloud: Cloud, call: Call) -> Json:
    """Makes a bucket. Names are everybody's: 409 for one that exists, whoever has it."""
    project, name = call.one("project"), call.body.get("name", "")
    _check_on(cloud)
    _demand(cloud, call, "storage.buckets.create", f"projects/{project}", "project", project)
    location = call.body.get("location", "US").upper()
    if location not in _MULTI_REGIONS and location.lower() not in cloud.catalog.regions:
        raise _error(400, "invalid", f"The specified location constraint is not valid: {location}.")
    _check(call.body)
    code, made = _ask(cloud, "POST", f"/storage/v1/b?project={quote(project)}", {"name": name})
    if code == 409:
        _raise_taken(cloud, call, name)
    if code != 200:
        raise _error(400, "invalid", f"Invalid bucket name: '{name}'")
    body = {"location": location, **{key: call.body[key] for key in _KEPT if key in call.body}}
    with cloud.lock:
        cloud.store.put(Resource(_COLLECTION, "", "global", name, body, {"project": project}))
        policies.forget(cloud, f"buckets/{name}")
    return _shown(cloud, name, made)


def get(cloud: Cloud, call: Call) -> Json:
    return _shown(cloud, call.path["bucket"], _existing(cloud, call, "storage.buckets.get"))


def list_(cloud: Cloud, call: Call) -> Json:
    project = call.one("project")
    _check_on(cloud)
    _demand(cloud, call, "storage.buckets.list", f"projects/{project}", "project", project)
    _, answer = _ask(cloud, "GET", f"/storage/v1/b?project={quote(project)}")
    prefix = call.one("prefix")
    found = [one for one in answer.get("items", []) if one["name"].startswith(prefix)]
    shown = [
        _shown(cloud, one["name"], one)
        for one in found
        if _kept(cloud, one["name"]).private["project"] == project
    ]
    return {"kind": "storage#buckets", **({"items": shown} if shown else {})}


def patch(cloud: Cloud, call: Call) -> Json:
    """Lays the given fields over the bucket's; null takes one away."""
    made, name = _existing(cloud, call, "storage.buckets.update"), call.path["bucket"]
    _check(call.body)
    with cloud.lock:
        kept = _kept(cloud, name)
        _check_generation(call, kept)
        kept.body = _merged(kept.body, {key: value for key, value in call.body.items() if key in _KEPT})
        kept.private["metageneration"] = kept.private.get("metageneration", 1) + 1
        cloud.store.put(kept)
    return _shown(cloud, name, made)


def delete(cloud: Cloud, call: Call) -> Json:
    """Deletes an empty bucket; 409 for one with objects."""
    _existing(cloud, call, "storage.buckets.delete")
    name = call.path["bucket"]
    code, _ = _ask(cloud, "DELETE", f"/storage/v1/b/{quote(name, safe='')}")
    if code == 412:
        raise _error(409, "conflict", "The bucket you tried to delete is not empty.")
    with cloud.lock:
        cloud.store.delete(_kept(cloud, name))
        policies.forget(cloud, f"buckets/{name}")
    return {}


def get_policy(cloud: Cloud, call: Call) -> Json:
    _existing(cloud, call, "storage.buckets.getIamPolicy")
    name = call.path["bucket"]
    return _policy(name, policies.read(cloud, f"buckets/{name}"))


def set_policy(cloud: Cloud, call: Call) -> Json:
    _existing(cloud, call, "storage.buckets.setIamPolicy")
    name = call.path["bucket"]
    try:
        return _policy(name, policies.write(cloud, f"buckets/{name}", {"policy": call.body}))
    except RpcError as error:
        code, reason = (412, "conditionNotMet") if error.code == 409 else (error.code, "invalid")
        raise _error(code, reason, error.message) from error


def test_permissions(cloud: Cloud, call: Call) -> Json:
    _check_on(cloud)
    name = call.path["bucket"]
    if _ask(cloud, "GET", f"/storage/v1/b/{quote(name, safe='')}")[0] != 200:
        raise _error(404, "notFound", "The specified bucket does not exist.")
    held = policies.test(cloud, call, call.query.get("permissions", []), *_resources(cloud, name))
    return {"kind": "storage#testIamPermissionsResponse", **held}


def _policy(name: str, policy: Json) -> Json:
    return {"kind": "storage#policy", "resourceId": f"projects/_/buckets/{name}", **policy}


def _existing(cloud: Cloud, call: Call, permission: str) -> Json:
    """What fake-gcs-server has of the bucket. Raises 404, or 403 as Cloud Storage words it."""
    _check_on(cloud)
    name = call.path["bucket"]
    code, made = _ask(cloud, "GET", f"/storage/v1/b/{quote(name, safe='')}")
    if code != 200:
        raise _error(404, "notFound", "The specified bucket does not exist.")
    _demand(cloud, call, permission, f"buckets/{name}", "bucket", name)
    return made


def _demand(cloud: Cloud, call: Call, permission: str, resource: str, kind: str, name: str) -> None:
    above = _resources(cloud, name) if kind == "bucket" else (resource,)
    if permission in policies.granted(cloud, call.caller, *above):
        return
    who = call.caller.partition(":")[2]
    what = "Google Cloud project" if kind == "project" else "Google Cloud Storage bucket"
    raise _error(
        403,
        "forbidden",
        f"{who} does not have {permission} access to the {what}. Permission '{permission}' denied on resource"
        " (or it may not exist).",
    )


def _resources(cloud: Cloud, name: str) -> tuple[str, str]:
    return f"projects/{_kept(cloud, name).private['project']}", f"buckets/{name}"


def _raise_taken(cloud: Cloud, call: Call, name: str) -> None:
    own = "storage.buckets.get" in policies.granted(cloud, call.caller, *_resources(cloud, name))
    raise _error(
        409,
        "conflict",
        "Your previous request to create the named bucket succeeded and you already own it."
        if own
        else "The requested bucket name is not available. The bucket namespace is shared by all users of the system."
        " Please select a different name and try again.",
    )


def _check_on(cloud: Cloud) -> None:
    if not is_on(cloud, _API):
        message, details = disabled(PROJECT, _API)
        raise RpcError(403, message, reason="accessNotConfigured", details=details)


def _check(body: Json) -> None:
    for rule in body.get("lifecycle", {}).get("rule", []) if body.get("lifecycle") else []:
        if not rule.get("condition"):
            raise _error(400, "invalid", "A lifecycle management rule must have at least one condition.")
    public = body.get("iamConfiguration", {}).get("publicAccessPrevention", "inherited")
    if public not in ("inherited", "enforced", "unspecified"):
        raise _error(400, "invalid", f"Invalid argument: {public}")


def _check_generation(call: Call, kept: Resource) -> None:
    wanted = call.one("ifMetagenerationMatch")
    if wanted and int(wanted) != kept.private.get("metageneration", 1):
        raise _error(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")


def _kept(cloud: Cloud, name: str) -> Resource:
    """What is kept of a bucket; the defaults for one that was made past us."""
    found = cloud.store.get(_COLLECTION, "", "global", name)
    return found or Resource(_COLLECTION, "", "global", name, {"location": "US"}, {"project": PROJECT})


def _shown(cloud: Cloud, name: str, made: Json) -> Json:
    kept = _kept(cloud, name)
    location = kept.body["location"]
    access = kept.body.get("iamConfiguration", {})
    uniform = access.get("uniformBucketLevelAccess", {"enabled": False})
    body: Json = {
        "kind": "storage#bucket",
        "id": name,
        "name": name,
        "selfLink": f"https://www.googleapis.com/storage/v1/b/{name}",
        "projectNumber": project_number(kept.private["project"]),
        "metageneration": str(kept.private.get("metageneration", 1)),
        "locationType": "multi-region" if location in _MULTI_REGIONS else "region",
        "storageClass": "STANDARD",
        "timeCreated": made.get("timeCreated", "2026-01-01T00:00:00.000Z"),
        "updated": made.get("updated", made.get("timeCreated", "2026-01-01T00:00:00.000Z")),
        **kept.body,
        "iamConfiguration": {
            "bucketPolicyOnly": uniform,
            "uniformBucketLevelAccess": uniform,
            "publicAccessPrevention": access.get("publicAccessPrevention", "inherited"),
        },
    }
    return {**body, "etag": etag(body)}


def _merged(before: Json, given: Json) -> Json:
    """JSON merge patch; labels and the access configuration are merged field by field."""
    after = dict(before)
    for key, value in given.items():
        if value is None:
            after.pop(key, None)
        elif isinstance(value, dict) and isinstance(after.get(key), dict) and key != "lifecycle":
            after[key] = _merged(after[key], value)
        else:
            after[key] = value
    return after


def _ask(cloud: Cloud, verb: str, target: str, body: Any = None) -> tuple[int, Json]:
    """One request to fake-gcs-server."""
    host = urlsplit(cloud.services["STORAGE_EMULATOR_HOST"]).netloc
    connection = http.client.HTTPConnection(host, timeout=_WITHIN_S)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(verb, target, data, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    return answer.status, json.loads(content) if content.strip().startswith(b"{") else {}


def _error(code: int, reason: str, message: str) -> RpcError:
    return RpcError(code, message, reason=reason)
