"""What the fleet decides, in words: one line for each decision, and a table when no place is left."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable, Sequence

from hydra_gce.machines import Candidate, ProvisioningModel
from hydra_gce.machines.words import shortened
from hydra_gce.refusals import Reach, Refusal

Told = tuple[Candidate, Refusal]

_COLUMNS = 100
_PLACES_SHOWN = 8
_ADVICE_SHOWN = 4
_NOWHERE = "no other place would help"
_NOUNS = ("quota ", "a quota", "policy ")
"""A fact that begins so stands after the place and a colon; others go on as a sentence about it."""


def thing(candidate: Candidate) -> str:
    """What was asked for, as short as a person would say it: "A100", "spot T4", "e2-standard-2"."""
    how = "" if candidate.model is ProvisioningModel.STANDARD else f"{candidate.model.value.lower()} "
    return how + _machine(candidate)


def _machine(candidate: Candidate) -> str:
    return candidate.gpu or candidate.machine_type


def decision(candidate: Candidate, refusal: Refusal, following: Candidate | None) -> str:
    """ "us-central1-a has no A100 left; trying us-central1-c (same price)" """
    if following is None:
        everywhere = refusal.reach is Reach.EVERYWHERE
        return f"{fact(candidate, refusal)}; {_NOWHERE if everywhere else 'no other place is left for now'}"
    return f"{fact(candidate, refusal)}; {_next(candidate, following)}"


def and_so_on(candidate: Candidate, refusal: Refusal) -> str:
    """ "us-east1-b has no A100 left; other zones that say the same are not told one by one" """
    return f"{fact(candidate, refusal)}; other zones that say the same are not told one by one"


def fact(candidate: Candidate, refusal: Refusal) -> str:
    """ "us-central1-a has no A100 left", "us-central1: quota CPUS is used up (limit 8)" """
    place, why = _place(candidate, refusal), _why(candidate, refusal)
    return f"{place}: {why}" if why.startswith(_NOUNS) else f"{place} {why}"


def _place(candidate: Candidate, refusal: Refusal) -> str:
    """As far as the refusal reaches."""
    wider = {Reach.REGION: candidate.region, Reach.EVERYWHERE: "the project"}
    return wider.get(refusal.reach, candidate.zone)


def _why(candidate: Candidate, refusal: Refusal) -> str:
    return refusal.short.format(what=thing(candidate))


def _next(candidate: Candidate, following: Candidate) -> str:
    same = following.price.hourly == candidate.price.hourly
    price = "same price" if same else f"{following.price} instead of {candidate.price}"
    how = "" if following.model is candidate.model else f"{following.model.value.lower()} in "
    return f"trying {how}{following.zone} ({price})"


def not_asked(left_out: Sequence[Told]) -> str:
    """ "not asked: us-east1, us-west4 (quota CPUS is 0, 2 needed)" """
    regions: dict[str, list[str]] = {}
    for candidate, refusal in left_out:
        places = regions.setdefault(_why(candidate, refusal), [])
        if _place(candidate, refusal) not in places:
            places.append(_place(candidate, refusal))
    return "not asked: " + ", ".join(f"{shortened(places, 4)} ({why})" for why, places in regions.items())


def wrong_request(refusal: Refusal) -> str:
    advice = f" {refusal.advice[0].upper()}{refusal.advice[1:]}." if refusal.advice else ""
    message = refusal.message.strip().rstrip(".")
    return f"hydra.launcher.vm: Compute Engine refuses the VM ({refusal.code}): {message}.{advice}"


def shortly(refused: Sequence[Told], left_out: Sequence[Told]) -> str:
    """How many places there were; what they said stands in lines of its own, unless none was asked."""
    return _asked(refused, left_out) if refused else fact(*left_out[-1])


def table(
    num: int,
    refused: Sequence[Told],
    left_out: Sequence[Told],
    minutes: float,
    started: bool,
) -> str:
    """All that was tried, why it failed, and what would help; no line over 100 columns but for its address."""
    both = [*refused, *left_out]
    models = {candidate.model for candidate, _ in both}
    wanted = thing(both[0][0]) if len(models) == 1 else _machine(both[0][0])
    waited = f" in {minutes:.0f} min" if minutes >= 1 else ""
    lines = [f"No {wanted} could be had for job {num}{waited}: {_asked(refused, left_out)}."]
    lines += _rows(refused, left_out)
    helps = [*_advice(both), *_other_ways(both)]
    lines += ["What would help:"] if helps else []
    for advice in helps:
        lines += textwrap.wrap(
            advice,
            _COLUMNS,
            initial_indent="  - ",
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    lines.append(
        "What has run so far is paid for, and safe."
        if started
        else "Nothing was started; nothing is charged."
    )
    return "\n".join(lines)


def _asked(refused: Sequence[Told], left_out: Sequence[Told]) -> str:
    """ "6 zones asked, 5 without quota" """
    asked = {candidate.zone for candidate, _ in refused}
    without = {candidate.zone for candidate, _ in left_out} - asked
    said = f"{len(asked)} zone{'' if len(asked) == 1 else 's'} asked"
    return f"{said}, {len(without)} without quota" if without else said


def _rows(refused: Sequence[Told], left_out: Sequence[Told]) -> list[str]:
    """Two columns, places and what they say: those that say the same in one row, in the order of asking."""
    groups: dict[str, list[str]] = {}
    for candidate, refusal in refused:
        groups.setdefault(_why(candidate, refusal), []).append(_place(candidate, refusal))
    for candidate, refusal in left_out:
        groups.setdefault(f"{_why(candidate, refusal)}: not asked", []).append(_place(candidate, refusal))
    cells = [
        (textwrap.wrap(_together(places), _COLUMNS // 2, break_on_hyphens=False), why)
        for why, places in groups.items()
    ]
    width = max(len(line) for places, _ in cells for line in places)
    rows = []
    for places, why in cells:
        words = textwrap.wrap(why, _COLUMNS - width - 4, break_on_hyphens=False)
        rows += [
            f"  {place:<{width}}  {word}".rstrip()
            for place, word in itertools.zip_longest(places, words, fillvalue="")
        ]
    return rows


def _together(places: Iterable[str]) -> str:
    """ "us-central1-a,b,c, us-east1 and 3 more": zones of one region together, and only so many regions."""
    regions: dict[str, list[str]] = {}
    for place in dict.fromkeys(places):
        region, _, letter = place.rpartition("-")
        is_zone = len(letter) == 1
        regions.setdefault(region if is_zone else place, []).extend([letter] if is_zone else [])
    return shortened(
        (f"{region}-{','.join(letters)}" if letters else region for region, letters in regions.items()),
        _PLACES_SHOWN,
    )


def _advice(both: Sequence[Told]) -> list[str]:
    """What the refusals themselves advise; a quota that is short in several regions once, for the first of them."""
    by_cause = {refusal.metric or refusal.advice: refusal.advice for _, refusal in reversed(both)}
    causes = dict.fromkeys(refusal.metric or refusal.advice for _, refusal in both)
    return [by_cause[cause] for cause in causes if by_cause[cause]][:_ADVICE_SHOWN]


def _other_ways(both: Sequence[Told]) -> list[str]:
    """Settings that open other places, unless the whole project is refused; and time, where it may help."""
    ways = []
    if any(refusal.reach is not Reach.EVERYWHERE for _, refusal in both):
        ways += _other_places({candidate.model for candidate, _ in both}, both[0][0])
    if any(refusal.may_pass for _, refusal in both):
        ways.append("a longer wait: hydra.launcher.wait_for_room_minutes")
    return ways


def _other_places(tried: set[ProvisioningModel], candidate: Candidate) -> list[str]:
    ways = []
    if tried == {ProvisioningModel.SPOT}:
        ways.append("vm.provisioning=spot_else_standard: a standard VM where no spot one is to be had")
    if tried == {ProvisioningModel.STANDARD}:
        ways.append("vm.provisioning=spot_else_standard: spot VMs have stock and quota of their own")
    if candidate.has_gpu and ProvisioningModel.FLEX_START not in tried:
        ways.append("vm.provisioning=flex_start: waits in Google's queue for capacity")
    what = f"--gpu {candidate.gpu}" if candidate.gpu else f"--machine-type {candidate.machine_type}"
    return [*ways, f"who sells it, and where your quotas allow it: hydra-gce offers {what}"]
