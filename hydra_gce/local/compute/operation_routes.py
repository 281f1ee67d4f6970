"""`zoneOperations`, `regionOperations`, `globalOperations`: to read, wait for and forget what is under way."""

from __future__ import annotations

from hydra_gce.local.compute.cloud import Cloud
from hydra_gce.local.compute.errors import Json
from hydra_gce.local.compute.listing import aggregated, page
from hydra_gce.local.compute.request import Request

_LONGEST_WAIT_S = 120.0


def get(cloud: Cloud, request: Request) -> Json:
    return cloud.operations.get(request.project, request.scope, request.path["operation"]).body


def wait(cloud: Cloud, request: Request) -> Json:
    return cloud.operations.wait(request.project, request.scope, request.path["operation"], _LONGEST_WAIT_S)


def delete(cloud: Cloud, request: Request) -> Json:
    cloud.operations.delete(request.project, request.scope, request.path["operation"])
    return {}  # an empty object, not an empty body: google-cloud-compute reads JSON


def list_(cloud: Cloud, request: Request) -> Json:
    if "zone" in request.path:
        cloud.check_zone(request.project, request.path["zone"])
    if "region" in request.path:
        cloud.check_region(request.project, request.path["region"])
    bodies = [one.body for one in cloud.store.list("operations", request.project, request.scope)]
    return page(
        "compute#operationList", request.project, f"{request.scope}/operations", bodies, request.query
    )


def aggregate(cloud: Cloud, request: Request) -> Json:
    bodies = [(one.scope, one.body) for one in cloud.store.list("operations", request.project)]
    scopes = ["global", *(f"regions/{region}" for region in cloud.catalog.regions)]
    scopes += [f"zones/{zone}" for zone in cloud.catalog.zones]
    return aggregated(
        "compute#operationAggregatedList", request.project, "operations", bodies, scopes, request.query
    )
