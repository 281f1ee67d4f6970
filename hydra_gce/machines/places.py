"""Zones that a request allows: names and wildcards of `vm.zones` and `vm.regions`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from hydra_gce import catalog
from hydra_gce.errors import ConfigError
from hydra_gce.machines.words import either, nearest, one_of, shortened

ZONES = "hydra.launcher.vm.zones"
REGIONS = "hydra.launcher.vm.regions"
SUBNETWORK = "hydra.launcher.vm.subnetwork"

_SUBNETWORK_REGION = re.compile(r"(?:.*/)?regions/(?P<region>[^/]+)/subnetworks/[^/]+")


def allowed_zones(zones: Sequence[str], regions: Sequence[str], subnetwork: str | None = None) -> list[str]:
    """All zones that match one of `zones`, lie in one of `regions`, and where the subnetwork is.

    An empty list allows everything; so does a subnetwork that names no region.
    ConfigError where a name or wildcard matches nothing, or they exclude each other.
    """
    all_zones = catalog.zones()
    by_zone = _matching(ZONES, zones, sorted(all_zones)) if zones else set(all_zones)
    by_region = _matching(REGIONS, regions, list(catalog.regions())) if regions else set(catalog.regions())
    both = sorted(zone for zone in by_zone if all_zones[zone] in by_region)
    if not both:
        raise ConfigError(
            f"hydra.launcher.vm: no zone is left: none of vm.zones={_listed(zones)} lies in "
            f"vm.regions={_listed(regions)}. Leave one of the two out."
        )
    return _beside(subnetwork, both)


def _beside(subnetwork: str | None, zones: list[str]) -> list[str]:
    """The zones in the subnetwork's region, where it names one."""
    named = _SUBNETWORK_REGION.fullmatch(subnetwork or "")
    if named is None:
        return zones
    if named["region"] not in catalog.regions():
        close = nearest(named["region"], catalog.regions())
        raise ConfigError(
            f"{SUBNETWORK}: there is no region '{named['region']}'. The nearest are {either(close)}."
        )
    beside = [zone for zone in zones if catalog.zones()[zone] == named["region"]]
    if not beside:
        raise ConfigError(
            f"{SUBNETWORK}: it lies in {named['region']}, and vm.zones and vm.regions allow {said(zones)} only. "
            f"Say vm.regions=[{named['region']}], or take a subnetwork there."
        )
    return beside


def _matching(field: str, patterns: Sequence[str], known: Sequence[str]) -> set[str]:
    if isinstance(patterns, str):
        raise ConfigError(f"{field}: '{patterns}' is not a list; write [{patterns}].")
    twice = [pattern for pattern, times in Counter(patterns).items() if times > 1]
    if twice:
        raise ConfigError(f"{field}: {one_of(twice)} is named more than once. Leave the others out.")
    found: set[str] = set()
    for pattern in patterns:
        matches = {name for name in known if fnmatchcase(name, pattern)}
        if not matches:
            raise ConfigError(f"{field}: {_nothing(field, pattern, known)}")
        found |= matches
    return found


def _nothing(field: str, pattern: str, known: Sequence[str]) -> str:
    kind = "zone" if field == ZONES else "region"
    if kind == "zone" and pattern in catalog.regions():
        return f"'{pattern}' is a region. Write vm.regions=[{pattern}], or vm.zones=[{pattern}-*]."
    if kind == "region" and pattern in catalog.zones():
        return f"'{pattern}' is a zone. Write vm.zones=[{pattern}]."
    if any(sign in pattern for sign in "*?["):
        # Wildcards that match something: "europe-*", "europe-west4-*".
        wild = {f"{part}-*" for name in known for part in (name.split("-")[0], name.rsplit("-", 1)[0])}
        return f"'{pattern}' matches no {kind}. The nearest are {either(nearest(pattern, sorted(wild)))}."
    return f"there is no {kind} '{pattern}'. The nearest are {either(nearest(pattern, known))}."


def regions_of(zones: Iterable[str]) -> list[str]:
    """The regions of these zones, sorted."""
    return sorted({catalog.zones()[zone] for zone in zones})


def said(zones: Iterable[str]) -> str:
    """Zones or, where there are many, their regions, as words for a sentence."""
    listed = sorted(zones)
    return shortened(listed if len(listed) <= 8 else regions_of(listed))


def _listed(names: Sequence[str]) -> str:
    return f"[{', '.join(names)}]"
