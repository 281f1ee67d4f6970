"""Instance templates: kept as they were given; no instance is made of one here."""

from __future__ import annotations

from hydra_gce.local.compute.cloud import Cloud
from hydra_gce.local.compute.errors import Json, already_exists, invalid_value, required
from hydra_gce.local.compute.listing import page
from hydra_gce.local.compute.metadata import read_metadata
from hydra_gce.local.compute.names import NAME, is_name
from hydra_gce.local.compute.request import Request
from hydra_gce.local.store import Resource

_NEEDED = ("machineType", "disks", "networkInterfaces")


def get(cloud: Cloud, request: Request) -> Json:
    return cloud.find("instanceTemplates", request.project, "global", request.path["instanceTemplate"]).body


def list_(cloud: Cloud, request: Request) -> Json:
    bodies = [one.body for one in cloud.store.list("instanceTemplates", request.project)]
    return page(
        "compute#instanceTemplateList", request.project, "global/instanceTemplates", bodies, request.query
    )


def insert(cloud: Cloud, request: Request) -> Json:
    given, name = request.body, request.body.get("name")
    if name is None:
        raise required("resource.name")
    if not is_name(name):
        raise invalid_value("resource.name", name, f"Must be a match of regex '{NAME}'")
    properties = given.get("properties", {})
    for field in _NEEDED:
        if not properties.get(field):
            raise required(f"resource.properties.{field}")
    if cloud.store.get("instanceTemplates", request.project, "global", name) is not None:
        raise already_exists(f"projects/{request.project}/global/instanceTemplates/{name}")
    body = {
        **cloud.new_body("instanceTemplate", request.project, "global", "instanceTemplates", name),
        "description": given.get("description", ""),
        "properties": {**properties, "metadata": read_metadata(properties.get("metadata", {}))},
    }
    template = Resource("instanceTemplates", request.project, "global", name, body)
    cloud.store.put(template)
    return request.begin(cloud, "global", "insert", template, "nothing")


def delete(cloud: Cloud, request: Request) -> Json:
    name = request.path["instanceTemplate"]
    template = cloud.find("instanceTemplates", request.project, "global", name)
    return request.begin(
        cloud,
        "global",
        "delete",
        template,
        "delete",
        {"collection": "instanceTemplates", "name": template.name},
    )
