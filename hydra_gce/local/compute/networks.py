"""The default network of each project, which is all there is: addresses exist on paper, guests share the host's."""

from __future__ import annotations

from hydra_gce.local.compute.cloud import Cloud
from hydra_gce.local.compute.errors import Json, invalid, invalid_value, not_found
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


def attached_interfaces(cloud: Cloud, project: str, zone: str, given: list[Json], field: str) -> list[Json]:
    """`networkInterfaces` of a new instance. Raises 400 for a network that is not there."""
    if not given:
        raise invalid_value(f"{field}.networkInterfaces", "", "At least one network interface is required.")
    used = _used_addresses(cloud, project)
    return [_interface(cloud, project, zone, index, one, field, used) for index, one in enumerate(given)]


def _interface(
    cloud: Cloud, project: str, zone: str, index: int, given: Json, field: str, used: set[str]
) -> Json:
    where = f"{field}.networkInterfaces[{index}]"
    _check_reference(given.get("network"), "networks", f"{where}.network", "network")
    _check_reference(given.get("subnetwork"), "subnetworks", f"{where}.subnetwork", "subnetwork")
    region = region_of(zone)
    internal = given.get("networkIP") or _free_address(f"10.{subnet_number(cloud, region)}", 16, used)
    interface: Json = {
        "kind": "compute#networkInterface",
        "fingerprint": fingerprint([zone, internal]),
        "name": f"nic{index}",
        "network": link(project, "global/networks", _NETWORK),
        "networkIP": internal,
        "stackType": "IPV4_ONLY",
        "subnetwork": link(project, "regions", region, "subnetworks", _NETWORK),
    }
    if "nicType" in given:
        interface["nicType"] = given["nicType"]
    configs = given.get("accessConfigs", [])
    if configs:
        interface["accessConfigs"] = [_access_config(one, used) for one in configs]
    return interface


def _access_config(given: Json, used: set[str]) -> Json:
    return {
        "kind": "compute#accessConfig",
        "name": given.get("name", "External NAT"),
        # 198.18.0.0/15 is set apart for tests (RFC 2544): nobody else can be meant by it.
        "natIP": given.get("natIP") or _free_address("198.18", 256, used),
        "networkTier": given.get("networkTier", "PREMIUM"),
        "type": given.get("type", "ONE_TO_ONE_NAT"),
    }


def _used_addresses(cloud: Cloud, project: str) -> set[str]:
    used: set[str] = set()
    for instance in cloud.store.list("instances", project):
        for interface in instance.body["networkInterfaces"]:
            used.add(interface["networkIP"])
            used.update(config.get("natIP", "") for config in interface.get("accessConfigs", []))
    return used


def _free_address(prefix: str, rows: int, used: set[str]) -> str:
    for row in range(rows):
        for number in range(2, 254):
            address = f"{prefix}.{row}.{number}"
            if address not in used:
                used.add(address)
                return address
    raise invalid(f"IP space of '{prefix}.0.0' is exhausted.")


def subnet_number(cloud: Cloud, region: str) -> int:
    """The second byte of all addresses in a region's subnetwork."""
    return 128 + 2 * list(cloud.catalog.regions).index(region)


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
    number = subnet_number(cloud, region)
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
