"""A ledger as people, programs and MLflow want it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from hydra_gce.display.figures import duration, money
from hydra_gce.machines import ProvisioningModel
from hydra_gce.money.ledger import AttemptCost, Ledger

_TITLES = ("job", "attempt", "VM", "zone", "machine", "how", "time", "price/h", "cost", "")
_TO_THE_RIGHT = frozenset({"job", "attempt", "time", "price/h", "cost"})
_HOW = {ProvisioningModel.RESERVATION_BOUND: "reserved", ProvisioningModel.FLEX_START: "flex-start"}
_TAGGED_ATTEMPTS = 32
"""MLflow takes 8,000 characters for a tag's value; of more attempts the newest are told."""


def tags(ledger: Ledger, num: int, now: float) -> dict[str, str]:
    """What the job's MLflow run says of its cost: its VMs in JSON too, oldest first.

    ``cost_usd`` and ``attempt_costs`` are to a millionth of a dollar, and the latter add up to the former.
    """
    dollars, seconds = ledger.bill(num, now)
    attempts = ledger.attempts(num, now)
    return {
        "cost_usd": f"{dollars:.6f}",
        "vm_seconds": f"{seconds:.0f}",
        "attempts": str(len(attempts)),
        "attempt_costs": json.dumps(
            [_tag(one) for one in attempts[-_TAGGED_ATTEMPTS:]], separators=(",", ":")
        ),
    }


def table(ledger: Ledger, now: float) -> Iterator[str]:
    """A row for each job's part in each VM, by jobs."""
    rows = [_TITLES, *(_row(one) for one in _all(ledger, now))]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_TITLES))]
    for row in rows:
        cells = (
            cell.rjust(width) if title in _TO_THE_RIGHT else cell.ljust(width)
            for title, cell, width in zip(_TITLES, row, widths, strict=True)
        )
        yield "  ".join(cells).rstrip()


def total(ledger: Ledger, now: float) -> str:
    """``2 jobs · 3 VMs · 36:12 of VM time · $0.135 in all · 1 VM runs, $0.242/h``."""
    attempts = _all(ledger, now)
    about = "about " if any(one.estimated for one in attempts) else ""
    parts = [
        _counted(len(ledger.jobs()), "job"),
        _counted(len({one.instance for one in attempts}), "VM"),
        f"{duration(sum(one.seconds for one in attempts))} of VM time",
        f"{about}{money(ledger.spent(now))} {'so far' if ledger.running() else 'in all'}",
    ]
    if running := ledger.running():
        verb = "runs" if len(running) == 1 else "run"
        parts.append(f"{_counted(len(running), 'VM')} {verb}, {money(_hourly(ledger))}/h")
    return " · ".join(parts)


def as_json(ledger: Ledger, now: float) -> dict[str, Any]:
    """The same for programs: US dollars to a millionth, times in seconds since the epoch.

    ``end`` is null while a part goes on.
    """
    return {
        "as_of": now,
        "currency": "USD",
        "cost_usd": float(ledger.spent(now)),
        "running": ledger.running(),
        "running_usd_per_hour": float(_hourly(ledger)),
        "jobs": [_job(ledger, num, now) for num in ledger.jobs()],
        "attempts": [_plain(one) for one in _all(ledger, now)],
    }


def _all(ledger: Ledger, now: float) -> list[AttemptCost]:
    return [one for num in ledger.jobs() for one in ledger.attempts(num, now)]


def _hourly(ledger: Ledger) -> Decimal:
    """Of the VMs that run, together."""
    places = [candidate for name in ledger.running() if (candidate := ledger.candidate(name))]
    return sum((place.price.hourly for place in places), Decimal(0))


def _row(one: AttemptCost) -> Sequence[str]:
    about = "~" if one.estimated else ""
    return (
        str(one.num),
        str(one.attempt),
        one.instance,
        one.zone,
        one.machine,
        how(one.model),
        duration(one.seconds),
        f"{about}${one.hourly:.3f}",
        f"{about}{money(one.dollars)}",
        "runs" if one.end is None else "",
    )


def how(model: ProvisioningModel) -> str:
    """As a person says it: "spot"."""
    return _HOW.get(model, model.value.lower())


def _tag(one: AttemptCost) -> dict[str, Any]:
    return {
        "vm": one.instance,
        "zone": one.zone,
        "machine": one.machine,
        "how": how(one.model),
        "seconds": round(one.seconds),
        "usd": float(one.dollars),
    }


def _plain(one: AttemptCost) -> dict[str, Any]:
    return {
        "job": one.num,
        "attempt": one.attempt,
        "vm": one.instance,
        "zone": one.zone,
        "machine": one.machine,
        "provisioning_model": one.model.value,
        "start": one.start,
        "end": one.end,
        "seconds": round(one.seconds, 3),
        "usd_per_hour": float(one.hourly),
        "cost_usd": float(one.dollars),
        "estimated": one.estimated,
    }


def _job(ledger: Ledger, num: int, now: float) -> dict[str, Any]:
    dollars, seconds = ledger.bill(num, now)
    return {"job": num, "cost_usd": float(dollars), "vm_seconds": round(seconds, 3)}


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
