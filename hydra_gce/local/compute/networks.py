"""The default network of each project, which is all there is: addresses exist on paper, guests share the host's."""

from __future__ import annotations

from hydra_gce.local.compute.cloud import Cloud
from hydra_gce.local.compute.errors import Json, invalid_value, not_found
from hydra_gce.local.compute.listing import aggregated, page
from hydra_gce.local.compute.names import fingerprint, link, parse_link, region_of, stable_id
from hydra_gce.local.compute.request import Request

_BIRTH = "2026-01-01T00:00:00.000-08:00"
_NETWORK = "default"


def get_network(cloud: Cloud, request: Request) -> Json:
    if request.path["network"] != _NETWORK:
        raise not_found(f"projects/{request.project}/global/networks/{request.path['network']}")
    return _network(cloud, request.project)


def list_networks(cloud: Cloud, request: Request) -> Json:
    return page(
        "compute#networkList",
        request.project,
        "global/networks",
        [_network(cloud, request.project)],
        request.query,
    )


def get_subnetwork(cloud: Cloud, request: Request) -> Json:
    cloud.check_region(request.project, request.path["region"])
    if request.path["subnetwork"] != _NETWORK:
        raise not_found(
            f"projects/{request.project}/{request.scope}/subnetworks/{request.path['subnetwork']}"
        )
    return _subnetwork(cloud, request.project, request.path["region"])


def list_subnetworks(cloud: Cloud, request: Request) -> Json:
    cloud.check_region(request.project, request.path["region"])
    bodies = [_subnetwork(cloud, request.project, request.path["region"])]
    return page(
        "compute#subnetworkList", request.project, f"{request.scope}/subnetworks", bodies, request.query
    )


def aggregate_subnetworks(cloud: Cloud, request: Request) -> Json:
    regions = list(cloud.catalog.regions)
    bodies = [(f"regions/{region}", _subnetwork(cloud, request.project, region)) for region in regions]
    scopes = [f"regions/{region}" for region in regions]
    return aggregated(
        "compute#subnetworkAggregatedList", request.project, "subnetworks", bodies, scopes, request.query
    )


def attached_interfaces(
    project: str, zone: str, instance_id: str, given: list[Json], field: str
) -> list[Json]:
    """`networkInterfaces` of a new instance. Raises 400 for a network that is not there."""
    if not given:
        raise invalid_value(f"{field}.networkInterfaces", "", "At least one network interface is required.")
    return [_interface(project, zone, instance_id, index, one, field) for index, one in enumerate(given)]


def _interface(project: str, zone: str, instance_id: str, index: int, given: Json, field: str) -> Json:
    where = f"{field}.networkInterfaces[{index}]"
    _check_reference(given.get("network"), "networks", f"{where}.network", "network")
    _check_reference(given.get("subnetwork"), "subnetworks", f"{where}.subnetwork", "subnetwork")
    region = region_of(zone)
    number = int(instance_id) + index * 7_919
    interface: Json = {
        "kind": "compute#networkInterface",
        "fingerprint": fingerprint([instance_id, index]),
        "name": f"nic{index}",
        "network": link(project, "global/networks", _NETWORK),
        "networkIP": given.get("networkIP", f"10.128.{number // 250 % 15}.{2 + number % 250}"),
        "stackType": "IPV4_ONLY",
        "subnetwork": link(project, "regions", region, "subnetworks", _NETWORK),
    }
    if "nicType" in given:
        interface["nicType"] = given["nicType"]
    configs = given.get("accessConfigs", [])
    if configs:
        interface["accessConfigs"] = [_access_config(number, one) for one in configs]
    return interface


def _access_config(number: int, given: Json) -> Json:
    return {
        "kind": "compute#accessConfig",
        "name": given.get("name", "External NAT"),
        "natIP": given.get("natIP", f"203.0.113.{1 + number % 254}"),
        "networkTier": given.get("networkTier", "PREMIUM"),
        "type": given.get("type", "ONE_TO_ONE_NAT"),
    }


def _check_reference(reference: str | None, collection: str, field: str, what: str) -> None:
    if reference is None:
        return
    target = parse_link(reference)
    if target is None or target.collection != collection:
        raise invalid_value(field, reference, "The URL is malformed.")
    if target.name != _NETWORK:
        raise invalid_value(field, reference, f"The referenced {what} resource cannot be found.")


def _network(cloud: Cloud, project: str) -> Json:
    return {
        "kind": "compute#network",
        "id": stable_id(project, "network"),
        "creationTimestamp": _BIRTH,
        "name": _NETWORK,
        "description": "Default network for the project",
        "autoCreateSubnetworks": True,
        "networkFirewallPolicyEnforcementOrder": "AFTER_CLASSIC_FIREWALL",
        "routingConfig": {"routingMode": "REGIONAL"},
        "selfLink": link(project, "global/networks", _NETWORK),
        "selfLinkWithId": link(project, "global/networks", stable_id(project, "network")),
        "subnetworks": [
            link(project, "regions", region, "subnetworks", _NETWORK) for region in cloud.catalog.regions
        ],
    }


def _subnetwork(cloud: Cloud, project: str, region: str) -> Json:
    number = 128 + 4 * list(cloud.catalog.regions).index(region) // 2
    return {
        "kind": "compute#subnetwork",
        "id": stable_id(project, "subnetwork", region),
        "creationTimestamp": _BIRTH,
        "name": _NETWORK,
        "fingerprint": fingerprint([project, region]),
        "gatewayAddress": f"10.{number}.0.1",
        "ipCidrRange": f"10.{number}.0.0/20",
        "network": link(project, "global/networks", _NETWORK),
        "privateIpGoogleAccess": False,
        "privateIpv6GoogleAccess": "DISABLE_GOOGLE_ACCESS",
        "purpose": "PRIVATE",
        "region": link(project, "regions", region),
        "selfLink": link(project, "regions", region, "subnetworks", _NETWORK),
        "stackType": "IPV4_ONLY",
    }
