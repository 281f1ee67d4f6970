"""`projects`, and what else belongs to one: firewalls."""

from __future__ import annotations

from hydra_gce.local.compute.capacity import project_quotas
from hydra_gce.local.compute.cloud import Cloud
from hydra_gce.local.compute.errors import Json, already_exists, invalid_value, required
from hydra_gce.local.compute.guest import project_metadata
from hydra_gce.local.compute.listing import page
from hydra_gce.local.compute.metadata import check_fingerprint, read_metadata
from hydra_gce.local.compute.names import BASE, NAME, is_name, link, project_number
from hydra_gce.local.compute.request import Request
from hydra_gce.local.store import Resource


def get(cloud: Cloud, request: Request) -> Json:
    project = request.project
    return {
        "kind": "compute#project",
        "id": project_number(project),
        "creationTimestamp": "2026-01-01T00:00:00.000-08:00",
        "name": project,
        "commonInstanceMetadata": _metadata(cloud, project),
        "defaultNetworkTier": "PREMIUM",
        "defaultServiceAccount": cloud.default_account(project),
        "quotas": project_quotas(cloud, project),
        "selfLink": f"{BASE}/projects/{project}",
        "vmDnsSetting": "ZONAL_ONLY",
        "xpnProjectStatus": "UNSPECIFIED_XPN_PROJECT_STATUS",
    }


def set_common_metadata(cloud: Cloud, request: Request) -> Json:
    project = request.project
    check_fingerprint(_metadata(cloud, project), request.body, "metadata")
    cloud.store.put(Resource("projects", project, "global", project, read_metadata(request.body)))
    target = Resource(
        "projects",
        project,
        "global",
        project,
        {"selfLink": f"{BASE}/projects/{project}", "id": project_number(project)},
    )
    return request.begin(
        cloud, "global", "compute.projects.setCommonInstanceMetadata", target, "projects.metadata"
    )


def list_firewalls(cloud: Cloud, request: Request) -> Json:
    bodies = [one.body for one in cloud.store.list("firewalls", request.project)]
    return page("compute#firewallList", request.project, "global/firewalls", bodies, request.query)


def get_firewall(cloud: Cloud, request: Request) -> Json:
    return cloud.find("firewalls", request.project, "global", request.path["firewall"]).body


def insert_firewall(cloud: Cloud, request: Request) -> Json:
    """A rule on paper: guests share the host's network."""
    name = request.body.get("name")
    if name is None:
        raise required("resource.name")
    if not is_name(name):
        raise invalid_value("resource.name", name, f"Must be a match of regex '{NAME}'")
    if cloud.store.get("firewalls", request.project, "global", name) is not None:
        raise already_exists(f"projects/{request.project}/global/firewalls/{name}")
    defaults = {
        "direction": "INGRESS",
        "priority": 1000,
        "network": link(request.project, "global/networks", "default"),
        "disabled": False,
        "logConfig": {"enable": False},
    }
    body = {
        **defaults,
        **request.body,
        **cloud.new_body("firewall", request.project, "global", "firewalls", name),
    }
    firewall = Resource("firewalls", request.project, "global", name, body)
    cloud.store.put(firewall)
    return request.begin(cloud, "global", "insert", firewall, "nothing")


def delete_firewall(cloud: Cloud, request: Request) -> Json:
    firewall = cloud.find("firewalls", request.project, "global", request.path["firewall"])
    return request.begin(
        cloud, "global", "delete", firewall, "delete", {"collection": "firewalls", "name": firewall.name}
    )


def _metadata(cloud: Cloud, project: str) -> Json:
    metadata = project_metadata(cloud, project)
    return metadata if "fingerprint" in metadata else read_metadata({})
