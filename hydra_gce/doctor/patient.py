"""What is examined: a project, and the sweep that is to run in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from hydra_gce.errors import ConfigError
from hydra_gce.machines import Candidate, resolve
from hydra_gce.request import vm_request
from hydra_gce.settings import Settings

if TYPE_CHECKING:
    from hydra_gce.cloud.backend import Backend


@dataclass(frozen=True)
class Patient:
    """``setup``: ``hydra-gce setup`` with the words that lead it to the same project."""

    backend: Backend
    settings: Settings
    environ: Mapping[str, str]
    setup: str = "hydra-gce setup"
    candidates: tuple[Candidate, ...] = ()
    wrong: tuple[str, ...] = field(default=())

    @property
    def project(self) -> str:
        return self.backend.project

    @property
    def bucket(self) -> str:
        return self.settings.bucket or self.backend.default_bucket

    @property
    def regions(self) -> list[str]:
        """Where the sweep's VMs may be, the cheapest first."""
        return list(dict.fromkeys(one.region for one in self.candidates))

    @property
    def anywhere(self) -> bool:
        """Whether no place was asked for."""
        return not (self.settings.vm.regions or self.settings.vm.zones)

    @cached_property
    def member(self) -> str:
        """Who asks, as IAM names him: "user:me@example.com"; "user:YOU" where Google does not say."""
        from hydra_gce.doctor.who import member_of

        return member_of(self.backend) or "user:YOU"


def patient_of(backend: Backend, settings: Settings, environ: Mapping[str, str], setup: str) -> Patient:
    """With the places where its VMs could be; without any, and the reason, where the settings contradict themselves."""
    try:
        candidates = tuple(resolve(vm_request(settings.vm)))
    except ConfigError as error:
        return Patient(backend, settings, environ, setup, wrong=tuple(str(error).splitlines()))
    return Patient(backend, settings, environ, setup, candidates)


def grant(project: str, member: str, role: str) -> str:
    """The command that gives a role on the project. gcloud asks for a condition where the policy has one anywhere."""
    return (
        f"gcloud projects add-iam-policy-binding {project} --member={member} --role={role} --condition=None"
    )


def some(names: list[str], most: int = 4) -> str:
    """ "a, b and 3 more" """
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"
