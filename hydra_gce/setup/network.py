"""What the network of the VMs needs: a rule that lets Google's tunnel in for ssh, and a way out without addresses."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from hydra_gce.doctor.firewall import PORT, TAG, TUNNEL
from hydra_gce.doctor.nat import WHOLE
from hydra_gce.doctor.network import owner_of, tail
from hydra_gce.errors import HydraGCEError
from hydra_gce.setup import hcl
from hydra_gce.setup.step import MARK, Removal, Step, patiently

if TYPE_CHECKING:
    from google.cloud import compute_v1

    from hydra_gce.cloud.backend import Backend

_WITHIN_S = 120.0


class Firewall(Step):
    """Ssh to VMs with the tag, from Google's tunnel alone."""

    title = "firewall rule for ssh"
    why = f"hydra-gce ssh comes through Google's tunnel (IAP), from {TUNNEL}; no other door is opened"

    def __init__(self, backend: Backend, network: str) -> None:
        self._backend = backend
        self._network = network
        self._name = name_in("hydra-gce-iap-ssh", network)

    def missing(self) -> list[str]:
        found = self._find()
        if found is None:
            return [
                f"make {self._name} in {self._network}: tcp:{PORT} from {TUNNEL} to VMs with the tag {TAG}"
            ]
        if self._is_right(found):
            return []
        return [f"put {self._name} right: tcp:{PORT} from {TUNNEL} to VMs with the tag {TAG}"]

    def make(self) -> None:
        found, client, project = self._find(), self._backend.firewalls, self._backend.project
        if found is not None and self._is_right(found):
            return
        if found is None:
            rule = self._rule()
            operation = patiently(lambda: client.insert_unary(project=project, firewall_resource=rule))
        else:
            operation = client.patch_unary(
                project=project, firewall=self._name, firewall_resource=self._rule()
            )
        _finish(self._backend, operation)

    def made(self) -> list[Removal]:
        client, project = self._backend.firewalls, self._backend.project

        def removal(name: str) -> Removal:
            return Removal(
                f"the firewall rule {name}",
                lambda: _finish(self._backend, client.delete_unary(project=project, firewall=name)),
            )

        ours = [one.name for one in _listed(lambda: client.list(project=project)) if _is_ours(one)]
        return [removal(name) for name in ours]

    def terraform(self) -> str:
        fields = {
            "name": self._name,
            "network": self._network,
            "description": "Lets hydra-gce ssh in through Google's tunnel.",
            "direction": "INGRESS",
            "source_ranges": [TUNNEL],
            "target_tags": [TAG],
            "allow": hcl.Block({"protocol": "tcp", "ports": [str(PORT)]}),
            "depends_on": [hcl.Ref("google_project_service.compute")],
        }
        return hcl.resource("google_compute_firewall", "iap_ssh", fields)

    def _find(self) -> compute_v1.Firewall | None:
        rules = _listed(lambda: self._backend.firewalls.list(project=self._backend.project))
        return next((one for one in rules if one.name == self._name), None)

    def _rule(self) -> compute_v1.Firewall:
        from google.cloud import compute_v1

        return compute_v1.Firewall(
            name=self._name,
            description=f"{MARK} Lets hydra-gce ssh in through Google's tunnel.",
            network=link_of(self._network),
            direction="INGRESS",
            priority=1000,
            source_ranges=[TUNNEL],
            target_tags=[TAG],
            allowed=[compute_v1.Allowed(I_p_protocol="tcp", ports=[str(PORT)])],
            disabled=False,
        )

    @staticmethod
    def _is_right(found: compute_v1.Firewall) -> bool:
        allows = [(one.I_p_protocol, list(one.ports)) for one in found.allowed]
        return (
            allows == [("tcp", [str(PORT)])]
            and list(found.source_ranges) == [TUNNEL]
            and list(found.target_tags) == [TAG]
            and not found.disabled
        )


class Nat(Step):
    """Cloud NAT in some regions, for VMs without addresses (`vm.external_ip=false`)."""

    title = "Cloud NAT"
    why = "VMs without an address of their own fetch packages by it; it costs by the hour and the gigabyte"

    def __init__(self, backend: Backend, network: str, regions: Sequence[str]) -> None:
        self._backend = backend
        self._network = network
        self._regions = regions
        self._name = name_in("hydra-gce-nat", network)

    def missing(self) -> list[str]:
        there = self._covered()
        return [
            f"make a router with Cloud NAT for {self._network} in {one}"
            for one in self._regions
            if one not in there
        ]

    def make(self) -> None:
        client, project = self._backend.routers, self._backend.project
        there = self._covered()
        for region in self._regions:
            if region not in there:
                insert = partial(
                    client.insert_unary, project=project, region=region, router_resource=self._router()
                )
                _finish(self._backend, patiently(insert), region)

    def made(self) -> list[Removal]:
        client, project = self._backend.routers, self._backend.project

        def removal(name: str, region: str) -> Removal:
            return Removal(
                f"the router {name} in {region}, with its Cloud NAT",
                lambda: _finish(
                    self._backend, client.delete_unary(project=project, region=region, router=name), region
                ),
            )

        return [removal(one.name, tail(one.region)) for one in self._routers() if _is_ours(one)]

    def terraform(self) -> str:
        return "\n".join(self._terraform(region) for region in self._regions)

    def _terraform(self, region: str) -> str:
        label = region.replace("-", "_")
        router = {
            "name": self._name,
            "network": self._network,
            "region": region,
            "depends_on": [hcl.Ref("google_project_service.compute")],
        }
        nat = {
            "name": self._name,
            "router": hcl.Ref(f"google_compute_router.{label}.name"),
            "region": region,
            "nat_ip_allocate_option": "AUTO_ONLY",
            "source_subnetwork_ip_ranges_to_nat": WHOLE[0],
        }
        return "\n".join(
            (
                hcl.resource("google_compute_router", label, router),
                hcl.resource("google_compute_router_nat", label, nat),
            )
        )

    def _router(self) -> compute_v1.Router:
        from google.cloud import compute_v1

        nat = compute_v1.RouterNat(
            name=self._name,
            nat_ip_allocate_option="AUTO_ONLY",
            source_subnetwork_ip_ranges_to_nat=WHOLE[0],
        )
        return compute_v1.Router(
            name=self._name,
            description=f"{MARK} A way out for VMs without addresses.",
            network=link_of(self._network),
            nats=[nat],
        )

    def _covered(self) -> list[str]:
        return [
            tail(one.region)
            for one in self._routers()
            if tail(one.network) == tail(self._network)
            and any(nat.source_subnetwork_ip_ranges_to_nat in WHOLE for nat in one.nats)
        ]

    def _routers(self) -> list[compute_v1.Router]:
        from google.cloud import compute_v1

        request = compute_v1.AggregatedListRoutersRequest(project=self._backend.project)
        scopes = _listed(lambda: self._backend.routers.aggregated_list(request=request))
        return [router for _, scope in scopes for router in scope.routers]


def name_in(stem: str, network: str) -> str:
    """The name of something of ours in a network; each network may have its own."""
    own = tail(network)
    return stem if own == "default" else f"{stem}-{own}"[:63].rstrip("-")


def link_of(network: str) -> str:
    """The link that a network's name stands for."""
    return network if owner_of(network) else f"global/networks/{tail(network)}"


def _listed(ask: Any) -> list[Any]:
    """All of a list; nothing where Compute Engine is off, and so has nothing."""
    from google.api_core.exceptions import Forbidden

    try:
        return list(ask())
    except Forbidden as error:
        if "has not been used in project" in str(error):
            return []
        raise


def _is_ours(found: Any) -> bool:
    return str(found.description).startswith(MARK)


def _finish(backend: Backend, operation: compute_v1.Operation, region: str | None = None) -> None:
    """Waits for an operation's end: a global one's, or one of a region's.

    :raises HydraGCEError: it ended badly, or not in time.
    """
    project, deadline = backend.project, time.monotonic() + _WITHIN_S
    while operation.status != operation.Status.DONE:
        if time.monotonic() > deadline:
            raise HydraGCEError(
                f"Compute Engine has not ended {operation.name} within {_WITHIN_S:.0f} s. Run hydra-gce setup again."
            )
        if region is None:
            operation = backend.global_operations.wait(project=project, operation=operation.name)
        else:
            operation = backend.region_operations.wait(
                project=project, region=region, operation=operation.name
            )
    if operation.error.errors:
        failed = operation.error.errors[0]
        raise HydraGCEError(f"Compute Engine: {failed.code}: {failed.message}")
