"""The boot image: is it there, does it still count, does it fit on the disk?"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from hydra_gce.doctor.findings import Finding, by, error, ok, skipped, warning
from hydra_gce.doctor.patient import Patient
from hydra_gce.errors import ConfigError
from hydra_gce.machines import images

NAME = "image"


@dataclass(frozen=True)
class Answer:
    """``name`` is None where there is no such image; ``others`` are then those that there are.

    state: "" as long as it counts, or DEPRECATED, OBSOLETE, DELETED. replacement: what its owner names instead.
    """

    asked: str
    name: str | None = None
    state: str = ""
    replacement: str = ""
    disk_gb: int = 0
    others: Sequence[str] = ()


def check(patient: Patient) -> list[Finding]:
    vm = patient.settings.vm
    if not patient.candidates and vm.image is None:
        return [skipped(NAME, "there is no such machine: see machine")]
    try:
        named = images.link(vm.image) if vm.image is not None else patient.backend.image
        asked = named or images.default_for(patient.candidates[0].shape, patient.candidates[0].has_gpu)
    except ConfigError as wrong:
        return [error(NAME, str(wrong))]
    return [judge(_ask(patient, asked), vm.disk_gb)]


def _ask(patient: Patient, asked: str) -> Answer:
    from google.api_core.exceptions import NotFound

    client = patient.backend.images
    owner, family, name = _parts(asked, patient.project)
    try:
        if family:
            found = client.get_from_family(project=owner, family=name, timeout=20.0)
        else:
            found = client.get(project=owner, image=name, timeout=20.0)
    except NotFound:
        there = list(client.list(project=owner, timeout=20.0))
        names = {one.family if family else one.name for one in there if one.family or not family}
        prefix = (
            f"{owner}/" if family else "" if owner == patient.project else f"projects/{owner}/global/images/"
        )
        return Answer(asked, others=[f"{prefix}{one}" for one in sorted(names)])
    return Answer(
        asked,
        name=found.name,
        state=found.deprecated.state if found.deprecated else "",
        replacement=found.deprecated.replacement.partition("/v1/")[2] if found.deprecated else "",
        disk_gb=int(found.disk_size_gb or 0),
    )


def judge(answer: Answer, disk_gb: int) -> Finding:
    if answer.name is None:
        near = difflib.get_close_matches(_tail(answer.asked), [_tail(one) for one in answer.others], 2, 0.5)
        named = [one for tail in near for one in answer.others if _tail(one) == tail]
        remedies = [by(f"hydra.launcher.vm.image={one}") for one in named]
        return error(
            NAME,
            f"there is no image {answer.asked}, or it is closed to you",
            *remedies,
            by("hydra.launcher.vm.image=null"),
        )
    if answer.disk_gb > disk_gb:
        said = f"{answer.name} needs a disk of {answer.disk_gb} GB, vm.disk_gb is {disk_gb}"
        return error(NAME, said, by(f"hydra.launcher.vm.disk_gb={answer.disk_gb}"))
    if answer.state:
        newer = answer.replacement or "null"
        said = f"{answer.name} is {answer.state.lower()} by its owner"
        judged = warning if answer.state == "DEPRECATED" else error
        return judged(NAME, said, by(f"hydra.launcher.vm.image={newer}"))
    return ok(NAME, answer.name)


def _tail(name: str) -> str:
    return name.rpartition("/")[2]


def _parts(link: str, project: str) -> tuple[str, bool, str]:
    """The project that owns an image, whether a family is meant, and the name."""
    words = link.partition("projects/")[2].split("/")
    owner = words[0] if words[0] else project
    family = "/family/" in link or "imageFamilyViews" in link
    return owner, family, _tail(link)
