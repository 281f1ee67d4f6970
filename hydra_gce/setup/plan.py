"""The steps of a setup, in their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hydra_gce.doctor.network import owner_of
from hydra_gce.errors import ConfigError
from hydra_gce.setup import hcl
from hydra_gce.setup.account import Account, EndsItself
from hydra_gce.setup.apis import Apis
from hydra_gce.setup.bucket import BucketStep
from hydra_gce.setup.bucket_role import UsesBucket
from hydra_gce.setup.network import Firewall, Nat
from hydra_gce.setup.step import Step

if TYPE_CHECKING:
    from hydra_gce.cloud.backend import Backend

PROVIDER = ">= 5.0"


@dataclass(frozen=True)
class Wishes:
    """``location`` "": the bucket's own place, or US for a new one. ``days``: see `bucket`."""

    bucket: str | None = None
    location: str = ""
    days: int | None = None
    network: str = "default"
    nat: Sequence[str] = ()
    with_content: bool = False


def steps_of(backend: Backend, wishes: Wishes) -> list[Step]:
    """In the order in which they are made; they are undone the other way round.

    :raises ConfigError: the network is another project's.
    """
    owner = owner_of(wishes.network)
    if owner not in (None, backend.project):
        raise ConfigError(
            f"--network {wishes.network}: it is shared from project {owner}, whose firewall and NAT are its own affair:"
            " hydra-gce doctor names the commands. Leave --network and --nat out here."
        )
    name = wishes.bucket or backend.default_bucket
    account = Account(backend)
    steps: list[Step] = [
        Apis(backend, account),
        account,
        EndsItself(backend, account),
        BucketStep(backend, name, wishes.location, wishes.days, with_content=wishes.with_content),
        UsesBucket(backend, account, name),
        Firewall(backend, wishes.network),
        Nat(backend, wishes.network, wishes.nat),
    ]
    return steps


def terraform(backend: Backend, wishes: Wishes) -> str:
    """All of it as one file for Terraform."""
    head = (
        "# What hydra-gce needs in a project: hydra-gce setup --terraform wrote it.\n"
        "#   terraform init && terraform apply\n\n"
    )
    required = hcl.Block({"google": {"source": "hashicorp/google", "version": PROVIDER}})
    parts = [
        f"terraform {{\n{hcl.body({'required_providers': required}, 2)}\n}}\n",
        f'variable "project" {{\n{hcl.body({"type": hcl.Ref("string"), "default": backend.project}, 2)}\n}}\n',
        f'provider "google" {{\n{hcl.body({"project": hcl.Ref("var.project")}, 2)}\n}}\n',
        *(part for step in steps_of(backend, wishes) if (part := step.terraform())),
        f'output "hydra_gce" {{\n{hcl.body({"value": _settings(wishes)}, 2)}\n}}\n',
    ]
    return head + "\n".join(parts)


def _settings(wishes: Wishes) -> dict[str, object]:
    return {
        "bucket": hcl.Ref("google_storage_bucket.sweeps.name"),
        "service_account": hcl.Ref("google_service_account.vm.email"),
    }
