"""Without an address of their own VMs need Cloud NAT for their packages: is there one where they may be?"""

from __future__ import annotations

from collections.abc import Sequence

from hydra_gce.doctor.findings import Finding, by, error, ok, skipped, warning
from hydra_gce.doctor.network import owner_for, tail
from hydra_gce.doctor.patient import Patient, some

NAME = "NAT"
WHOLE = ("ALL_SUBNETWORKS_ALL_IP_RANGES", "ALL_SUBNETWORKS_ALL_PRIMARY_IP_RANGES")
_CHEAPEST = 3


def check(patient: Patient) -> list[Finding]:
    from google.cloud import compute_v1

    vm = patient.settings.vm
    if vm.external_ip:
        return [skipped(NAME, "VMs have addresses of their own (vm.external_ip)")]
    owner = owner_for(vm, patient.project)
    request = compute_v1.AggregatedListRoutersRequest(project=owner)
    network = tail(vm.network or "default")
    covered = [
        tail(router.region)
        for _, scope in patient.backend.routers.aggregated_list(request=request, timeout=20.0)
        for router in scope.routers
        if tail(router.network) == network
        and any(_covers(nat, tail(vm.subnetwork or "default")) for nat in router.nats)
    ]
    shared = owner if owner != patient.project else None
    packages = vm.container is None and patient.settings.env.requirements != "none"
    return [
        judge(
            covered,
            patient.regions,
            network,
            patient.setup,
            patient.anywhere,
            shared=shared,
            packages=packages,
        )
    ]


def judge(
    covered: Sequence[str],
    regions: Sequence[str],
    network: str,
    setup: str,
    anywhere: bool,
    *,
    shared: str | None = None,
    packages: bool = True,
) -> Finding:
    """
    :param covered: the regions whose subnetwork has a way out; :param regions: where the VMs may be.
    :param shared: the project that the network is shared from.
    :param packages: whether the VMs have any to fetch.
    """
    lacking = [one for one in regions if one not in covered]
    if not lacking:
        return ok(NAME, f"in {some(list(regions))}")
    there = [one for one in regions if one in covered]
    to_make = lacking[:1] if anywhere else lacking[:_CHEAPEST]
    if shared:
        steps = [step for region in to_make for step in _by_gcloud(shared, network, region)]
    else:
        steps = [
            f"{setup}{'' if network == 'default' else f' --network {network}'} --nat {' '.join(to_make)}"
        ]
    if len(to_make) < len(lacking):
        steps.append(f"hydra.launcher.vm.regions=[{','.join(to_make)}]")
    stay = [by(f"hydra.launcher.vm.regions=[{','.join(there)}]")] if there else []
    said = f"VMs without an address cannot fetch packages in {some(lacking)}: network {network} has no Cloud NAT there"
    judged = error if packages and not there else warning
    return judged(NAME, said, *stay, by(*steps), by("hydra.launcher.vm.external_ip=true"))


def _by_gcloud(project: str, network: str, region: str) -> list[str]:
    router = f"gcloud compute routers create hydra-gce-nat --project={project} --network={network} --region={region}"
    nat = (
        f"gcloud compute routers nats create hydra-gce-nat --project={project} --router=hydra-gce-nat"
        f" --region={region} --auto-allocate-nat-external-ips --nat-all-subnet-ip-ranges"
    )
    return [router, nat]


def _covers(nat: object, subnetwork: str) -> bool:
    whole = getattr(nat, "source_subnetwork_ip_ranges_to_nat", "")
    if whole in WHOLE:
        return True
    return any(tail(one.name) == subnetwork for one in getattr(nat, "subnetworks", []))
