"""`projects`."""

from __future__ import annotations

from hydra_gce.local.compute.capacity import project_quotas
from hydra_gce.local.compute.cloud import Cloud
from hydra_gce.local.compute.errors import Json
from hydra_gce.local.compute.guest import project_metadata
from hydra_gce.local.compute.metadata import check_fingerprint, read_metadata
from hydra_gce.local.compute.names import BASE, project_number
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


def _metadata(cloud: Cloud, project: str) -> Json:
    metadata = project_metadata(cloud, project)
    return metadata if "fingerprint" in metadata else read_metadata({})
