"""What the launcher asks of Compute Engine."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

from hydra_gce.compute.instance import Instance
from hydra_gce.compute.leftovers import Found, Leftover
from hydra_gce.compute.quotas import Quotas
from hydra_gce.refusals import Refusal

OPERATION_S = 600.0
"""An insert takes seconds, a minute at most. One that takes longer is stuck: Google ends it some day."""


class Compute(Protocol):
    """:raises Unreachable: Compute Engine cannot be reached; whether the request was carried out is not known.

    :raises ConfigError: the request is not one that Compute Engine knows.
    """

    def insert(
        self, zone: str, body: dict[str, Any], request_id: str, limit_s: float = OPERATION_S
    ) -> Refusal | None:
        """Makes a VM, or says who refused it. An attempt's own VM that exists already is as good as made.

        After Unreachable, the same request with the same ``request_id`` tells what became of it. A refused VM does not
        exist, or is being deleted: also where Compute Engine made it and failed, or took longer than ``limit_s``.

        A flex-start VM is as good as made when it waits in Google's queue; nobody waits here until it leaves that.
        ``why_not_made`` tells why it was never made.
        """

    def why_not_made(self, zone: str, name: str) -> Refusal | None:
        """How the last insert of a VM of that name, which is gone, has failed; None where no error is known."""

    def find(self, zone: str, name: str) -> Instance | None:
        """The VM of that name, if there is one."""

    def instances(self, sweep: str | None = None, zones: Collection[str] | None = None) -> list[Instance]:
        """The VMs of a sweep, or of all sweeps; in a few zones, or wherever they are."""

    def delete(self, zone: str, name: str) -> None:
        """Asks for a VM's deletion; one that is gone already is no error."""

    def leftovers(self, sweep: str | None = None) -> Found:
        """All that a sweep, or all sweeps, have anywhere: VMs, VMs to come, disks that outlived theirs, addresses."""

    def remove(self, leftover: Leftover) -> str:
        """Asks for its deletion; says why Compute Engine did not take that up, and nothing where it did."""

    def console(self, zone: str, name: str) -> str:
        """The end of what the VM wrote to its serial console; nothing where it is gone."""

    def was_preempted(self, zone: str, name: str) -> bool:
        """Whether Compute Engine took back the VM of that name, which is gone."""

    def quotas(self) -> Quotas:
        """What the project may have and uses; knows less, instead of raising, where that cannot be read."""

    def project_key(self) -> bytes | None:
        """From which the keys of sweeps follow; made where there is none, None where that is not allowed."""
