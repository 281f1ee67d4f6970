"""Machine types: predefined ones from the catalogue, custom ones from the rules of their family."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from hydra_gce import catalog
from hydra_gce.errors import ConfigError
from hydra_gce.machines.words import either, nearest, one_of

FIELD = "hydra.launcher.vm.machine_type"

ARM_FAMILIES = frozenset({"t2a", "c4a", "n4a", "a4x"})
"""Families that run Arm code only: their images differ."""

HYPERDISK_ONLY = frozenset(
    {"a4", "a4x", "c4", "c4a", "c4d", "c4n", "g4", "h4d", "m4", "m4n", "n4", "n4a", "n4d", "x4"}
)
"""Families without Persistent Disk: https://cloud.google.com/compute/docs/disks/hyperdisks"""

TAKES_HYPERDISK_BALANCED = HYPERDISK_ONLY | {"a3", "c3", "c3d", "h3", "m1", "m2", "m3", "z3"}


@dataclass(frozen=True)
class Shape:
    """What one machine type is. `billed_*` differ from what it shows for shared cores.

    gpu, gpu_count: what it brings; an eighth of a GPU is 0.125.
    extended_gb: memory above what its family gives to so many vCPUs, of a custom type with "-ext".
    """

    name: str
    family: str
    vcpus: int
    memory_gb: Decimal
    regions: tuple[str, ...]
    gpu: str | None
    gpu_count: Decimal
    local_ssd_gb: int
    billed_vcpus: Decimal
    billed_gb: Decimal
    shared_core: bool = False
    custom: bool = False
    extended_gb: Decimal = Decimal(0)

    @property
    def architecture(self) -> str:
        """As images call it: X86_64 or ARM64."""
        return "ARM64" if self.family in ARM_FAMILIES else "X86_64"


@dataclass(frozen=True)
class CustomRule:
    """Which custom types a family allows; memory is in GB per vCPU, but for the limits of the whole VM.

    extended_up_to: GB of a VM with extended memory; None where the family has none.

    https://cloud.google.com/compute/docs/instances/creating-instance-with-custom-machine-type and, as code,
    https://cloud.google.com/compute/docs/samples/compute-custom-machine-type-helper-class
    """

    vcpus_allowed: Callable[[int], bool]
    vcpus_said: str
    least_gb: Decimal
    most_gb: Decimal
    extended_up_to: Decimal | None
    most_gb_in_all: Decimal | None = None


def _even_up_to(most: int, one: bool = False) -> Callable[[int], bool]:
    return lambda n: (one and n == 1) or (0 < n <= most and n % 2 == 0)


def _n2(n: int) -> bool:
    return (2 <= n <= 32 and n % 2 == 0) or (32 < n <= 128 and n % 4 == 0)


N2D_VCPUS = (2, 4, 8, 16, 32, 48, 64, 80, 96)

CUSTOM_RULES = {
    "n1": CustomRule(
        _even_up_to(96, one=True),
        "1 or an even number up to 96",
        Decimal("0.9"),
        Decimal("6.5"),
        Decimal(624),
    ),
    "e2": CustomRule(
        _even_up_to(32), "an even number up to 32", Decimal("0.5"), Decimal(8), None, Decimal(128)
    ),
    "n2": CustomRule(
        _n2,
        "an even number up to 32, then a multiple of 4 up to 128",
        Decimal("0.5"),
        Decimal(8),
        Decimal(640),
    ),
    "n2d": CustomRule(lambda n: n in N2D_VCPUS, one_of(N2D_VCPUS), Decimal("0.5"), Decimal(8), Decimal(768)),
    "n4": CustomRule(_even_up_to(80), "an even number up to 80", Decimal(2), Decimal(8), Decimal(640)),
    "n4a": CustomRule(
        _even_up_to(64, one=True), "1 or an even number up to 64", Decimal(2), Decimal(8), Decimal(512)
    ),
    "n4d": CustomRule(_even_up_to(96), "an even number up to 96", Decimal(2), Decimal(8), Decimal(768)),
}

# Shared-core custom types of E2: vCPUs billed, GB allowed.
E2_SHARED = {
    "micro": (Decimal("0.25"), 1, 2),
    "small": (Decimal("0.5"), 2, 4),
    "medium": (Decimal(1), 4, 8),
}

NOT_FOR_SWEEPS = {
    "ct": "it is a TPU machine",
    "tpu": "it is a TPU machine",
    "a4x": "Grace Blackwell machines come in whole racks, through Google's AI Hypercomputer only",
}

_CUSTOM = re.compile(r"(?:(?P<family>[a-z]\w*)-)?custom-(?P<vcpus>\w+)-(?P<mb>\d+)(?P<ext>-ext)?")


def shape_of(machine_type: str) -> Shape:
    """The shape of a predefined or custom machine type.

    ConfigError where Compute Engine has no such type, or the custom type breaks its family's rules.
    """
    listed = catalog.machine_types().get(machine_type)
    if listed is None:
        return _custom_shape(machine_type)
    for prefix, why in NOT_FOR_SWEEPS.items():
        if re.match(rf"{prefix}\d*\w*-", machine_type) and machine_type.startswith(prefix):
            raise ConfigError(f"{FIELD}: {machine_type} cannot be used here: {why}.")
    parts = catalog.machine_parts().get(machine_type)
    return Shape(
        name=machine_type,
        family=machine_type.split("-")[0],
        vcpus=listed.vcpus,
        memory_gb=listed.memory_gb,
        regions=listed.regions,
        gpu=parts.gpu if parts else None,
        gpu_count=parts.gpu_count if parts else Decimal(0),
        local_ssd_gb=parts.local_ssd_gb if parts else 0,
        billed_vcpus=(parts and parts.billed_vcpus) or Decimal(listed.vcpus),
        billed_gb=(parts and parts.billed_gb) or listed.memory_gb,
        shared_core=listed.shared_core,
    )


def _custom_shape(machine_type: str) -> Shape:
    match = _CUSTOM.fullmatch(machine_type)
    if match is None:
        raise ConfigError(_unknown(machine_type))
    family = match["family"] or "n1"
    memory_mb = int(match["mb"])
    memory = Decimal(memory_mb) / 1024
    if family == "e2" and match["vcpus"] in E2_SHARED:
        return _e2_shared(machine_type, match["vcpus"], memory)
    rule = CUSTOM_RULES.get(family)
    if rule is None or not match["vcpus"].isdigit():
        families = one_of(f"{name}-custom-VCPUS-MB" for name in CUSTOM_RULES)
        raise ConfigError(
            f"{FIELD}: {machine_type} is no custom type that Compute Engine knows; these are: {families}."
        )
    vcpus = int(match["vcpus"])
    _check_custom(machine_type, family, rule, vcpus, memory_mb, bool(match["ext"]))
    listed = catalog.machine_types()
    like = listed.get(f"{family}-standard-2") or listed[f"{family}-standard-4"]
    return Shape(
        name=machine_type,
        family=family,
        vcpus=vcpus,
        memory_gb=memory,
        regions=like.regions,
        gpu=None,
        gpu_count=Decimal(0),
        local_ssd_gb=0,
        billed_vcpus=Decimal(vcpus),
        billed_gb=memory,
        custom=True,
        extended_gb=max(Decimal(0), memory - vcpus * rule.most_gb),
    )


def _check_custom(
    machine_type: str, family: str, rule: CustomRule, vcpus: int, memory_mb: int, extended: bool
) -> None:
    problem = f"{FIELD}: {machine_type} is not allowed: "
    if not rule.vcpus_allowed(vcpus):
        raise ConfigError(
            f"{problem}{family.upper()} custom types have {rule.vcpus_said} vCPUs, not {vcpus}."
        )
    if extended and rule.extended_up_to is None:
        raise ConfigError(f"{problem}{family.upper()} has no extended memory. Leave -ext out.")
    least = _whole_256(rule.least_gb * vcpus)
    most = int(min(rule.most_gb * vcpus, rule.most_gb_in_all or rule.most_gb * vcpus) * 4) * 256
    fitting = min(max(_whole_256(Decimal(memory_mb) / 1024), least), most)
    suggestion = re.sub(r"-\d+(-ext)?$", f"-{fitting}", machine_type)
    if memory_mb % 256:
        raise ConfigError(f"{problem}the memory is in MB, a multiple of 256. The nearest is {suggestion}.")
    if extended and rule.extended_up_to and memory_mb > max(most, limit := int(rule.extended_up_to * 1024)):
        suggestion = suggestion.replace(str(fitting), f"{max(most, limit)}-ext")
        raise ConfigError(
            f"{problem}{family.upper()} goes up to {rule.extended_up_to} GB with extended memory. "
            f"The nearest is {suggestion}."
        )
    if memory_mb < least or (memory_mb > most and not extended):
        more = (
            f" (or {machine_type}-ext, extended memory)" if memory_mb > most and rule.extended_up_to else ""
        )
        raise ConfigError(
            f"{problem}{vcpus} vCPUs of {family.upper()} go with {least} to {most} MB. "
            f"The nearest is {suggestion}{more}."
        )


def _whole_256(gigabytes: Decimal) -> int:
    """MB, rounded up to the multiple of 256 that Compute Engine asks for."""
    return math.ceil(gigabytes * 4) * 256


def _e2_shared(machine_type: str, size: str, memory: Decimal) -> Shape:
    billed, least, most = E2_SHARED[size]
    if not least <= memory <= most:
        raise ConfigError(
            f"{FIELD}: {machine_type} is not allowed: e2-custom-{size} goes with {least * 1024} to "
            f"{most * 1024} MB."
        )
    return Shape(
        name=machine_type,
        family="e2",
        vcpus=2,
        memory_gb=memory,
        regions=catalog.machine_types()["e2-medium"].regions,
        gpu=None,
        gpu_count=Decimal(0),
        local_ssd_gb=0,
        billed_vcpus=billed,
        billed_gb=memory,
        shared_core=True,
        custom=True,
    )


def _unknown(machine_type: str) -> str:
    close = nearest(machine_type, catalog.machine_types())
    return f"{FIELD}: Compute Engine has no machine type '{machine_type}'. The nearest are {either(close)}."
