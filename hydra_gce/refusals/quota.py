"""Refusals for a quota: which, where, how much of it there is, and what follows."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hydra_gce.compute.quotas import SERVICE_METRICS, link
from hydra_gce.refusals.answer import Answer, value
from hydra_gce.refusals.refusal import Reach, Refusal

# QUOTA_EXCEEDED ends operations, quotaExceeded is the reason of HTTP answers; QUOTA_EXHAUSTED that of newer services.
# https://cloud.google.com/compute/docs/troubleshooting/troubleshooting-bulk-vm-creation
# https://cloud.google.com/compute/docs/troubleshooting/troubleshooting-reservation-creation ("in zone ZONE")
_CODES = {"QUOTA_EXCEEDED", "quotaExceeded", "QUOTA_EXHAUSTED"}
_METRIC = re.compile(r"[Qq]uota '([\w-]+)' (?:exceeded|exhausted)|resource \"(\w+)\": request requires")
_LIMIT = re.compile(r"Limit:? (\d+(?:\.\d+)?)|has a quota of '(\d+(?:\.\d+)?)'")
_REGION = re.compile(r"in region ([a-z]+-[a-z]+\d+)")
_ZONE = re.compile(r"in zone [a-z]+-[a-z]+\d+-\w+")
_PROJECT_WIDE = re.compile(r"ALL_REGIONS|\bglobally\b")

# Limits on requests go by the same words: "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute'".
# https://github.com/hashicorp/terraform-provider-google/issues/8360
RATE = r"for quota (?:metric|group)|[Rr]ate [Ll]imit|CONCURRENT_OPERATIONS_QUOTA|per (?:minute|second|\d+ seconds)"

# GPUs, CPUs and local SSDs are counted apart for spot and flex-start VMs, if the project has such a quota.
# https://cloud.google.com/compute/docs/instances/spot#quotas
_COUNTED_BY_MODEL = re.compile(r"^PREEMPTIBLE_|GPUS$|CPUS$|^LOCAL_SSD|_PER_(?:GPU|VM)_FAMILY$")
_FAMILIES = ("gpu_family", "vm_family")

_LESS = {
    "IN_USE_ADDRESSES": "or hydra.launcher.vm.external_ip=false, which takes no address (it needs Cloud NAT)",
    "SSD_TOTAL_GB": "or a smaller hydra.launcher.vm.disk_gb, or hydra.launcher.vm.disk_type=pd-standard",
    "DISKS_TOTAL_GB": "or a smaller hydra.launcher.vm.disk_gb",
    "HDB_TOTAL_GB": "or a smaller hydra.launcher.vm.disk_gb",
}
_PREEMPTIBLE_LESS = "or hydra.launcher.vm.provisioning=standard, which has a quota of its own"


@dataclass(frozen=True)
class Exceeded:
    """The quota that an error tells of. ``family``: of which GPUs or machines, where one metric is for all of them."""

    metric: str | None
    limit: float | None
    region: str | None
    reach: Reach
    family: str = ""

    @property
    def name(self) -> str:
        name = f"quota {self.metric}" if self.metric else "a quota"
        return f"{name} for {self.family}" if self.family else name


def refusal(answer: Answer) -> Refusal | None:
    """None where it is not about a quota of resources."""
    if re.search(RATE, answer.text) or not (_CODES & set(answer.codes) or _METRIC.search(answer.text)):
        return None
    quota = _exceeded(answer)
    return Refusal(
        code=answer.codes[0] if answer.codes else "QUOTA_EXCEEDED",
        message=answer.message,
        reach=quota.reach,
        quota=True,
        may_pass=quota.limit != 0,
        for_all_models=not (quota.metric and _is_counted_by_model(quota.metric)),
        metric=quota.metric,
        region=quota.region,
        limit=quota.limit,
        short=_short(quota),
        advice=_advice(quota, answer.project),
    )


def _exceeded(answer: Answer) -> Exceeded:
    info = next(answer.parts("quotaInfo"), {})
    dimensions = value(info, "dimensions") or {}
    named = value(info, "metricName")
    metric = _group(_METRIC, answer.text) or (_as_in_console(str(named)) if named else None)
    told = value(info, "limit")
    limit = _group(_LIMIT, answer.text)
    region = dimensions.get("region") or _group(_REGION, answer.text)
    return Exceeded(
        metric=metric,
        limit=float(told) if told is not None else float(limit) if limit else None,
        region=region,
        reach=_reach(answer.text, metric or "", dimensions),
        family=next((str(dimensions[one]) for one in _FAMILIES if dimensions.get(one)), ""),
    )


def _reach(text: str, metric: str, dimensions: object) -> Reach:
    in_dimensions = dimensions if isinstance(dimensions, dict) else {}
    if _PROJECT_WIDE.search(f"{metric} {text}"):
        return Reach.EVERYWHERE
    if "zone" in in_dimensions or _ZONE.search(text):
        return Reach.ZONE
    if in_dimensions.get("global") and not in_dimensions.get("region"):
        return Reach.EVERYWHERE
    return Reach.REGION


def _short(quota: Exceeded) -> str:
    if quota.limit == 0:
        return f"{quota.name} is 0"
    return f"{quota.name} is used up" + (f" (limit {quota.limit:g})" if quota.limit is not None else "")


def _advice(quota: Exceeded, project: str | None) -> str:
    where = f" in {quota.region}" if quota.region else ""
    page = "https://console.cloud.google.com/iam-admin/quotas"
    if project and quota.metric:
        page = link(project, quota.metric, quota.region)
    elif project:
        page = f"{page}?project={project}"
    metric = quota.metric or "it"
    asked = f"ask for more of {metric}{f' for {quota.family}' if quota.family else ''}{where}: {page}"
    other = _PREEMPTIBLE_LESS if metric.startswith("PREEMPTIBLE_") else _LESS.get(metric, "")
    return f"{asked} {other}".rstrip()


def _is_counted_by_model(metric: str) -> bool:
    return not metric.endswith("_ALL_REGIONS") and bool(_COUNTED_BY_MODEL.search(metric))


def _as_in_console(service_metric: str) -> str:
    """ "compute.googleapis.com/nvidia_t4_gpus" -> "NVIDIA_T4_GPUS" """
    name = service_metric.rpartition("/")[2]
    return next((metric for metric, other in SERVICE_METRICS.items() if other == name), name.upper())


def _group(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.search(text)
    return next((one for one in found.groups() if one), None) if found else None
