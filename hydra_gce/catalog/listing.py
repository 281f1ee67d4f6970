"""What Compute Engine itself lists: zones, machine types, accelerator types; and the tables that come of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from hydra_gce.catalog import shelf
from hydra_gce.catalog.tables import Catalogue
from hydra_gce.errors import CredentialsError, Unreachable

if TYPE_CHECKING:
    from hydra_gce.cloud.backend import Backend

PAGE = 500
DEADLINE_S = 60.0

# https://cloud.google.com/compute/docs/disks/local-ssd: partitions are of 375 GB, those of Z3 of 3,000.
LOCAL_SSD_GB = 375
LOCAL_SSD_GB_OF = {"z3": 3000}

# A type or accelerator that is on its way out can still be had; these cannot.
GONE = ("OBSOLETE", "DELETED")


@dataclass
class SeenType:
    """A machine type over all zones. accelerators: (the API's name, how many) that it brings."""

    name: str
    vcpus: int
    memory_gb: Decimal
    shared_core: bool
    local_ssd_gb: int
    accelerators: tuple[tuple[str, int], ...]
    zones: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Listing:
    """zones: zone -> region. accelerators: the API's name -> zones."""

    zones: dict[str, str]
    types: dict[str, SeenType]
    accelerators: dict[str, set[str]]


def ask(backend: Backend) -> Listing:
    """Everything that the project sees, with some 200 requests.

    :raises CredentialsError: it may not be listed.
    :raises Unreachable: Compute Engine does not answer, or answers for a part of its zones only.
    """
    from google.api_core.exceptions import Forbidden, GoogleAPIError, Unauthorized
    from google.auth.exceptions import GoogleAuthError
    from requests.exceptions import RequestException

    try:
        return _ask(backend)
    except (Forbidden, Unauthorized) as error:
        raise CredentialsError(
            f"hydra-gce setup --refresh: Compute Engine's lists may not be read in project {backend.project} "
            f"({error.message}). The role roles/compute.viewer allows it."
        ) from error
    except (GoogleAPIError, GoogleAuthError, RequestException) as error:
        raise Unreachable(
            f"hydra-gce setup --refresh: Compute Engine did not answer ({error}). Nothing was changed."
        ) from error


def _ask(backend: Backend) -> Listing:
    from google.cloud import compute_v1

    project = backend.project
    zones = {
        zone.name: _last(zone.region)
        for zone in backend.zones.list(project=project, timeout=DEADLINE_S)
        if zone.deprecated.state not in GONE
    }
    types: dict[str, SeenType] = {}
    request = compute_v1.AggregatedListMachineTypesRequest(project=project, max_results=PAGE)
    types_pages = backend.machine_types.aggregated_list(request=request, timeout=DEADLINE_S).pages
    for zone, listed in _in_zones(types_pages, zones, "machine_types"):
        name = listed.name
        if name not in types:  # a type is the same in all of its zones, and they are tens of thousands in all
            types[name] = _seen(listed)
        types[name].zones.add(zone)
    accelerators: dict[str, set[str]] = {}
    wanted = compute_v1.AggregatedListAcceleratorTypesRequest(project=project, max_results=PAGE)
    cards_pages = backend.accelerator_types.aggregated_list(request=wanted, timeout=DEADLINE_S).pages
    for zone, listed in _in_zones(cards_pages, zones, "accelerator_types"):
        accelerators.setdefault(listed.name, set()).add(zone)
    return Listing(zones, types, accelerators)


def _in_zones(pages: Iterable[Any], zones: dict[str, str], what: str) -> Iterator[tuple[str, Any]]:
    """(zone, resource) of an aggregated list.

    :raises Unreachable: a zone's share is missing.
    """
    for page in pages:
        for scope, listed in page.items.items():
            warning = listed.warning.code
            lacking = warning not in ("", "NO_RESULTS_ON_PAGE")
            if missing := [*page.unreachables, *([scope] if lacking else [])]:
                raise Unreachable(
                    f"hydra-gce setup --refresh: Compute Engine did not tell the {what.replace('_', ' ')} of "
                    f"{', '.join(_last(one) for one in missing)} ({warning if lacking else 'UNREACHABLE'}). "
                    "Nothing was changed; try again later."
                )
            for one in getattr(listed, what):
                if _last(scope) in zones and one.deprecated.state not in GONE:
                    yield _last(scope), one


def _seen(listed: Any) -> SeenType:
    family = listed.name.split("-")[0]
    partitions = listed.bundled_local_ssds.partition_count
    return SeenType(
        name=listed.name,
        vcpus=listed.guest_cpus,
        memory_gb=Decimal(listed.memory_mb) / 1024,
        shared_core=listed.is_shared_cpu,
        local_ssd_gb=partitions * LOCAL_SSD_GB_OF.get(family, LOCAL_SSD_GB),
        accelerators=tuple(
            (a.guest_accelerator_type, a.guest_accelerator_count) for a in listed.accelerators
        ),
    )


def tables_of(listing: Listing, known: Catalogue) -> tuple[dict[str, str], list[str]]:
    """(the tables that the listing makes, types left out because they bring something that is not known).

    known: what is told of a type there (parts of GPUs, what it is billed for) is kept.
    """
    names = {gpu.accelerator: gpu.name for gpu in known.gpus.values()}
    strange = sorted(
        kind.name
        for kind in listing.types.values()
        if kind.name not in known.machine_types and any(name not in names for name, _ in kind.accelerators)
    )
    types = {name: kind for name, kind in sorted(listing.types.items()) if name not in strange}
    tables = {
        "zones": shelf.csv_text(["zone", "region"], sorted(listing.zones.items())),
        "newer-zones": shelf.csv_text(["zone", "region"], []),
        "machine-types": shelf.csv_text(
            ["name", "vcpus", "memory_gb", "shared_cpu", "regions"],
            (
                [
                    k.name,
                    k.vcpus,
                    f"{k.memory_gb:.2f}",
                    str(k.shared_core).lower(),
                    _regions(k.zones, listing),
                ]
                for k in types.values()
            ),
        ),
        "accelerator-types": shelf.csv_text(
            ["name", "regions"],
            ([name, _regions(zones, listing)] for name, zones in sorted(listing.accelerators.items())),
        ),
        "gpu-zones": shelf.csv_text(["gpu", "zone"], _gpu_zones(listing, names)),
        "machine-parts": shelf.csv_text(
            ["machine_type", "gpu", "gpu_count", "local_ssd_gb", "billed_vcpus", "billed_gb"],
            _parts(types, known, names),
        ),
    }
    return tables, strange


def _gpu_zones(listing: Listing, names: dict[str, str]) -> list[tuple[str, str]]:
    """Where a GPU is: where it attaches, and where machine types that bring it are."""
    seen = {
        (names[name], zone) for name, zones in listing.accelerators.items() if name in names for zone in zones
    }
    for kind in listing.types.values():
        seen |= {(names[name], zone) for name, _ in kind.accelerators if name in names for zone in kind.zones}
    return sorted(seen)


def _parts(types: dict[str, SeenType], known: Catalogue, names: dict[str, str]) -> Iterator[list[object]]:
    for name, kind in types.items():
        if (told := known.machine_parts.get(name)) is not None:
            yield [
                name,
                told.gpu,
                told.gpu_count or "",
                told.local_ssd_gb or "",
                told.billed_vcpus,
                told.billed_gb,
            ]
        elif name not in known.machine_types and (kind.accelerators or kind.local_ssd_gb):
            gpu, count = next(((names[one], n) for one, n in kind.accelerators), ("", ""))
            yield [name, gpu, count, kind.local_ssd_gb or "", "", ""]


def _regions(zones: Iterable[str], listing: Listing) -> str:
    return " ".join(sorted({listing.zones[zone] for zone in zones}))


def _last(link: str) -> str:
    return link.rpartition("/")[2]
