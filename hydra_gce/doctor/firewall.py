"""Can `hydra-gce ssh` reach the VMs: does the firewall let Google's tunnel (IAP) in?"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from hydra_gce.doctor.findings import Finding, by, ok, warning
from hydra_gce.doctor.network import owner_for, tail
from hydra_gce.doctor.patient import Patient

NAME = "ssh"
TUNNEL = "35.235.240.0/20"
"""Where Google's tunnel comes from: https://cloud.google.com/iap/docs/using-tcp-forwarding#create-firewall-rule"""
TAG = "hydra-gce"
"""The network tag that the rule of ``setup`` is for."""
PORT = 22


@dataclass(frozen=True)
class Rule:
    """A firewall rule, as far as it is about this. ``ports`` is None for a protocol as a whole."""

    name: str
    priority: int
    allows: bool
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    accounts: tuple[str, ...]
    protocols: tuple[tuple[str, tuple[str, ...]], ...]


def check(patient: Patient) -> list[Finding]:
    vm = patient.settings.vm
    network = tail(vm.network or "default")
    owner = owner_for(vm, patient.project)
    rules = [
        Rule(
            one.name,
            one.priority,
            bool(one.allowed),
            tuple(one.source_ranges),
            tuple(one.target_tags),
            tuple(one.target_service_accounts),
            tuple((each.I_p_protocol, tuple(each.ports)) for each in one.allowed or one.denied),
        )
        for one in patient.backend.firewalls.list(project=owner, timeout=20.0)
        if tail(one.network) == network and one.direction == "INGRESS" and not one.disabled
    ]
    shared = owner if owner != patient.project else None
    return [judge(rules, vm.tags, vm.service_account, network, patient.setup, shared)]


def judge(
    rules: Sequence[Rule],
    tags: Sequence[str],
    account: str | None,
    network: str,
    setup: str,
    shared: str | None = None,
) -> Finding:
    """The first rule by priority decides, and one that denies before one that allows.

    :param shared: the project that the network is shared from.
    """
    about = [one for one in rules if _is_about(one, tags, account)]
    decides = min(about, key=lambda one: (one.priority, one.allows), default=None)
    if decides is not None and decides.allows:
        return ok(NAME, f"{decides.name} lets Google's tunnel in")
    why = f"{decides.name} denies it" if decides else "no rule allows it"
    by_setup = f"{setup}{'' if network == 'default' else f' --network {network}'}"
    steps = [by_setup if shared is None else _by_gcloud(shared, network)]
    if TAG not in tags:
        steps.append(f"hydra.launcher.vm.tags=[{','.join([*tags, TAG])}]")
    said = f"hydra-gce ssh cannot reach VMs: network {network} lets no ssh in from {TUNNEL} ({why})"
    return warning(NAME, said, by(*steps))


def _by_gcloud(project: str, network: str) -> str:
    return (
        f"gcloud compute firewall-rules create hydra-gce-iap-ssh --project={project} --network={network}"
        f" --allow=tcp:{PORT} --source-ranges={TUNNEL} --target-tags={TAG}"
    )


def _is_about(rule: Rule, tags: Sequence[str], account: str | None) -> bool:
    if rule.targets and not set(rule.targets) & set(tags):
        return False
    if rule.accounts and account not in rule.accounts:
        return False
    return any(_has_tunnel(one) for one in rule.sources) and any(
        kind in ("all", "tcp", "6") and (not ports or any(_has_port(one) for one in ports))
        for kind, ports in rule.protocols
    )


def _has_tunnel(source: str) -> bool:
    try:
        network = ipaddress.ip_network(source, strict=False)
    except ValueError:
        return False
    return isinstance(network, ipaddress.IPv4Network) and ipaddress.IPv4Network(TUNNEL).subnet_of(network)


def _has_port(ports: str) -> bool:
    least, _, most = ports.partition("-")
    return int(least) <= PORT <= int(most or least)
