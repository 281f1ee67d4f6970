"""`serviceusage.googleapis.com`: which APIs a project has enabled, and what a request to one that it has not is told.

https://cloud.google.com/service-usage/docs/reference/rest
"""

from __future__ import annotations

from collections.abc import Iterable

from hydra_gce.local.compute.cloud import Cloud
from hydra_gce.local.compute.names import project_number
from hydra_gce.local.home import PROJECT
from hydra_gce.local.services import policies
from hydra_gce.local.services.call import Call, Json, RpcError
from hydra_gce.local.store import Resource

_COLLECTION = "services"
TITLES = {
    "artifactregistry.googleapis.com": "Artifact Registry API",
    "cloudbilling.googleapis.com": "Cloud Billing API",
    "cloudquotas.googleapis.com": "Cloud Quotas API",
    "cloudresourcemanager.googleapis.com": "Cloud Resource Manager API",
    "compute.googleapis.com": "Compute Engine API",
    "iam.googleapis.com": "Identity and Access Management (IAM) API",
    "iap.googleapis.com": "Cloud Identity-Aware Proxy API",
    "logging.googleapis.com": "Cloud Logging API",
    "oslogin.googleapis.com": "Cloud OS Login API",
    "serviceusage.googleapis.com": "Service Usage API",
    "storage.googleapis.com": "Cloud Storage API",
}
_OFF_AT_FIRST = frozenset(
    {"artifactregistry.googleapis.com", "cloudquotas.googleapis.com", "iap.googleapis.com"}
)
# What Service Usage refuses to disable a service for, unless disableDependentServices is set.
_NEEDED_BY = {
    "iam.googleapis.com": ("compute.googleapis.com",),
    "oslogin.googleapis.com": ("compute.googleapis.com",),
    "serviceusage.googleapis.com": ("cloudquotas.googleapis.com",),
}


def is_on(cloud: Cloud, service: str) -> bool:
    """Whether the embedded project has enabled an API."""
    found = cloud.store.get(_COLLECTION, PROJECT, "global", service)
    return service not in _OFF_AT_FIRST if found is None else found.body["state"] == "ENABLED"


def disabled(project: str, service: str) -> tuple[str, list[Json]]:
    """Message and details of the 403 that each request to a disabled API gets."""
    number, title = project_number(project), TITLES[service]
    page = f"https://console.developers.google.com/apis/api/{service}/overview?project={number}"
    message = (
        f"{title} has not been used in project {number} before or it is disabled. Enable it by visiting {page}"
        " then retry. If you enabled this API recently, wait a few minutes for the action to propagate to our"
        " systems and retry."
    )
    details: list[Json] = [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "SERVICE_DISABLED",
            "domain": "googleapis.com",
            "metadata": {
                "activationUrl": page,
                "consumer": f"projects/{number}",
                "containerInfo": number,
                "service": service,
                "serviceTitle": title,
            },
        },
        {"@type": "type.googleapis.com/google.rpc.LocalizedMessage", "locale": "en-US", "message": message},
        {
            "@type": "type.googleapis.com/google.rpc.Help",
            "links": [{"description": "Google developers console API activation", "url": page}],
        },
    ]
    return message, details


def demand_on(cloud: Cloud, project: str, service: str) -> None:
    """Raises 403 where the API is off."""
    if project == PROJECT and not is_on(cloud, service):
        message, details = disabled(project, service)
        raise RpcError(403, message, details=details)


def get(cloud: Cloud, call: Call) -> Json:
    _demand(cloud, call, "get", [call.path["service"]])
    return _service(cloud, call.path["project"], call.path["service"])


def list_(cloud: Cloud, call: Call) -> Json:
    _demand(cloud, call, "list")
    shown = [_service(cloud, call.path["project"], name) for name in sorted(TITLES)]
    wanted = call.one("filter").removeprefix("state:")
    if wanted not in ("", "ENABLED", "DISABLED"):
        raise RpcError(400, f"Invalid filter: {call.one('filter')}")
    return {"services": [one for one in shown if wanted in ("", one["state"])]}


def batch_get(cloud: Cloud, call: Call) -> Json:
    names = [one.rsplit("/", 1)[-1] for one in call.query.get("names", [])]
    _demand(cloud, call, "get", names)
    return {"services": [_service(cloud, call.path["project"], name) for name in names]}


def enable(cloud: Cloud, call: Call) -> Json:
    """Enables one; an operation that is done already. One that is on stays on."""
    return _enable(cloud, call, [call.path["service"]])


def batch_enable(cloud: Cloud, call: Call) -> Json:
    """Enables up to 20, all or none."""
    names = call.body.get("serviceIds", [])
    if not 0 < len(names) <= 20:
        raise RpcError(400, "Between 1 and 20 services must be given.")
    return _enable(cloud, call, names)


def disable(cloud: Cloud, call: Call) -> Json:
    """Disables one. Raises 400 where another enabled one needs it and `disableDependentServices` is not said."""
    project, service = call.path["project"], call.path["service"]
    _demand(cloud, call, "disable", [service])
    _service(cloud, project, service)
    dependents = [one for one in _NEEDED_BY.get(service, ()) if is_on(cloud, one)]
    if dependents and not call.body.get("disableDependentServices"):
        raise RpcError(
            400,
            f"The service {service} is depended on by the following active service(s): {','.join(dependents)};"
            " Please specify disable_dependent_services=true if you want to proceed with disabling all services.",
            status="FAILED_PRECONDITION",
        )
    if not is_on(cloud, service):
        raise RpcError(
            400,
            f"Service '{service}' is not enabled for consumer 'project:{project}'.",
            status="FAILED_PRECONDITION",
        )
    for name in (service, *dependents):
        _set(cloud, name, "DISABLED")
    response = {"service": _service(cloud, project, service)}
    return _done("DisableServiceResponse", response)


def get_operation(cloud: Cloud, call: Call) -> Json:
    """Every operation is done as soon as it has begun."""
    return {"name": f"operations/{call.path['operation']}", "done": True}


def _enable(cloud: Cloud, call: Call, names: list[str]) -> Json:
    project = call.path["project"]
    _demand(cloud, call, "enable", names)
    for name in names:
        _service(cloud, project, name)
    for name in names:
        if not is_on(cloud, name):
            _set(cloud, name, "ENABLED")
    shown = [_service(cloud, project, name) for name in names]
    if len(shown) == 1:
        return _done("EnableServiceResponse", {"service": shown[0]})
    return _done("BatchEnableServicesResponse", {"services": shown})


def _done(kind: str, response: Json) -> Json:
    typed = {"@type": f"type.googleapis.com/google.api.serviceusage.v1.{kind}", **response}
    return {"name": "operations/noop.DONE_OPERATION", "done": True, "response": typed}


def _set(cloud: Cloud, service: str, state: str) -> None:
    with cloud.lock:
        cloud.store.put(Resource(_COLLECTION, PROJECT, "global", service, {"state": state}))


def _service(cloud: Cloud, project: str, name: str) -> Json:
    if name not in TITLES:
        raise RpcError(
            404,
            f"Service '{name}' not found or permission denied.",
            details=[
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "SERVICE_CONFIG_NOT_FOUND_OR_PERMISSION_DENIED",
                    "domain": "serviceusage.googleapis.com",
                    "metadata": {"services": name},
                }
            ],
        )
    number = project_number(project)
    return {
        "name": f"projects/{number}/services/{name}",
        "parent": f"projects/{number}",
        "config": {"name": name, "title": TITLES[name]},
        "state": "ENABLED" if is_on(cloud, name) else "DISABLED",
    }


def _demand(cloud: Cloud, call: Call, verb: str, services: Iterable[str] = ()) -> None:
    """Raises 403 as Service Usage words it: aquasecurity/cloudsploit, issue 1606; it names no permission."""
    project = call.path["project"]
    if f"serviceusage.services.{verb}" in policies.granted(cloud, call.caller, f"projects/{project}"):
        return
    named = ", ".join(services)
    what = (
        f"{verb} service [{named}]"
        if named
        else f"list services for consumer container [projects/{project_number(project)}]"
    )
    details = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "AUTH_PERMISSION_DENIED",
        "domain": "serviceusage.googleapis.com",
    }
    raise RpcError(403, f"Permission denied to {what}", details=[details])
