"""Cloud Routers and the Cloud NAT in them, on paper: guests reach the world by way of the host."""

from __future__ import annotations

from hydra_gce.local.compute.cloud import Cloud
from hydra_gce.local.compute.errors import Json, already_exists, invalid_value, required
from hydra_gce.local.compute.listing import aggregated, page
from hydra_gce.local.compute.names import NAME, is_name, last
from hydra_gce.local.compute.request import Request
from hydra_gce.local.store import Resource


def get(cloud: Cloud, request: Request) -> Json:
    return _find(cloud, request).body


def list_(cloud: Cloud, request: Request) -> Json:
    cloud.check_region(request.project, request.path["region"])
    bodies = [one.body for one in cloud.store.list("routers", request.project, request.scope)]
    return page("compute#routerList", request.project, f"{request.scope}/routers", bodies, request.query)


def aggregate(cloud: Cloud, request: Request) -> Json:
    bodies = [(one.scope, one.body) for one in cloud.store.list("routers", request.project)]
    scopes = [f"regions/{region}" for region in cloud.catalog.regions]
    return aggregated(
        "compute#routerAggregatedList", request.project, "routers", bodies, scopes, request.query
    )


def insert(cloud: Cloud, request: Request) -> Json:
    cloud.check_region(request.project, request.path["region"])
    name = request.body.get("name")
    if name is None:
        raise required("resource.name")
    if not is_name(name):
        raise invalid_value("resource.name", name, f"Must be a match of regex '{NAME}'")
    if cloud.store.get("routers", request.project, request.scope, name) is not None:
        raise already_exists(f"projects/{request.project}/{request.scope}/routers/{name}")
    if "network" not in request.body:
        raise required("resource.network")
    if last(request.body["network"]) != "default":
        raise invalid_value(
            "resource.network", request.body["network"], "The referenced network resource cannot be found."
        )
    _check_nats(request.body)
    body = {
        **request.body,
        **cloud.new_body("router", request.project, request.scope, "routers", name),
        "encryptedInterconnectRouter": False,
    }
    router = Resource("routers", request.project, request.scope, name, body)
    cloud.store.put(router)
    return request.begin(cloud, request.scope, "insert", router, "nothing")


def patch(cloud: Cloud, request: Request) -> Json:
    """Lays the given fields over the router's; `nats` is replaced as a whole."""
    router = _find(cloud, request)
    _check_nats(request.body)
    router.body.update({key: value for key, value in request.body.items() if key not in ("name", "id")})
    cloud.store.put(router)
    return request.begin(cloud, request.scope, "patch", router, "nothing")


def delete(cloud: Cloud, request: Request) -> Json:
    router = _find(cloud, request)
    return request.begin(
        cloud, request.scope, "delete", router, "delete", {"collection": "routers", "name": router.name}
    )


def _find(cloud: Cloud, request: Request) -> Resource:
    cloud.check_region(request.project, request.path["region"])
    return cloud.find("routers", request.project, request.scope, request.path["router"])


def _check_nats(body: Json) -> None:
    for index, nat in enumerate(body.get("nats", [])):
        for field in ("name", "sourceSubnetworkIpRangesToNat"):
            if field not in nat:
                raise required(f"resource.nats[{index}].{field}")
