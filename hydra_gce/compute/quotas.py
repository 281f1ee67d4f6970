"""What a project may have of Compute Engine and what it uses: which places a VM does not fit into, and why.

    quotas = read(backend)                       # two requests; never raises, knows less instead
    room(candidate, quotas)                      # how many such VMs fit; None where nothing is known
    shortage(candidate, quotas)                  # the quota that is in the way, with a link; None where none is

Only what is certain is told: a place that is left out although it would do is worse than one refusal more.
So families and GPUs whose quota is in no list of the Compute Engine API need none here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from hydra_gce.cloud.backend import Backend
    from hydra_gce.machines import Candidate

# N1 counts as CPUS, the families below as quotas of their own; the vCPUs of newer ones are counted by
# CPUS_PER_VM_FAMILY, which only the Cloud Quotas API shows. The names are those of `Quota.metric` in the API.
# https://cloud.google.com/compute/resource-usage#cpu_quota
SHARED_CPUS = frozenset({"e2", "f1", "g1", "n1"})
OWN_CPUS = frozenset({"a2", "c2", "c2d", "c3", "m1", "m2", "m3", "n2", "n2d", "t2a", "t2d"})

# Newer families count their local SSDs by family, which only the Cloud Quotas API shows.
LOCAL_SSD_GB = 375
COUNTED_LOCAL_SSD = frozenset({"n1", "n2", "n2d", "c2", "c2d"})

DISKS = {
    "pd-standard": "DISKS_TOTAL_GB",
    "pd-balanced": "SSD_TOTAL_GB",
    "pd-ssd": "SSD_TOTAL_GB",
    "hyperdisk-balanced": "HDB_TOTAL_GB",
}

# Where the service's own name of a metric is not the API's in small letters.
SERVICE_METRICS = {
    "DISKS_TOTAL_GB": "disks_total_storage",
    "IN_USE_ADDRESSES": "regional_in_use_addresses",
    "LOCAL_SSD_TOTAL_GB": "local_ssd_total_storage",
    "SSD_TOTAL_GB": "ssd_total_storage",
}

# A limit of 0 says of these that none was granted, and that spot VMs count as standard ones. Of GPUs it is
# enforced as it stands ("Quota 'PREEMPTIBLE_NVIDIA_T4_GPUS' exceeded. Limit: 0.0"), and so it is of E2_CPUS.
# https://cloud.google.com/compute/docs/instances/spot#quotas
ZERO_IS_NOT_GRANTED = frozenset({"PREEMPTIBLE_CPUS", "PREEMPTIBLE_LOCAL_SSD_GB"})

# Where there is no deadline, a firewall that drops packets holds up a sweep for ten minutes.
DEADLINE_S = 20.0


@dataclass(frozen=True)
class Quota:
    """Of one metric: what is allowed at a time, and what is in use now."""

    limit: float
    used: float

    @property
    def left(self) -> float:
        return max(0.0, self.limit - self.used)


@dataclass(frozen=True)
class Quotas:
    """A project's quotas as they were when they were read: plain values, fit to be sent to another process.

    regions: region -> metric -> quota. everywhere: those of the project as a whole.
    unknown: a sentence that says what could not be read, and why; None where all of it was.
    """

    project: str
    regions: Mapping[str, Mapping[str, Quota]] = field(default_factory=dict)
    everywhere: Mapping[str, Quota] = field(default_factory=dict)
    unknown: str | None = None

    def of(self, metric: str, region: str | None) -> Quota | None:
        """The quota of a region, or of the whole project with region=None; None where it is not known."""
        table = self.everywhere if region is None else self.regions.get(region, {})
        return table.get(metric)


@dataclass(frozen=True)
class Need:
    """What one VM counts as. region: None for a quota of the whole project.

    otherwise: the metrics that it counts as where the project has no quota of `metric`, first come first.
    """

    metric: str
    amount: float
    region: str | None = None
    otherwise: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shortage:
    """The quota that is in the way. needed: what all of the VMs asked about count as.

    may_pass: one such VM would fit if others gave way; without it no waiting helps.
    link: the page of Google's console on which to ask for more.
    """

    metric: str
    region: str | None
    limit: float
    used: float
    needed: float
    may_pass: bool
    link: str

    def __str__(self) -> str:
        """ "NVIDIA_T4_GPUS is 0 in us-central1" """
        where = f"in {self.region}" if self.region else "in the whole project"
        if self.limit == 0:
            return f"{self.metric} is 0 {where}"
        in_use = f", {self.used:g} in use" if self.used else ""
        return f"{self.metric} is {self.limit:g} {where}{in_use}, {self.needed:g} needed"


def read(backend: Backend) -> Quotas:
    """The project's quotas, by two requests. What cannot be read is not known; nothing is raised for it."""
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from requests.exceptions import RequestException

    project = backend.project
    regions: dict[str, dict[str, Quota]] = {}
    everywhere: dict[str, Quota] = {}
    unknown: str | None = None
    try:
        everywhere = _table(backend.projects.get(project=project, timeout=DEADLINE_S).quotas)
        for region in backend.regions.list(project=project, timeout=DEADLINE_S):
            if region.quotas:  # empty where Compute Engine could not fetch them: Region.quotaStatusWarning
                regions[region.name] = _table(region.quotas)
            else:
                unknown = f"Compute Engine did not tell the quotas of all regions of project {project}."
    except (GoogleAPIError, GoogleAuthError, RequestException) as error:
        said = str(getattr(error, "message", None) or error).strip().splitlines() or [type(error).__name__]
        unknown = f"The quotas of project {project} could not be read ({said[0][:200]})."
    return Quotas(project, regions, everywhere, unknown)


def needs(candidate: Candidate, *, disk_gb: int = 0, external_ip: bool | None = None) -> list[Need]:
    """What one VM of this kind counts as, of the quotas that the Compute Engine API lists.

    :param disk_gb: the boot disk's size; 0 leaves it out.
    :param external_ip: whether it has an address on the internet; None = where its price is in the candidate's.
    """
    from hydra_gce.machines import ProvisioningModel

    shape, region = candidate.shape, candidate.region
    spot = candidate.model in (ProvisioningModel.SPOT, ProvisioningModel.FLEX_START)
    found = [Need("INSTANCES", 1, region), *_cpus(shape.family, shape.vcpus, region, spot)]
    if candidate.gpu_quota and candidate.gpu_count:
        standard = candidate.gpu_quota.removeprefix("PREEMPTIBLE_")
        otherwise = (standard,) if standard != candidate.gpu_quota else ()
        found.append(Need(candidate.gpu_quota, candidate.gpu_count, region, otherwise))
        found.append(Need("GPUS_ALL_REGIONS", candidate.gpu_count))
    if candidate.price.address > Decimal(0) if external_ip is None else external_ip:
        found.append(Need("IN_USE_ADDRESSES", 1, region))
    local_ssd_gb = shape.local_ssd_gb + LOCAL_SSD_GB * candidate.local_ssds
    if local_ssd_gb and shape.family in COUNTED_LOCAL_SSD:
        metrics = ["PREEMPTIBLE_LOCAL_SSD_GB"] * spot + ["LOCAL_SSD_TOTAL_GB"]
        found.append(Need(metrics[0], local_ssd_gb, region, tuple(metrics[1:])))
    if disk_gb and candidate.disk_type in DISKS:
        found.append(Need(DISKS[candidate.disk_type], disk_gb, region))
    return found


def shortage(
    candidate: Candidate,
    quotas: Quotas,
    vms: int = 1,
    *,
    disk_gb: int = 0,
    external_ip: bool | None = None,
) -> Shortage | None:
    """The quota that so many of these VMs would pass, those that never can be met first; None where all fit.

    What is not known is taken to be enough: Compute Engine itself has the last word.
    """
    found = []
    for need in needs(candidate, disk_gb=disk_gb, external_ip=external_ip):
        metric, quota = _counted(need, quotas)
        if quota is not None and quota.used + need.amount * vms > quota.limit:
            found.append(
                Shortage(
                    metric=metric,
                    region=need.region,
                    limit=quota.limit,
                    used=quota.used,
                    needed=need.amount * vms,
                    may_pass=need.amount <= quota.limit,
                    link=link(quotas.project, metric, need.region),
                )
            )
    return min(found, key=lambda one: one.may_pass, default=None)


def room(
    candidate: Candidate, quotas: Quotas, *, disk_gb: int = 0, external_ip: bool | None = None
) -> int | None:
    """How many such VMs fit into what is left of the quotas; None where none of them is known."""
    fits = [
        math.floor(quota.left / need.amount)
        for need in needs(candidate, disk_gb=disk_gb, external_ip=external_ip)
        if (quota := _counted(need, quotas)[1]) is not None
    ]
    return min(fits, default=None)


def link(project: str, metric: str, region: str | None) -> str:
    """The page of Google's console that shows this quota alone, and where more of it can be asked for.

    The console writes its filter into the address. Google documents no form for that: it was read off public pages
    that link there. Where the console does not understand it (any more), it shows all quotas of the project.
    """
    service_metric = f"compute.googleapis.com/{SERVICE_METRICS.get(metric, metric.lower())}"
    filters = [_filter("Metric", "metricName", service_metric)]
    if region:
        filters.append(_filter("Dimensions (e.g. location)", "displayDimensions", f"region:{region}"))
    state = quote(f"%5B{'_2C'.join(filters)}%5D", safe="().~-_")
    return (
        f"https://console.cloud.google.com/iam-admin/quotas?project={quote(project)}"
        f"&pageState=(%22allQuotasTable%22:(%22f%22:%22{state}%22))"
    )


def _filter(name: str, column: str, value: str) -> str:
    """One filter of the console's table: JSON in which quotes, colons and the like are _22, _3A and so on."""
    exact = f'\\"{value}\\"'
    fields = (f'"k":"{name}"', '"t":10', f'"v":"{exact}"', '"s":true', f'"i":"{column}"')
    return f"%7B{','.join(fields)}%7D".translate(_CONSOLE_SIGNS)


# An underscore of the text itself is written out too: "_A1" would be read as a sign.
_CONSOLE_SIGNS = str.maketrans(
    {"_": "_5F", '"': "_22", ":": "_3A", ",": "_2C", "\\": "_5C"} | {sign: quote(sign, safe="") for sign in " /"}
    | {"(": "%28", ")": "%29"}
)  # fmt: skip


def _cpus(family: str, vcpus: int, region: str, spot: bool) -> list[Need]:
    if family not in SHARED_CPUS | OWN_CPUS:
        return []
    metric = "CPUS" if family in SHARED_CPUS else f"{family.upper()}_CPUS"
    metrics = ["E2_CPUS", metric] if family == "e2" else [metric]  # newer projects have E2_CPUS
    if spot:
        metrics.insert(0, "PREEMPTIBLE_CPUS")
    return [Need(metrics[0], vcpus, region, tuple(metrics[1:])), Need("CPUS_ALL_REGIONS", vcpus)]


def _counted(need: Need, quotas: Quotas) -> tuple[str, Quota | None]:
    """The metric that the need counts as in this project, and its quota; None where it has none of them."""
    for metric in (need.metric, *need.otherwise):
        quota = quotas.of(metric, need.region)
        if quota is not None and not (quota.limit == 0 and metric in ZERO_IS_NOT_GRANTED):
            return metric, quota
    return need.metric, None


def _table(quotas: Any) -> dict[str, Quota]:
    return {one.metric: Quota(one.limit, one.usage) for one in quotas}
