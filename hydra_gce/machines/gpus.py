"""Which machine a GPU needs: some are attached to N1, most come with machine types of their own."""

from __future__ import annotations

import re
from decimal import Decimal

from hydra_gce import catalog
from hydra_gce.errors import ConfigError
from hydra_gce.machines.shapes import Shape, shape_of
from hydra_gce.machines.words import an, either, nearest, one_of

GPU = "hydra.launcher.vm.gpu"
COUNT = "hydra.launcher.vm.gpu_count"

# The host of attached GPUs, unless one is asked for: 4 vCPUs for each, which all of them allow.
N1_VCPUS_PER_GPU = 4

# Types that the catalogue knows but that are not taken unless asked for by name: they stand in few places, or
# lack the local SSDs of their siblings.
ONLY_BY_NAME = re.compile(r"a3-edgegpu-.*|.*-nolssd")


def gpu_named(name: str) -> str:
    """The catalogue's name of a GPU that a person wrote in some way: "tesla-t4", "A100-40GB", "nvidia-l4"."""
    key = _key(name)
    spellings = {
        _key(spelling): gpu.name
        for gpu in catalog.gpus().values()
        for spelling in (gpu.name, gpu.accelerator, *gpu.also_called)
    }
    if key in spellings:
        return spellings[key]
    if key == "K80":
        raise ConfigError(f"{GPU}: Compute Engine has no K80 any more. A T4 is the nearest: vm.gpu=T4.")
    close = nearest(name.upper(), catalog.gpus())
    raise ConfigError(
        f"{GPU}: Compute Engine has no GPU '{name}'. The nearest are {either(close)}; "
        f"there are {one_of(catalog.gpus())}."
    )


def _key(name: str) -> str:
    return re.sub(r"NVIDIA|TESLA|[^A-Z0-9]", "", name.upper())


def is_attachable(gpu: str) -> bool:
    """True for the GPUs that are attached to N1 machines."""
    return gpu in catalog.attachable()


def types_with(gpu: str) -> list[Shape]:
    """Machine types that bring this GPU, whole ones, fewest and smallest first."""
    shapes = [shape_of(name) for name, parts in catalog.machine_parts().items() if parts.gpu == gpu]
    return sorted(shapes, key=lambda s: (s.gpu_count, s.vcpus, bool(ONLY_BY_NAME.fullmatch(s.name)), s.name))


def counts_of(gpu: str) -> list[int]:
    """How many of this GPU one VM can have."""
    if is_attachable(gpu):
        return sorted(catalog.attachable()[gpu])
    return sorted({int(shape.gpu_count) for shape in types_with(gpu) if shape.gpu_count >= 1})


def check_count(gpu: str, count: int) -> None:
    """ConfigError where no VM can have so many of this GPU."""
    counts = counts_of(gpu)
    if count not in counts:
        fitting = min(counts, key=lambda n: (n < count, abs(n - count)))
        raise ConfigError(
            f"{COUNT}: a VM can have {either(counts)} of the {gpu}, not {count}. "
            f"The nearest is vm.gpu_count={fitting}."
        )


def smallest_for(gpu: str, count: int) -> Shape:
    """The machine type that is taken when only the GPU is asked for."""
    check_count(gpu, count)
    if is_attachable(gpu):
        return shape_of(f"n1-standard-{N1_VCPUS_PER_GPU * count}")
    fitting = [shape for shape in types_with(gpu) if shape.gpu_count == count]
    return next((shape for shape in fitting if not ONLY_BY_NAME.fullmatch(shape.name)), fitting[0])


def check_together(gpu: str, count: int | None, shape: Shape) -> int | Decimal:
    """How many GPUs the VM will have when a GPU and a machine type are both asked for.

    ConfigError where the two exclude each other: what fits, and what is taken without the machine type.
    """
    if is_attachable(gpu):
        _check_attached(gpu, count or 1, shape)
        return count or 1
    if shape.gpu != gpu:
        instead = smallest_for(gpu, count or counts_of(gpu)[0])
        raise ConfigError(
            f"hydra.launcher.vm: {an(gpu)} cannot be attached to {shape.name} "
            f"({gpu}s come with {_families(gpu)}). Leave vm.machine_type out and {instead.name} is taken."
        )
    if count is not None and count != shape.gpu_count:
        raise ConfigError(_wrong_count(gpu, count, shape))
    return shape.gpu_count


def _check_attached(gpu: str, count: int, shape: Shape) -> None:
    check_count(gpu, count)
    instead = f"Leave vm.machine_type out and {smallest_for(gpu, count).name} is taken."
    if shape.family != "n1" or shape.shared_core:
        raise ConfigError(
            f"hydra.launcher.vm: {an(gpu)} cannot be attached to {shape.name} ({gpu}s are attached to "
            f"n1-standard-*, n1-highmem-*, n1-highcpu-* and custom N1 types). {instead}"
        )
    vcpus, memory = catalog.attachable()[gpu][count]
    if shape.vcpus > vcpus or shape.memory_gb > memory:
        enough = [
            n
            for n, (most_vcpus, most_memory) in sorted(catalog.attachable()[gpu].items())
            if shape.vcpus <= most_vcpus and shape.memory_gb <= most_memory
        ]
        more = f" With vm.gpu_count={enough[0]} {shape.name} fits." if enough else ""
        raise ConfigError(
            f"hydra.launcher.vm: {shape.name} ({shape.vcpus} vCPUs, {float(shape.memory_gb):g} GB) is too "
            f"large for {count} x {gpu}: at most {vcpus} vCPUs and {memory} GB.{more} {instead}"
        )


def _wrong_count(gpu: str, count: int, shape: Shape) -> str:
    brings = f"{COUNT}: {shape.name} brings {shape.gpu_count:g} x {gpu}, not {count}. "
    if shape.gpu_count < 1:
        return f"{brings}Leave vm.gpu and vm.gpu_count out to take such a part of a GPU."
    say = f"Say vm.gpu_count={shape.gpu_count:g}"
    if count in counts_of(gpu):
        return f"{brings}{say}, or vm.machine_type={smallest_for(gpu, count).name}."
    return f"{brings}{say}."


def _families(gpu: str) -> str:
    """ "a2-highgpu-*, a2-megagpu-16g" """
    lines: dict[str, list[str]] = {}
    for shape in types_with(gpu):
        lines.setdefault(shape.name.rsplit("-", 1)[0], []).append(shape.name)
    return one_of(names[0] if len(names) == 1 else f"{line}-*" for line, names in lines.items())
