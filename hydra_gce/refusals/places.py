"""What a place says: it has no room, does not offer it, is closed to the project, or its network cannot take the VM."""

from __future__ import annotations

from hydra_gce.refusals.refusal import Reach
from hydra_gce.refusals.row import Row
from hydra_gce.refusals.sources import (
    AUTOSCALER,
    BULK,
    CATALOG,
    COMPUTE_SCHEMA,
    CREATION,
    LOCATIONS,
    RESERVATIONS,
    SKYPILOT,
    STOCK,
)

_MORE_PLACES = (
    "allow more places in hydra.launcher.vm.regions or hydra.launcher.vm.zones, or take another machine"
)
_RESERVED = "look at hydra.launcher.vm.reservation and at how much of it is in use"


def _full(source: str, *, codes: tuple[str, ...] = (), says: str = "", reach: Reach = Reach.ZONE) -> Row:
    """What was asked for is sold out there, as one provisioning model. It may be had again at any time."""
    return Row(
        source, reach, "has no {what} left", _MORE_PLACES, codes=codes, says=says, passes=True, own_model=True
    )


def _unqueued(*, codes: tuple[str, ...] = (), says: str = "") -> Row:
    """A flex-start VM that Google's queue had nothing for in its time."""
    return Row(
        "https://cloud.google.com/compute/docs/instances/about-flex-start-vms;"
        " GKE's cluster autoscaler: errors of the Dynamic Workload Scheduler",
        Reach.ZONE,
        "had no {what} in the time of Google's queue",
        "wait longer in the queue (hydra.launcher.vm.queue_minutes, up to 120), or allow more places",
        codes=codes,
        says=says,
        passes=True,
        own_model=True,
    )


STOCKOUTS = (
    _full(STOCK, codes=("ZONE_RESOURCE_POOL_EXHAUSTED",)),
    _full(
        # With details since 2019; those who knew the first code only ended their search:
        # https://github.com/skypilot-org/skypilot/issues/831
        STOCK,
        codes=("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",),
    ),
    _full(AUTOSCALER, codes=("RESOURCE_POOL_EXHAUSTED", "resourcePoolExhausted")),
    _full(
        f"{BULK}, for requests to a region",
        codes=("REGION_RESOURCE_POOL_EXHAUSTED",),
        reach=Reach.REGION,
    ),
    _full(
        BULK,
        codes=("insufficientCapacity", "INSUFFICIENT_CAPACITY"),
    ),
    _full(
        f"{COMPUTE_SCHEMA}: ErrorInfo (STOCKOUT); resource_availability: https://github.com/kubernetes/k8s.io/issues/9834",
        codes=("STOCKOUT", "GPU_STOCKOUT", "stockout", "resource_availability"),
    ),
    _full(
        STOCK,
        says=r"not (?:have )?enough resources available to fulfill the request|is currently unavailable in the \S+ zone"
        r"|state:\s?STOCKOUT",
    ),
    _unqueued(codes=("WAIT_TIME_EXCEEDED",)),
    _unqueued(
        says=r"could not provision queued instances in the allocated time|(?:[Rr]equest|[Qq]ueue) (?:has )?expired"
    ),
    Row(
        # Seen when a spot VM is taken back while it is being made.
        SKYPILOT,
        Reach.ZONE,
        "gave no {what}, or took it back at once",
        codes=("UNSUPPORTED_OPERATION",),
        passes=True,
        own_model=True,
    ),
    Row(
        # The VM went away while its operation was under way: https://github.com/skypilot-org/skypilot/issues/1797
        SKYPILOT,
        Reach.ZONE,
        "took the VM back while it was being made",
        says=r"/zones/[^/']+/instances/[^/']+' was not found",
        passes=True,
        own_model=True,
    ),
    Row(
        SKYPILOT,
        Reach.ZONE,
        "does not find what it needs for {what}",
        codes=("RESOURCE_NOT_FOUND",),
        passes=True,
        own_model=True,
    ),
)

RESERVED = (
    Row(
        RESERVATIONS,
        Reach.ZONE,
        "has a reservation that is used up",
        _RESERVED,
        says=r"[Rr]eservations? .*does not have (?:available resources|sufficient capacity|enough resources)"
        r"|No available resources in specified reservations",
        passes=True,
        own_model=True,
    ),
    Row(
        RESERVATIONS,
        Reach.ZONE,
        "has a reservation that is used up",
        _RESERVED,
        codes=("RESERVATION_CAPACITY_EXCEEDED",),
        passes=True,
        own_model=True,
    ),
    _full(
        AUTOSCALER,
        says="Zone does not currently have sufficient capacity for the requested resources",
    ),
    Row(
        RESERVATIONS,
        Reach.ZONE,
        "has no such reservation",
        "check the name in hydra.launcher.vm.reservation, and hydra.launcher.vm.zones for the zone that it is in",
        says=r"Could not find the given reservation|Specified reservations? \S+ do(?:es)? not exist"
        r"|/reservations/[^/']+' was not found",
        own_model=True,
    ),
    Row(
        RESERVATIONS,
        Reach.ZONE,
        "has no such reservation",
        "check the name in hydra.launcher.vm.reservation, and hydra.launcher.vm.zones for the zone that it is in",
        codes=("RESERVATION_NOT_FOUND",),
        own_model=True,
    ),
    Row(
        RESERVATIONS,
        Reach.ZONE,
        "has a reservation that is not ready yet",
        "wait until the reservation in hydra.launcher.vm.reservation is ready",
        says=r"requires reservation to be in READY state",
        passes=True,
        own_model=True,
    ),
    Row(
        f"{AUTOSCALER}; https://github.com/skypilot-org/skypilot/issues/3327",
        Reach.REQUEST,
        "has a reservation that does not fit the VM",
        "make hydra.launcher.vm.reservation one for exactly this machine, to be used by name",
        says=r"Reservation \S+ is incorrect for the requested resources|AggregateReservation|Aggregate Reservations"
        r"|aggregate reservations|must use ReservationAffinity of|specificReservationRequired is not set"
        r"|reservation must exist in the same project|Please target a reservation with workload_type",
        own_model=True,
    ),
)

OFFERED = (
    Row(
        "https://cloud.google.com/compute/docs/gpus/gpu-regions-zones",
        Reach.ZONE,
        "does not offer it",
        "leave the places to the launcher, which knows where it is sold",
        says=r"(?:Machine type with name|[Aa]ccelerator type|Disk type)\b.*does not exist (?:in|across) zone",
    ),
    Row(
        "https://github.com/fastai/course-v3/issues/493",
        Reach.ZONE,
        "does not offer it",
        "leave the places to the launcher, which knows where it is sold",
        says=r"/zones/[^/']+/(?:machineTypes|acceleratorTypes)/[^/']+' was not found",
    ),
    Row(
        "https://cloud.google.com/compute/docs/disks/hyperdisks#regional-availability",
        Reach.ZONE,
        "does not offer its disk type",
        "name another one in hydra.launcher.vm.disk_type, or leave it out",
        says=r"/zones/[^/']+/diskTypes/[^/']+' was not found",
    ),
    Row(
        CATALOG,
        Reach.ZONE,
        "is not open to the project",
        says=r"projects/[^/']+/zones/[^/']+' was not found|Location \S+ is not found or access is unauthorized",
    ),
    Row(
        SKYPILOT,
        Reach.ZONE,
        "is not open to the project",
        codes=("LOCATION_ACCESS_DENIED", "LOCATION_POLICY_VIOLATED"),
    ),
    Row(
        CATALOG,
        Reach.ZONE,
        "takes no requests at the moment",
        codes=("SERVICE_UNAVAILABLE_FOR_LOCATION",),
        passes=True,
    ),
    Row(
        LOCATIONS,
        Reach.ZONE,
        "policy {constraint} forbids it",
        "keep to the allowed places in hydra.launcher.vm.regions, or have the policy changed:"
        " https://console.cloud.google.com/iam-admin/orgpolicies/gcp-resourceLocations{in_project}",
        says=r"Location (?:ZONE:)?[a-z]+-[a-z]+\d+-\w+ violates constraint constraints/gcp\.resourceLocations",
    ),
    Row(
        LOCATIONS,
        Reach.REGION,
        "policy {constraint} forbids it",
        "keep to the allowed places in hydra.launcher.vm.regions, or have the policy changed:"
        " https://console.cloud.google.com/iam-admin/orgpolicies/gcp-resourceLocations{in_project}",
        says=r"constraints/gcp\.resourceLocations",
    ),
)

NETWORKS = (
    Row(
        "https://github.com/Privatehive/gcp-hosted-github-runner/pull/7",
        Reach.REGION,
        "has no address left in subnetwork {subnetwork}",
        "expand the range of the subnetwork, or name another in hydra.launcher.vm.subnetwork:"
        " https://console.cloud.google.com/networking/subnetworks/list{in_project}",
        says=r"IP space of '[^']*subnetworks/(?P<subnetwork>[^/']+)' is exhausted",
        passes=True,
    ),
    Row(
        AUTOSCALER,
        Reach.REGION,
        "has no address left in its subnetwork",
        "expand the range of the subnetwork, or name another in hydra.launcher.vm.subnetwork:"
        " https://console.cloud.google.com/networking/subnetworks/list{in_project}",
        codes=("IP_SPACE_EXHAUSTED", "IP_SPACE_EXHAUSTED_WITH_DETAILS"),
        passes=True,
    ),
    Row(
        "GKE's cluster autoscaler: errors of the Dynamic Workload Scheduler",
        Reach.REGION,
        "has no external address left",
        "set hydra.launcher.vm.external_ip=false, which takes no address (it needs Cloud NAT)",
        says="externalIP resource pool is exhausted",
        passes=True,
    ),
    Row(
        f"{CREATION}; https://github.com/hashicorp/terraform-provider-google (the referenced subnetwork)",
        Reach.REGION,
        "has no subnetwork {subnetwork}",
        "name one that is there in hydra.launcher.vm.subnetwork, or make it:"
        " https://console.cloud.google.com/networking/subnetworks/list{in_project}",
        says=r"/subnetworks/(?P<subnetwork>[^/']+)'"
        r"(?: was not found|\. The referenced subnetwork resource cannot be found)",
    ),
    Row(
        # It is named with its region, and the VM was to be in another.
        CREATION,
        Reach.REGION,
        "is not where its subnetwork is",
        "give hydra.launcher.vm.subnetwork as a name alone, or keep to its region in hydra.launcher.vm.regions",
        says="Scope of the specified subnetwork doesn't match",
    ),
    Row(
        SKYPILOT,
        Reach.REGION,
        "has no subnetwork of this network",
        "name one that is there in hydra.launcher.vm.subnetwork",
        codes=("SUBNET_NOT_FOUND_FOR_VPC",),
    ),
    Row(
        # Roles may be given on each subnetwork of a shared network by itself.
        "https://cloud.google.com/vpc/docs/provisioning-shared-vpc#networkuseratsubnet",
        Reach.REGION,
        "has a subnetwork that you may not use",
        "ask for {role} ({permission}), or name another in hydra.launcher.vm.subnetwork",
        says=r"'compute\.subnetworks\.use\w*'",
    ),
)

ROWS = (*STOCKOUTS, *RESERVED, *OFFERED, *NETWORKS)
