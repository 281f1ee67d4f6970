"""What a sweep has in a project, found by its label over all zones: VMs, disks that outlived theirs, addresses.

Nothing but the project is needed: the laptop may have forgotten the sweep, or be another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum

from hydra_gce import names
from hydra_gce.cloud.backend import Backend
from hydra_gce.compute import instance as instances
from hydra_gce.compute import quick
from hydra_gce.compute.asking import asking, patiently
from hydra_gce.compute.instance import LEAVING, OFF, Instance, instance_in, since_epoch
from hydra_gce.compute.quick import Json
from hydra_gce.errors import ConfigError, CredentialsError, Unreachable
from hydra_gce.labels import OWNER_LABEL, SWEEP_LABEL
from hydra_gce.machines import prices
from hydra_gce.machines.listed_price import IDLE_ADDRESS, disk_hourly, gpu_said, listed_price, region_of

QUEUED = "QUEUED"
"""The status of a VM that is asked for and not listed yet."""

_FIELDS = {
    "instances": "name,zone,status,machineType,labels,creationTimestamp,lastStartTimestamp,lastStopTimestamp,"
    "scheduling/provisioningModel,guestAccelerators,deletionProtection,disks(type,source,diskSizeGb),"
    "networkInterfaces/accessConfigs",
    "disks": "name,zone,type,sizeGb,status,users,labels,creationTimestamp,selfLink",
    "addresses": "name,region,address,addressType,status,labels,creationTimestamp",
    "operations": "targetLink,insertTime",
}
_NOT_BILLED = (*OFF, QUEUED, instances.QUEUED, "REPAIRING")
# vm.instance may name a VM's further disks; Compute Engine calls them after their VM.
_OURS = re.compile(r"hg-(?P<sweep>[a-z0-9-]+?)-\d+(-a\d+)?(-\d+)?")
_SWEEP = re.compile(r"[a-z0-9_-]{1,63}")
_DEFAULT_DISK = "pd-standard"  # what Compute Engine takes where no type is named


class Kind(str, Enum):
    VM = "VM"
    DISK = "disk"
    ADDRESS = "address"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Leftover:
    """Something of a sweep's that exists, and what it costs.

    where: its zone; the region, or "global", of an address. what: in words, "spot n1-standard-4 + T4".
    hourly, spent: US dollars an hour as it is now, and since it was made; None where the catalogue does not know.
    """

    kind: Kind
    name: str
    where: str
    sweep: str
    status: str
    what: str
    created: float
    hourly: Decimal | None
    spent: Decimal | None
    owner: str = ""
    instance: Instance | None = None

    @property
    def leaving(self) -> bool:
        return self.status in (*LEAVING, QUEUED)

    @property
    def protected(self) -> bool:
        return self.instance is not None and self.instance.deletion_protection

    def is_same(self) -> tuple[str, str, str]:
        """What tells it from all others, whatever becomes of it."""
        return (self.kind.value, self.where, self.name)


@dataclass(frozen=True)
class Found:
    """``silent`` names the zones and regions that did not answer: what is there is not known."""

    leftovers: list[Leftover] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)


def find(backend: Backend, sweep: str | None, now: float) -> Found:
    """All that a sweep has, or that all sweeps have; ``now`` in seconds since the epoch.

    :raises ConfigError: ``sweep`` cannot be the name of one.
    :raises Unreachable: Compute Engine does not answer.
    :raises CredentialsError: it may not be asked.
    """
    if sweep is not None and not _SWEEP.fullmatch(sweep):
        raise ConfigError(
            f"{sweep!r} is no sweep's name: those are of a-z, 0-9 and -. See: hydra-gce ls --all"
        )
    label = f'labels.{SWEEP_LABEL}="{sweep}"' if sweep else f"labels.{SWEEP_LABEL}:*"
    silent: list[str] = []
    with ThreadPoolExecutor(4) as pool:
        vms = pool.submit(_listed, backend, "instances", label, silent)
        named = f'({label}) OR (name:"hg-{sweep or ""}")'
        disks = pool.submit(_listed, backend, "disks", named, silent)
        addresses = pool.submit(_listed, backend, "addresses", label, silent)
        queued = pool.submit(_queued, backend, sweep, silent)
        sizes = _disk_types(disks.result())
        found = [_vm(one, sizes, now) for one in vms.result()]
        found += [one for one in queued.result() if one.is_same() not in {vm.is_same() for vm in found}]
        found += [_disk(one, now) for one in disks.result() if _outlived(one, sweep)]
        found += [_address(one, now) for one in addresses.result()]
    return Found(
        sorted(found, key=lambda one: (one.sweep, one.kind is not Kind.VM, _by_number(one.name))), silent
    )


def remove(backend: Backend, leftover: Leftover) -> str:
    """Asks for its deletion; nothing is said where that was taken up, or it is gone already; else why not."""
    from google.api_core.exceptions import GoogleAPICallError, NotFound

    try:
        with asking():
            _delete(backend, leftover)
    except NotFound:
        return ""
    except GoogleAPICallError as error:
        return str(error.message)
    except (CredentialsError, Unreachable) as error:
        return str(error)
    return ""


def _delete(backend: Backend, leftover: Leftover) -> None:
    project, name, where = backend.project, leftover.name, leftover.where
    if leftover.kind is Kind.DISK:
        backend.disks.delete_unary(project=project, zone=where, disk=name, **patiently())
    elif leftover.kind is Kind.ADDRESS and where == "global":
        backend.global_addresses.delete_unary(project=project, address=name, **patiently())
    elif leftover.kind is Kind.ADDRESS:
        backend.addresses.delete_unary(project=project, region=where, address=name, **patiently())
    else:
        if leftover.protected:
            _unprotect(backend, leftover)
        backend.instances.delete_unary(project=project, zone=where, instance=name, **patiently())


def _unprotect(backend: Backend, vm: Leftover) -> None:
    from google.cloud import compute_v1

    request = compute_v1.SetDeletionProtectionInstanceRequest(
        project=backend.project, zone=vm.where, resource=vm.name, deletion_protection=False
    )
    operation = backend.instances.set_deletion_protection_unary(request=request, **patiently())
    backend.zone_operations.wait(
        project=backend.project, zone=vm.where, operation=operation.name, **patiently()
    )


def _listed(backend: Backend, collection: str, wanted: str, silent: list[str]) -> list[Json]:
    """Everything in all zones that the filter lets through; zones that do not answer are noted in ``silent``."""
    return list(quick.aggregated(backend, collection, wanted, _FIELDS[collection], silent))


def _queued(backend: Backend, sweep: str | None, silent: list[str]) -> list[Leftover]:
    """VMs that were asked for and may come: their insert is under way, and perhaps stuck."""
    inserts = _listed(backend, "operations", '(operationType="insert") (status!="DONE")', silent)
    found = []
    for insert in inserts:
        _, _, place = insert.get("targetLink", "").partition("/zones/")
        zone, _, name = place.partition("/instances/")
        of = sweep_of(name)
        if of is None or (sweep is not None and of != sweep):
            continue
        asked = since_epoch(insert.get("insertTime", ""))
        found.append(Leftover(Kind.VM, name, zone, of, QUEUED, "asked for", asked, Decimal(0), Decimal(0)))
    return found


def sweep_of(name: str) -> str | None:
    """The sweep whose VM or disk has this name; None where it is not one of ours."""
    match = _OURS.fullmatch(name)
    return match["sweep"] if match else None


def _vm(listed: Json, disk_types: dict[str, str], now: float) -> Leftover:
    instance = instance_in(listed)
    disks = listed.get("disks", [])
    persistent = [disk for disk in disks if disk.get("type") != "SCRATCH"]
    price = listed_price(
        instance.machine_type,
        instance.zone,
        instance.model,
        instance.accelerators,
        disks=[
            (disk_types.get(_tail(disk.get("source", "")), _DEFAULT_DISK), int(disk.get("diskSizeGb", 0)))
            for disk in persistent
        ],
        local_ssd_gb=sum(int(disk.get("diskSizeGb", 0)) for disk in disks if disk.get("type") == "SCRATCH"),
        external_ip=any(interface.get("accessConfigs") for interface in listed.get("networkInterfaces", [])),
    )
    ended = since_epoch(listed.get("lastStopTimestamp", "")) if instance.status in OFF else now
    return Leftover(
        kind=Kind.VM,
        name=instance.name,
        where=instance.zone,
        sweep=instance.sweep,
        status=instance.status,
        what=_machine_said(instance),
        created=instance.created,
        hourly=None if price is None else price.disk if instance.status in _NOT_BILLED else price.hourly,
        spent=None if price is None else _spent(price, instance, ended, now),
        owner=instance.labels.get(OWNER_LABEL, ""),
        instance=instance,
    )


def _spent(price: prices.Price, instance: Instance, ended: float, now: float) -> Decimal:
    """The VM by the time that it ran last, its disks by the time since it was made."""
    began = instance.started or (0.0 if instance.status == instances.QUEUED else instance.created)
    ran = prices.cost(price.hourly - price.disk, max(0.0, ended - began)) if began else Decimal(0)
    return ran + prices.rounded(price.disk * Decimal(_age(instance.created, now)) / 3600)


def _age(created: float, now: float) -> int:
    return int(max(0.0, now - created)) if created else 0


def _machine_said(instance: Instance) -> str:
    """ "spot n1-standard-4 + 2 x T4": GPUs that the type brings are not said again."""
    how = "" if instance.model in ("", "STANDARD") else f"{instance.model.lower()} "
    attached = instance.accelerators if instance.machine_type.startswith(("n1-", "custom-")) else ()
    gpus = [f"{f'{count} x ' if count > 1 else ''}{gpu_said(kind)}" for kind, count in attached]
    return how + " + ".join([instance.machine_type, *gpus])


def _outlived(disk: Json, sweep: str | None) -> bool:
    """Whether nobody uses the disk and it is a sweep's: by its label, or by a name that only our VMs' disks have."""
    if disk.get("users") or not disk.get("zone"):
        return False
    labelled = disk.get("labels", {}).get(SWEEP_LABEL)
    if labelled:
        return sweep in (None, labelled)
    of = sweep_of(disk["name"])
    # Of all sweeps only the names that we give: "hg-" may well begin the name of somebody else's disk.
    return of is not None and (of == sweep if sweep else names.is_sweep_name(of))


def _disk(listed: Json, now: float) -> Leftover:
    zone, kind = listed["zone"].rpartition("/")[2], listed.get("type", "").rpartition("/")[2]
    labels, size_gb = listed.get("labels", {}), int(listed.get("sizeGb", 0))
    hourly = disk_hourly(kind, size_gb, region_of(zone))
    created = since_epoch(listed.get("creationTimestamp", ""))
    return Leftover(
        kind=Kind.DISK,
        name=listed["name"],
        where=zone,
        sweep=labels.get(SWEEP_LABEL) or sweep_of(listed["name"]) or "",
        status=listed.get("status", ""),
        what=f"{size_gb} GB {kind}",
        created=created,
        hourly=hourly,
        spent=None if hourly is None else prices.rounded(hourly * _age(created, now) / 3600),
        owner=labels.get(OWNER_LABEL, ""),
    )


def _address(listed: Json, now: float) -> Leftover:
    created = since_epoch(listed.get("creationTimestamp", ""))
    labels, status = listed.get("labels", {}), listed.get("status", "")
    # One in use is on its VM's bill; internal ones cost nothing.
    idle = status == "RESERVED" and listed.get("addressType") != "INTERNAL"
    hourly = IDLE_ADDRESS if idle else Decimal(0)
    return Leftover(
        kind=Kind.ADDRESS,
        name=listed["name"],
        where=listed.get("region", "").rpartition("/")[2] or "global",
        sweep=labels.get(SWEEP_LABEL, ""),
        status=status,
        what=listed.get("address", ""),
        created=created,
        hourly=hourly,
        spent=prices.rounded(hourly * _age(created, now) / 3600),
        owner=labels.get(OWNER_LABEL, ""),
    )


def _disk_types(disks: Iterable[Json]) -> dict[str, str]:
    return {_tail(disk.get("selfLink", "")): disk.get("type", "").rpartition("/")[2] for disk in disks}


def _tail(link: str) -> str:
    """ "zones/us-central1-a/disks/hg-calm-otter-0" """
    return "/".join(link.split("/")[-4:])


def _by_number(name: str) -> list[tuple[int, str]]:
    """hg-calm-otter-2 before hg-calm-otter-10."""
    return [(int(part) if part.isdigit() else -1, part) for part in re.split(r"(\d+)", name)]
