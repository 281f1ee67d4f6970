"""Without an address of their own VMs need Cloud NAT for their packages: is there one where they may be?"""

from __future__ import annotations

from collections.abc import Sequence

from hydra_gce.doctor.findings import Finding, by, error, ok, skipped, warning
from hydra_gce.doctor.network import tail
from hydra_gce.doctor.patient import Patient, some

NAME = "NAT"
WHOLE = ("ALL_SUBNETWORKS_ALL_IP_RANGES", "ALL_SUBNETWORKS_ALL_PRIMARY_IP_RANGES")
_CHEAPEST = 3


def check(patient: Patient) -> list[Finding]:
    from google.cloud import compute_v1

    vm = patient.settings.vm
    if vm.external_ip:
        return [skipped(NAME, "VMs have addresses of their own (vm.external_ip)")]
    request = compute_v1.AggregatedListRoutersRequest(project=patient.project)
    network = tail(vm.network or "default")
    covered = [
        tail(router.region)
        for _, scope in patient.backend.routers.aggregated_list(request=request, timeout=20.0)
        for router in scope.routers
        if tail(router.network) == network
        and any(_covers(nat, tail(vm.subnetwork or "default")) for nat in router.nats)
    ]
    return [judge(covered, patient.regions, network, patient.setup, patient.anywhere)]


def judge(
    covered: Sequence[str], regions: Sequence[str], network: str, setup: str, anywhere: bool
) -> Finding:
    """:param covered: the regions whose subnetwork has a way out; :param regions: where the VMs may be."""
    lacking = [one for one in regions if one not in covered]
    if not lacking:
        return ok(NAME, f"in {some(list(regions))}")
    there = [one for one in regions if one in covered]
    to_make = lacking[:1] if anywhere else lacking[:_CHEAPEST]
    of = "" if network == "default" else f" --network {network}"
    stay = by(f"hydra.launcher.vm.regions=[{','.join(there)}]") if there else None
    make = by(
        f"{setup}{of} --nat {' '.join(to_make)}",
        *([f"hydra.launcher.vm.regions=[{','.join(to_make)}]"] if len(to_make) < len(lacking) else []),
    )
    said = f"VMs without an address cannot fetch packages in {some(lacking)}: network {network} has no Cloud NAT there"
    remedies = [one for one in (stay, make, by("hydra.launcher.vm.external_ip=true")) if one is not None]
    return (warning if there else error)(NAME, said, *remedies)


def _covers(nat: object, subnetwork: str) -> bool:
    whole = getattr(nat, "source_subnetwork_ip_ranges_to_nat", "")
    if whole in WHOLE:
        return True
    return any(tail(one.name) == subnetwork for one in getattr(nat, "subnetworks", []))
