"""Network and subnetwork: are they there, in the regions where the VMs may be?"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from hydra_gce.doctor.findings import Finding, by, error, ok, warning
from hydra_gce.doctor.patient import Patient, some
from hydra_gce.settings import VM

NAME = "network"


@dataclass(frozen=True)
class Answer:
    """``networks``: the names of all that the project has. ``regions``: those with the subnetwork that is wanted."""

    network: str
    subnetwork: str | None
    networks: Sequence[str]
    subnetworks: Sequence[str]
    regions: Sequence[str]


def check(patient: Patient) -> list[Finding]:
    from google.cloud import compute_v1

    vm = patient.settings.vm
    owner = owner_for(vm, patient.project)
    network = tail(vm.network or "default")
    wanted = tail(vm.subnetwork) if vm.subnetwork else None
    networks = [one.name for one in patient.backend.networks.list(project=owner, timeout=20.0)]
    request = compute_v1.AggregatedListSubnetworksRequest(project=owner)
    subnetworks = [
        one
        for _, scope in patient.backend.subnetworks.aggregated_list(request=request, timeout=20.0)
        for one in scope.subnetworks
    ]
    fitting = [one for one in subnetworks if _fits(one.name, tail(one.network), wanted, network, vm.network)]
    answer = Answer(
        network if vm.network or not wanted else tail(fitting[0].network) if fitting else network,
        wanted,
        networks,
        sorted({one.name for one in subnetworks}),
        [tail(one.region) for one in fitting],
    )
    return [judge(answer, patient.regions, owner)]


def judge(answer: Answer, regions: Sequence[str], project: str) -> Finding:
    """:param regions: where the VMs may be."""
    if answer.network not in answer.networks:
        near = difflib.get_close_matches(answer.network, answer.networks, 2, 0.4) or list(answer.networks[:2])
        remedies = [by(f"hydra.launcher.vm.network={one}") for one in near]
        make = f"gcloud compute networks create {answer.network} --project={project} --subnet-mode=auto"
        return error(NAME, f"project {project} has no network {answer.network}", *remedies, by(make))
    if answer.subnetwork and answer.subnetwork not in answer.subnetworks:
        near = difflib.get_close_matches(answer.subnetwork, answer.subnetworks, 2, 0.4)
        remedies = [by(f"hydra.launcher.vm.subnetwork={one}") for one in near or answer.subnetworks[:1]]
        return error(NAME, f"project {project} has no subnetwork {answer.subnetwork}", *remedies)
    lacking = [one for one in regions if one not in answer.regions]
    what = f"{answer.network}{f', subnetwork {answer.subnetwork}' if answer.subnetwork else ''}"
    if not lacking or not regions:
        return ok(NAME, what)
    there = [one for one in regions if one in answer.regions] or list(answer.regions)
    remedies = [by(f"hydra.launcher.vm.regions=[{','.join(there[:5])}]")] if there else []
    judged = warning if len(lacking) < len(regions) else error
    return judged(NAME, f"{what}: no subnetwork in {some(lacking)}", *remedies)


def tail(link: str) -> str:
    """The name that a link ends with."""
    return link.rpartition("/")[2]


def owner_of(named: str | None) -> str | None:
    """The project that a network or subnetwork is shared from; None where it is the sweep's own."""
    if "projects/" in (named or ""):
        return (named or "").partition("projects/")[2].split("/")[0]
    host, _, _ = (named or "").rpartition("/")
    return host if host and "global/" not in f"{host}/" and "regions/" not in host else None


def owner_for(vm: VM, project: str) -> str:
    """The project that has the network of these VMs."""
    return owner_of(vm.subnetwork) or owner_of(vm.network) or project


def _fits(name: str, of_network: str, wanted: str | None, network: str, named: str | None) -> bool:
    if wanted is not None and name != wanted:
        return False
    return of_network == network or (wanted is not None and named is None)
