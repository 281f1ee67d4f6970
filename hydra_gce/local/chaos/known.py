"""What a scenario names and no cloud has: zones, machines, methods and quotas, found before the day begins."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from fnmatch import filter as matching

from hydra_gce.local.chaos import storage_calls
from hydra_gce.local.chaos.scenario import ANY, Scenario, ScenarioError
from hydra_gce.local.chaos.stock import GLOBAL
from hydra_gce.local.compute.app import METHODS
from hydra_gce.local.compute.capacity import quota_metrics
from hydra_gce.local.compute.cloud import Cloud
from hydra_gce.local.services import app as services


def check(scenario: Scenario, cloud: Cloud) -> None:
    """Raises `ScenarioError` with every name and wildcard that is for nothing."""
    mistakes: list[str] = []
    zones, machines = cloud.catalog.zones, _machines(cloud)
    methods = [*METHODS, *storage_calls.METHODS, *services.METHODS]
    for part in ("stock", "errors", "vms"):
        for index, rule in enumerate(getattr(scenario, part)):
            where = f"{part}[{index}]"
            mistakes += _for_nothing(f"{where}.zones", rule.zones, zones, "zone")
            if part == "errors":
                mistakes += _for_nothing(f"{where}.methods", rule.methods, methods, "method")
            else:
                mistakes += _for_nothing(
                    f"{where}.machines", rule.machines, machines, "machine or accelerator type"
                )
    mistakes += _storage_only(scenario)
    mistakes += _quotas(scenario, cloud)
    if mistakes:
        raise ScenarioError(mistakes)


def _machines(cloud: Cloud) -> set[str]:
    names: set[str] = set()
    for zone in cloud.catalog.zones:
        names.update(kind.name for kind in cloud.catalog.machine_types(zone))
        names.update(cloud.catalog.accelerators(zone))
    return names


def _for_nothing(where: str, wildcards: Iterable[str], names: Collection[str], what: str) -> Iterable[str]:
    for wildcard in wildcards:
        custom = "custom" in wildcard and "machine" in what  # their names are without number
        if not custom and not matching(names, wildcard):
            yield f"{where}: {wildcard!r} is for no {what}{_near(wildcard, names)}."


def _storage_only(scenario: Scenario) -> Iterable[str]:
    for index, rule in enumerate(scenario.errors):
        if rule.cut_after_bytes is not None and not all(one.startswith("storage.") for one in rule.methods):
            yield (
                f"errors[{index}].cut_after_bytes: it is for Cloud Storage only; methods must be storage.* "
                f"or one of them, and are {', '.join(rule.methods)}."
            )
        if rule.zones != ANY and any(one.startswith("storage.") for one in rule.methods):
            yield f"errors[{index}].zones: Cloud Storage has no zones; leave them out, or give it a rule of its own."
        if rule.on_operation and all(one.startswith("storage.") for one in rule.methods):
            yield f"errors[{index}]: Cloud Storage has no operations; answer, lost, cut or slow_s fit its methods."


def _quotas(scenario: Scenario, cloud: Cloud) -> Iterable[str]:
    regional, everywhere = quota_metrics(cloud)
    for index, rule in enumerate(scenario.quotas):
        if rule.region != GLOBAL and rule.region not in cloud.catalog.regions:
            near = _near(rule.region, [*cloud.catalog.regions, GLOBAL])
            yield f"quotas[{index}].region: {rule.region!r} is no region, nor {GLOBAL!r}{near}."
            continue
        metrics, place = (everywhere, "a project") if rule.region == GLOBAL else (regional, "a region")
        if rule.metric not in metrics:
            yield f"quotas[{index}].metric: {rule.metric!r} is no quota of {place}{_near(rule.metric, metrics)}."


def _near(name: str, names: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, names, 1)
    return f"; did you mean {found[0]!r}" if found else ""
