"""Do the project's quotas leave room for one such VM?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hydra_gce.compute.quotas import Quotas, Shortage, read, room, shortage
from hydra_gce.doctor.findings import Finding, Remedy, by, error, ok, skipped, warning
from hydra_gce.doctor.patient import Patient, some
from hydra_gce.errors import ConfigError
from hydra_gce.machines import Candidate, resolve
from hydra_gce.request import vm_request
from hydra_gce.settings import VM

NAME = "quota"


def check(patient: Patient) -> list[Finding]:
    if not patient.candidates:
        return [skipped(NAME, "there is no such machine: see machine")]
    quotas = read(patient.backend)
    if quotas.unknown and not quotas.regions:
        patient.backend.projects.get(
            project=patient.project, timeout=20.0
        )  # raises what it is that forbids it
    vm = patient.settings.vm
    elsewhere = [] if patient.anywhere else _anywhere(vm)
    return [judge(patient.candidates, elsewhere, quotas, vm)]


def judge(candidates: Sequence[Candidate], elsewhere: Sequence[Candidate], quotas: Quotas, vm: VM) -> Finding:
    """``elsewhere``: where such a VM could be besides the places asked for."""
    if quotas.unknown and not quotas.regions:
        return skipped(NAME, quotas.unknown)
    short: dict[str, Shortage] = {}
    free: dict[str, Candidate] = {}
    for one in candidates:
        found = _short(one, quotas, vm)
        if found is None:
            free.setdefault(one.region, one)
        else:
            short.setdefault(one.region, found)
    if free:
        best = next(iter(free.values()))
        fits = _room(best, quotas, vm)
        many = "" if fits is None else f"; {fits} such VMs fit in {best.region}"
        lacking = [one for one in short if one not in free]
        none = f", none in {some(lacking)}" if lacking and len(lacking) <= len(free) else ""
        return ok(NAME, f"room in {some(list(free))}{many}{none}")
    worst = next(iter(short.values()))
    others = [one for one in elsewhere if one.region not in short]
    remedies = [*_another_region(others, quotas, vm), by(worst.link)]
    passes = all(one.may_pass for one in short.values())
    return (warning if passes else error)(NAME, _said(worst, list(short)), *remedies)


def _said(worst: Shortage, regions: list[str]) -> str:
    if worst.region is None or len(regions) == 1:
        return str(worst)
    return f"{str(worst).replace(f' in {worst.region}', '')} in {some(regions)}: all regions asked for"


def _another_region(others: Sequence[Candidate], quotas: Quotas, vm: VM) -> list[Remedy]:
    for one in others:
        if _short(one, quotas, vm) is None:
            return [by(f"hydra.launcher.vm.regions=[{one.region}]")]
    return []


def _anywhere(vm: VM) -> list[Candidate]:
    try:
        return resolve(vm_request(replace(vm, zones=[], regions=[])))
    except ConfigError:
        return []


def _short(one: Candidate, quotas: Quotas, vm: VM) -> Shortage | None:
    return shortage(one, quotas, disk_gb=vm.disk_gb, external_ip=vm.external_ip)


def _room(one: Candidate, quotas: Quotas, vm: VM) -> int | None:
    return room(one, quotas, disk_gb=vm.disk_gb, external_ip=vm.external_ip)
