"""Makes the price tables of hydra_gce/catalog from public facts.

    python scripts/make_catalog.py pricing.yml

`pricing.yml` comes from github.com/Cyclenerd/google-cloud-pricing-cost-calculator (Apache-2.0): prices of
whole VMs by type and region. Google bills a VM by its parts, so those prices are taken apart again: a rate
per vCPU, per GB and per GPU, from which every price of the source follows to a millionth of a dollar, and
those of custom types too. What that file has not (T4, P4, V100, P100, H200, B200, and the share of the host
in A3) is typed off github.com/skypilot-org/skypilot-catalog into scripts/catalog_sources/.
hydra_gce/catalog/README.md says what comes from where.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

CATALOG = Path(__file__).resolve().parent.parent / "hydra_gce" / "catalog"
TYPED_OFF = Path(__file__).resolve().parent / "catalog_sources"
HOURS_A_MONTH = 730  # Google's month: https://cloud.google.com/compute/all-pricing

MODELS = ("hour", "hour_spot")
GPU_KEYS = {
    "a100": "A100", "a100-80gb": "A100-80GB", "h100-80gb": "H100", "h100-80gb-mega": "H100-MEGA",
    "l4": "L4", "rtx6000": "RTX-PRO-6000",
}  # fmt: skip
NOT_IN_SOURCE = {
    "a3-edgegpu-8g": ("H100", 8, 6000), "a3-edgegpu-8g-nolssd": ("H100", 8, 0),
    "a3-ultragpu-8g": ("H200", 8, 12000), "a3-ultragpu-8g-nolssd": ("H200", 8, 0),
    "a4-highgpu-8g": ("B200", 8, 12000),
}  # fmt: skip
# An A3 type's vCPUs and memory stand in one proportion, so their rates cannot be solved for. a3-highgpu-1g
# and a3-ultragpu-8g of the same region (us-west1) give both: 26 c + 234 m = 1.18251, 224 c + 2952 m = 12.266.
A3_VCPU_TO_GB = 11.48
# Of all the families whose rates can be solved for, this is the proportion of the vCPU's price to the GB's.
USUAL_VCPU_TO_GB = 7.46

Rates = dict[str, float]
Key = tuple[str, str]


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("pricing", type=Path, help="pricing.yml of google-cloud-pricing-cost-calculator")
    source = yaml.load(
        arguments.parse_args().pricing.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    )
    machines = {name: m for name, m in source["compute"]["instance"].items() if "cost" in m}
    disks = source["compute"]["storage"]

    hosts = solve_families(machines, disks)
    hosts |= {("n1-custom", region): rates for (family, region), rates in hosts.items() if family == "custom"}
    hosts = {key: rates for key, rates in hosts.items() if key[0] != "custom"}
    gpus: dict[Key, Rates] = {}
    take_apart_a2(machines, disks, hosts, gpus)
    take_apart_g2(machines, hosts, gpus)
    take_apart_g4(machines, hosts, gpus)
    take_apart_a3(machines, disks, hosts, gpus)
    basis = dict.fromkeys(gpus, "cyclenerd")
    add_typed_off_gpus(gpus, basis)

    parts = machine_parts(machines)
    exceptions = list(types_off_the_line(machines, disks, hosts, gpus, parts))
    write("host-rates.csv", ["family", "region", "vcpu", "gb", "vcpu_spot", "gb_spot"], host_rows(hosts))
    write("gpu-rates.csv", ["gpu", "region", "hour", "hour_spot", "basis"], gpu_rows(gpus, basis))
    write("type-rates.csv", ["machine_type", "region", "hour", "hour_spot"], exceptions)
    write("disk-rates.csv", ["disk_type", "region", "gb_month", "gb_month_spot", "basis"], disk_rows(disks))
    write(
        "machine-parts.csv",
        ["machine_type", "gpu", "gpu_count", "local_ssd_gb", "billed_vcpus", "billed_gb"],
        ([name, *part] for name, part in parts.items()),
    )
    write("gpu-zones.csv", ["gpu", "zone"], gpu_zone_rows())
    write("address-rates.csv", ["region", "hour"], address_rows(source["compute"]["network"]["ip"]["vm"]))


def price_of(machines: Mapping[str, Any], name: str, region: str, model: str) -> float | None:
    value = machines[name]["cost"].get(region, {}).get(model) if name in machines else None
    return float(value) if value else None


def ssd_hour(machine: str, gigabytes: float, disks: Mapping[str, Any], region: str, model: str) -> float:
    """What the local SSDs that come with a type cost an hour."""
    cost = disks[local_ssd_kind(machine)]["cost"].get(region, {})
    return gigabytes * float(cost.get("month_spot" if model == "hour_spot" else "month", 0)) / HOURS_A_MONTH


def local_ssd_kind(machine: str) -> str:
    family = machine.split("-")[0]
    return f"local-{family}" if family in ("c4", "c4a", "c4d") else "local"


def solve_families(machines: Mapping[str, Any], disks: Mapping[str, Any]) -> dict[Key, Rates]:
    """Rates of the families without GPUs: least squares over their types, exact where prices are linear."""
    shapes: dict[str, list[tuple[str, float, float, float]]] = defaultdict(list)
    for name, machine in machines.items():
        if not GPU_KEYS.keys() & machine.keys() and name not in ("f1-micro", "g1-small", "m4-ultramem-224"):
            shape = (name, float(machine["cpu"]), float(machine["ram"]), float(machine.get("local-ssd", 0)))
            shapes[name.split("-")[0]].append(shape)
    rates: dict[Key, Rates] = defaultdict(dict)
    for family, members in shapes.items():
        regions = {region for name, *_ in members for region in machines[name]["cost"]}
        for region in regions:
            for model in MODELS:
                rows = [
                    (cpu, ram, price - ssd_hour(name, ssd, disks, region, model))
                    for name, cpu, ram, ssd in members
                    if (price := price_of(machines, name, region, model))
                ]
                if rows:
                    a = np.array([row[:2] for row in rows])
                    y = np.array([row[2] for row in rows])
                    if np.linalg.matrix_rank(a, tol=1e-6) == 1:
                        store(
                            rates,
                            (family, region),
                            model,
                            split(float(y[0]), float(a[0][0]), float(a[0][1]), USUAL_VCPU_TO_GB),
                        )
                        continue
                    # Weighted by the price, so that the small types count as much as the large ones.
                    solution, *_ = np.linalg.lstsq(a / y[:, None], np.ones(len(y)), rcond=None)
                    store(rates, (family, region), model, (float(solution[0]), float(solution[1])))
    return dict(rates)


def split(price: float, vcpus: float, gigabytes: float, vcpu_to_gb: float) -> tuple[float, float]:
    """(a vCPU's, a GB's) share of a price, in the given proportion."""
    gb = price / (vcpus * vcpu_to_gb + gigabytes)
    return vcpu_to_gb * gb, gb


def store(rates: dict[Key, Rates], key: Key, model: str, solved: tuple[float, float]) -> None:
    suffix = "_spot" if model == "hour_spot" else ""
    entry = rates.setdefault(key, {})
    entry["vcpu" + suffix], entry["gb" + suffix] = round(solved[0], 9), round(solved[1], 9)


def host_hour(
    hosts: Mapping[Key, Rates], key: Key, vcpus: float, gigabytes: float, model: str
) -> float | None:
    suffix = "_spot" if model == "hour_spot" else ""
    rates = hosts.get(key, {})
    if "vcpu" + suffix not in rates:
        return None
    return vcpus * rates["vcpu" + suffix] + gigabytes * rates["gb" + suffix]


def take_apart_a2(
    machines: Mapping[str, Any], disks: Mapping[str, Any], hosts: dict[Key, Rates], gpus: dict[Key, Rates]
) -> None:
    """a2-megagpu-16g has half the vCPUs per GPU of a2-highgpu-1g: their difference is six vCPUs."""
    for region in machines["a2-highgpu-1g"]["cost"]:
        for model in MODELS:
            high = price_of(machines, "a2-highgpu-1g", region, model)
            mega = price_of(machines, "a2-megagpu-16g", region, model)
            if not high or not mega:
                continue
            vcpu = (high - mega / 16) / 6
            store(hosts, ("a2", region), model, (vcpu, vcpu / USUAL_VCPU_TO_GB))
            n1 = hosts[("n1", region)]
            if (
                model == "hour" and abs(vcpu - n1["vcpu"]) < 1e-6
            ):  # on demand, A2's vCPUs and GBs cost what N1's do
                store(hosts, ("a2", region), model, (n1["vcpu"], n1["gb"]))
            host = host_hour(hosts, ("a2", region), 12, 85, model)
            assert host is not None
            gpus.setdefault(("A100", region), {})[model] = high - host
            ultra = price_of(machines, "a2-ultragpu-1g", region, model)
            if ultra:
                host = host_hour(hosts, ("a2", region), 12, 170, model) or 0
                ssd = ssd_hour("a2-ultragpu-1g", 375, disks, region, model)
                gpus.setdefault(("A100-80GB", region), {})[model] = ultra - host - ssd


def take_apart_g2(machines: Mapping[str, Any], hosts: dict[Key, Rates], gpus: dict[Key, Rates]) -> None:
    """g2-standard-4 and -8 have one GPU each: their difference is 4 vCPUs and 16 GB."""
    for region in machines["g2-standard-4"]["cost"]:
        for model in MODELS:
            four, eight = (price_of(machines, f"g2-standard-{n}", region, model) for n in (4, 8))
            if four and eight:
                store(hosts, ("g2", region), model, split(eight - four, 4, 16, USUAL_VCPU_TO_GB))
                host = host_hour(hosts, ("g2", region), 4, 16, model) or 0
                gpus.setdefault(("L4", region), {})[model] = four - host


def take_apart_g4(machines: Mapping[str, Any], hosts: dict[Key, Rates], gpus: dict[Key, Rates]) -> None:
    """Eight g4-standard-6 (an eighth of a GPU, 22 GB each) lack only 4 GB of a g4-standard-48."""
    for region in machines["g4-standard-48"]["cost"]:
        for model in MODELS:
            whole, eighth = (price_of(machines, f"g4-standard-{n}", region, model) for n in (48, 6))
            if whole and eighth:
                gb = (whole - 8 * eighth) / 4
                store(hosts, ("g4", region), model, (USUAL_VCPU_TO_GB * gb, gb))
                host = host_hour(hosts, ("g4", region), 48, 180, model) or 0
                gpus.setdefault(("RTX-PRO-6000", region), {})[model] = whole - host


def take_apart_a3(
    machines: Mapping[str, Any], disks: Mapping[str, Any], hosts: dict[Key, Rates], gpus: dict[Key, Rates]
) -> None:
    """The share of the host is typed off; what then remains, without local SSDs, is the GPU's."""
    eighths = {"a3-highgpu-1g": 1, "a3-edgegpu-8g": 8}
    for row in typed_off("gpu-host-prices.csv"):
        if row["machine_type"] in eighths:
            for model in MODELS:
                host = float(row[model]) / eighths[row["machine_type"]]
                store(hosts, ("a3", row["region"]), model, split(host, 26, 234, A3_VCPU_TO_GB))
    for gpu, name, count in (("H100", "a3-highgpu-1g", 1), ("H100-MEGA", "a3-megagpu-8g", 8)):
        for region in machines[name]["cost"]:
            for model in MODELS:
                whole = price_of(machines, name, region, model)
                rest = host_hour(hosts, ("a3", region), 26 * count, 234 * count, model)
                if whole and rest:
                    ssd = ssd_hour(name, 750 * count, disks, region, model)
                    gpus.setdefault((gpu, region), {})[model] = (whole - rest - ssd) / count


def add_typed_off_gpus(gpus: dict[Key, Rates], basis: dict[Key, str]) -> None:
    """Of GPUs that the Dynamic Workload Scheduler sells too, the source has its price in some regions.

    It is under half of the price on demand, the same in all regions, and in places below spot: left out.
    """
    rows = list(typed_off("gpu-list-prices.csv"))
    dearest: dict[str, float] = defaultdict(float)
    for row in rows:
        dearest[row["gpu"]] = max(dearest[row["gpu"]], float(row["hour"]))
    for row in rows:
        key = (row["gpu"], row["region"])
        for model in MODELS:
            if not row[model] or model in gpus.get(key, {}):
                continue
            scheduled = (
                row["gpu"] in ("B200", "H100-MEGA", "H200")
                and float(row["hour"]) < 0.75 * dearest[row["gpu"]]
            )
            if model == "hour" and scheduled:
                continue
            gpus.setdefault(key, {})[model] = float(row[model])
            basis.setdefault(key, "skypilot")


def machine_parts(machines: Mapping[str, Any]) -> dict[str, tuple[object, ...]]:
    """What a type brings beside vCPUs and memory, and where it is billed for other numbers than it shows."""
    listed = {row["name"]: row for row in csv.DictReader((CATALOG / "machine-types.csv").open())}
    parts: dict[str, tuple[object, ...]] = {}
    for name in listed:
        machine = machines.get(name, {})
        gpu = next((GPU_KEYS[key] for key in GPU_KEYS if key in machine), "")
        count: object = next((machine[key] for key in GPU_KEYS if key in machine), "")
        ssd: object = machine.get("local-ssd", "")
        if name in NOT_IN_SOURCE:
            gpu, count, ssd = NOT_IN_SOURCE[name]
        other = machine and float(machine["cpu"]) != float(listed[name]["vcpus"])
        billed = (machine["cpu"], machine["ram"]) if other else ("", "")
        if gpu or ssd or other:
            parts[name] = (gpu, count, ssd or "", *billed)
    return parts


def types_off_the_line(
    machines: Mapping[str, Any],
    disks: Mapping[str, Any],
    hosts: Mapping[Key, Rates],
    gpus: Mapping[Key, Rates],
    parts: Mapping[str, tuple[object, ...]],
) -> Iterable[list[object]]:
    """Types whose price does not follow from the rates, with their own; the proof that all others do."""
    for name, machine in machines.items():
        family = "n1-custom" if name.startswith("custom") else name.split("-")[0]
        gpu = next((GPU_KEYS[key] for key in GPU_KEYS if key in machine), None)
        count = next((float(machine[key]) for key in GPU_KEYS if key in machine), 0.0)
        for region in machine["cost"]:
            off = False
            for model in MODELS:
                price = price_of(machines, name, region, model)
                host = host_hour(hosts, (family, region), float(machine["cpu"]), float(machine["ram"]), model)
                gpu_hour = gpus.get((gpu, region), {}).get(model) if gpu else 0.0
                if price is None or (gpu and (host is None or gpu_hour is None)):
                    continue  # no machine of that kind stands in that region
                ssd = ssd_hour(name, float(machine.get("local-ssd", 0)), disks, region, model)
                off = (
                    off
                    or host is None
                    or abs(host + count * (gpu_hour or 0) + ssd - price) > 1e-6 * max(1, price)
                )
            if off:
                yield [name, region, *(number(price_of(machines, name, region, model)) for model in MODELS)]


def host_rows(hosts: Mapping[Key, Rates]) -> Iterable[list[object]]:
    for (family, region), rates in hosts.items():
        yield [family, region, *(number(rates.get(k)) for k in ("vcpu", "gb", "vcpu_spot", "gb_spot"))]


def gpu_rows(gpus: Mapping[Key, Rates], basis: Mapping[Key, str]) -> Iterable[list[object]]:
    for key, rates in gpus.items():
        yield [*key, *(number(rates.get(model)) for model in MODELS), basis[key]]


def disk_rows(disks: Mapping[str, Any]) -> Iterable[list[object]]:
    kinds = {"hdd": "pd-standard", "balanced": "pd-balanced", "ssd": "pd-ssd", "local": "local-ssd"}
    kinds |= {f"local-{family}": f"local-ssd-{family}" for family in ("c4", "c4a", "c4d")}
    for kind, disk_type in kinds.items():
        for region, cost in disks[kind]["cost"].items():
            if cost.get("month"):
                yield [disk_type, region, number(cost["month"]), number(cost.get("month_spot")), "cyclenerd"]
            if kind == "balanced" and cost.get("month"):
                # 0.08 against 0.10 dollars in us-central1; the source has no Hyperdisk Balanced.
                yield ["hyperdisk-balanced", region, number(0.8 * float(cost["month"])), "", "estimated"]


def address_rows(address: Mapping[str, Any]) -> Iterable[list[object]]:
    for region, cost in address["cost"].items():
        yield [region, number(cost["hour"])]


def gpu_zone_rows() -> Iterable[list[object]]:
    host_gpu = {"a2-highgpu-1g": "A100", "a2-ultragpu-1g": "A100-80GB", "a3-highgpu-1g": "H100",
                "a3-edgegpu-8g": "H100", "g2-standard-4": "L4"}  # fmt: skip
    for row in [*typed_off("gpu-list-prices.csv"), *typed_off("gpu-host-prices.csv")]:
        gpu = row.get("gpu") or host_gpu.get(row["machine_type"])
        for zone in row["zones"].split():
            if gpu:
                yield [gpu, f"{row['region']}-{zone}"]


def typed_off(name: str) -> Iterable[dict[str, str]]:
    with (TYPED_OFF / name).open(newline="") as file:
        yield from csv.DictReader(file)


def number(value: float | None) -> str:
    return "" if value is None else f"{float(value):.9f}".rstrip("0").rstrip(".")


def write(name: str, header: list[str], rows: Iterable[Iterable[object]]) -> None:
    ordered = sorted([str(cell) for cell in row] for row in rows)
    with (CATALOG / name).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(ordered)
    print(f"{name}: {len(ordered)} rows")


if __name__ == "__main__":
    main()
