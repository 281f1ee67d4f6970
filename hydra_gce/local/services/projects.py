"""`cloudresourcemanager.googleapis.com` (v3, and what gcloud asks of v1) and a project's billing.

https://cloud.google.com/resource-manager/reference/rest
"""

from __future__ import annotations

from hydra_gce.local.compute.cloud import Cloud
from hydra_gce.local.compute.names import project_number
from hydra_gce.local.home import PROJECT
from hydra_gce.local.services import policies
from hydra_gce.local.services.call import Call, Json, RpcError
from hydra_gce.local.services.service_usage import demand_on
from hydra_gce.local.store import Resource

_API = "cloudresourcemanager.googleapis.com"
_BIRTH = "2026-01-01T00:00:00.000Z"


def get(cloud: Cloud, call: Call) -> Json:
    project = _known(cloud, call, "resourcemanager.projects.get")
    return {
        "name": f"projects/{project_number(project)}",
        "projectId": project,
        "state": "ACTIVE",
        "displayName": project,
        "createTime": _BIRTH,
        "updateTime": _BIRTH,
        "etag": 'W/"0123456789abcdef"',
    }


def get_v1(cloud: Cloud, call: Call) -> Json:
    project = _known(cloud, call, "resourcemanager.projects.get")
    return {
        "projectNumber": project_number(project),
        "projectId": project,
        "lifecycleState": "ACTIVE",
        "name": project,
        "createTime": _BIRTH,
    }


def search(cloud: Cloud, call: Call) -> Json:
    """The projects that the caller may see: one, or none."""
    demand_on(cloud, PROJECT, _API)
    if "resourcemanager.projects.get" not in policies.granted(cloud, call.caller, f"projects/{PROJECT}"):
        return {}
    return {"projects": [get(cloud, Call({"project": PROJECT}, {}, {}, call.caller))]}


def get_policy(cloud: Cloud, call: Call) -> Json:
    project = _known(cloud, call, "resourcemanager.projects.getIamPolicy")
    return policies.read(cloud, f"projects/{project}")


def set_policy(cloud: Cloud, call: Call) -> Json:
    project = _known(cloud, call, "resourcemanager.projects.setIamPolicy")
    return policies.write(cloud, f"projects/{project}", call.body)


def test_permissions(cloud: Cloud, call: Call) -> Json:
    """Anybody may ask what he may do."""
    demand_on(cloud, PROJECT, _API)
    project = call.path["project"]
    return policies.test(cloud, call, call.body.get("permissions", []), f"projects/{_by_id(project)}")


def get_billing(cloud: Cloud, call: Call) -> Json:
    demand_on(cloud, PROJECT, "cloudbilling.googleapis.com")
    project = _known(cloud, call, "resourcemanager.projects.get")
    found = cloud.store.get("billing", PROJECT, "global", project)
    account = "billingAccounts/000000-000000-000000" if found is None else found.body["billingAccountName"]
    shown = {"name": f"projects/{project}/billingInfo", "projectId": project, "billingEnabled": bool(account)}
    return {**shown, "billingAccountName": account}


def set_billing(cloud: Cloud, call: Call) -> Json:
    """Links the project to a billing account; to none with an empty name."""
    demand_on(cloud, PROJECT, "cloudbilling.googleapis.com")
    project = _known(cloud, call, "resourcemanager.projects.get")
    account = call.body.get("billingAccountName", "")
    with cloud.lock:
        cloud.store.put(Resource("billing", PROJECT, "global", project, {"billingAccountName": account}))
    return get_billing(cloud, call)


def _known(cloud: Cloud, call: Call, permission: str) -> str:
    """The project's id. Raises 403 for one that does not exist or is closed to the caller: nobody can tell which."""
    demand_on(cloud, PROJECT, _API)
    project = _by_id(call.path["project"])
    if permission not in policies.granted(cloud, call.caller, f"projects/{project}"):
        raise RpcError(403, "The caller does not have permission")
    return project


def _by_id(named: str) -> str:
    return PROJECT if named == project_number(PROJECT) else named
