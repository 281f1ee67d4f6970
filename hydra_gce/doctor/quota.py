"""Do the project's quotas leave room for one such VM?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hydra_gce.doctor.findings import Finding, Remedy, by, error, ok, skipped, warning
from hydra_gce.doctor.patient import Patient, some
from hydra_gce.errors import ConfigError
from hydra_gce.machines import Candidate, resolve
from hydra_gce.quotas import Quotas, Shortage, read, room, shortage
from hydra_gce.request import vm_request
from hydra_gce.settings import VM

NAME = "quota"


def check(patient: Patient) -> list[Finding]:
    if not patient.candidates:
        return [skipped(NAME, "there is no such machine: see machine")]
    quotas = read(patient.backend)
    vm = patient.settings.vm
    elsewhere = [] if patient.anywhere else _anywhere(vm)
    return [judge(patient.candidates, elsewhere, quotas, vm)]


def judge(candidates: Sequence[Candidate], elsewhere: Sequence[Candidate], quotas: Quotas, vm: VM) -> Finding:
    """``elsewhere``: where such a VM could be besides the places asked for."""
    by_region = _first_of_each_region(candidates)
    if quotas.unknown and not quotas.regions:
        return skipped(NAME, quotas.unknown)
    short = {one.region: found for one in by_region if (found := _short(one, quotas, vm)) is not None}
    free = [one for one in by_region if one.region not in short]
    if free:
        best = _room(free[0], quotas, vm)
        fits = "" if best is None else f"; {best} such VMs fit in {free[0].region}"
        lacking = f", none in {some(sorted(short))}" if short and len(short) <= len(free) else ""
        return ok(NAME, f"room in {some([one.region for one in free])}{fits}{lacking}")
    worst = next(iter(short.values()))
    said = _said(worst, list(short))
    others = [one for one in _first_of_each_region(elsewhere) if one.region not in short]
    remedies = [*_other_regions(others, quotas, vm), by(worst.link)]
    full = all(one.may_pass for one in short.values())
    return (warning if full else error)(NAME, said, *remedies)


def _said(worst: Shortage, regions: list[str]) -> str:
    if worst.region is None or len(regions) == 1:
        return str(worst)
    return f"{str(worst).replace(f' in {worst.region}', '')} in {some(regions)}: all regions asked for"


def _other_regions(others: Sequence[Candidate], quotas: Quotas, vm: VM) -> list[Remedy]:
    for one in others:
        if _short(one, quotas, vm) is None:
            return [by(f"hydra.launcher.vm.regions=[{one.region}]")]
    return []


def _anywhere(vm: VM) -> list[Candidate]:
    try:
        return resolve(vm_request(replace(vm, zones=[], regions=[])))
    except ConfigError:
        return []


def _first_of_each_region(candidates: Sequence[Candidate]) -> list[Candidate]:
    return list({one.region: one for one in reversed(candidates)}.values())[::-1]


def _short(one: Candidate, quotas: Quotas, vm: VM) -> Shortage | None:
    return shortage(one, quotas, disk_gb=vm.disk_gb, external_ip=vm.external_ip)


def _room(one: Candidate, quotas: Quotas, vm: VM) -> int | None:
    return room(one, quotas, disk_gb=vm.disk_gb, external_ip=vm.external_ip)
