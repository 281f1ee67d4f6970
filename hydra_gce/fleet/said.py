"""What the fleet decides, in words: one line for each decision, and a table when no place is left."""

from __future__ import annotations

from collections.abc import Sequence

from hydra_gce.machines import Candidate, ProvisioningModel
from hydra_gce.refusals import Reach, Refusal

_PLACES_SHOWN = 6


def thing(candidate: Candidate) -> str:
    """What was asked for, as short as a person would say it: "A100", "spot T4", "e2-standard-2"."""
    how = "" if candidate.model is ProvisioningModel.STANDARD else f"{candidate.model.value.lower()} "
    return how + (candidate.gpu or candidate.machine_type)


def decision(candidate: Candidate, refusal: Refusal, following: Candidate | None) -> str:
    """ "us-central1-a has no A100 left; trying us-central1-c (same price)" """
    return f"{fact(candidate, refusal)}; {_next(candidate, following)}"


def fact(candidate: Candidate, refusal: Refusal) -> str:
    """ "us-central1-a has no A100 left" """
    place = {Reach.REGION: candidate.region, Reach.EVERYWHERE: "the project"}.get(
        refusal.reach, candidate.zone
    )
    return f"{place} {refusal.short.format(what=thing(candidate))}"


def _next(candidate: Candidate, following: Candidate | None) -> str:
    if following is None:
        return "no other place is left for now"
    same = following.price.hourly == candidate.price.hourly
    price = "same price" if same else f"{following.price} instead of {candidate.price}"
    how = "" if following.model is candidate.model else f"{following.model.value.lower()} in "
    return f"trying {how}{following.zone} ({price})"


def wrong_request(refusal: Refusal) -> str:
    advice = f" {refusal.advice}." if refusal.advice else ""
    message = refusal.message.strip().rstrip(".")
    return f"hydra.launcher.vm: Compute Engine refuses the VM ({refusal.code}): {message}.{advice}"


def shortly(
    refused: Sequence[tuple[Candidate, Refusal]], left_out: Sequence[tuple[Candidate, Refusal]]
) -> str:
    """The last refusal, and how many places there were."""
    candidate, refusal = (refused or left_out)[-1]
    asked = f"{len(refused)} place{'' if len(refused) == 1 else 's'} asked"
    without = f", {len(left_out)} without quota" if left_out else ""
    return f"{fact(candidate, refusal)} ({asked}{without})"


def table(
    num: int,
    refused: Sequence[tuple[Candidate, Refusal]],
    left_out: Sequence[tuple[Candidate, Refusal]],
    minutes: float,
    started: bool,
) -> str:
    """All that was tried, why it failed, and what would help."""
    both = [*refused, *left_out]
    first = both[0][0]
    zones = {candidate.zone for candidate, _ in both}
    lines = [
        f"No {thing(first)} could be had for job {num}. {len(zones)} zone{'' if len(zones) == 1 else 's'}"
        f" tried{f' in {minutes:.0f} min' if minutes >= 1 else ''}:"
    ]
    lines += _rows(both)
    helps = list(dict.fromkeys(refusal.advice for _, refusal in both if refusal.advice))
    helps += _other_ways({candidate.model for candidate, _ in both}, first)
    lines.append("What would help:")
    lines += [f"  - {advice}" for advice in helps[:_PLACES_SHOWN]]
    lines.append(
        "What has run so far is paid for, and safe."
        if started
        else "Nothing was started; nothing is charged."
    )
    return "\n".join(lines)


def _rows(both: Sequence[tuple[Candidate, Refusal]]) -> list[str]:
    """Places with the same refusal in one row, in the order of asking."""
    groups: dict[str, list[str]] = {}
    for candidate, refusal in both:
        why = refusal.short.format(what=thing(candidate))
        place = {Reach.REGION: candidate.region, Reach.EVERYWHERE: "the project"}.get(
            refusal.reach, candidate.zone
        )
        places = groups.setdefault(why, [])
        if place not in places:
            places.append(place)
    rows = []
    for why, places in groups.items():
        shown = ", ".join(places[:_PLACES_SHOWN])
        more = f" and {len(places) - _PLACES_SHOWN} more" if len(places) > _PLACES_SHOWN else ""
        rows.append(f"  {shown}{more} {why}")
    return rows


def _other_ways(tried: set[ProvisioningModel], candidate: Candidate) -> list[str]:
    """Settings that open other places."""
    ways = []
    if tried == {ProvisioningModel.SPOT}:
        ways.append("vm.provisioning=spot_else_standard: a standard VM where no spot one is to be had")
    if tried == {ProvisioningModel.STANDARD}:
        ways.append("vm.provisioning=spot_else_standard: spot VMs have stock and quota of their own")
    if candidate.has_gpu and ProvisioningModel.FLEX_START not in tried:
        ways.append("vm.provisioning=flex_start: waits in Google's queue for capacity")
    what = f"--gpu {candidate.gpu}" if candidate.gpu else f"--machine-type {candidate.machine_type}"
    ways.append(
        f"more places (vm.regions, vm.zones) or another machine; who sells it: hydra-gce offers {what}"
    )
    ways.append("a longer wait: hydra.launcher.wait_for_room_minutes")
    return ways
