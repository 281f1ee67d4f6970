"""``hydra-gce setup``: what a project needs for sweeps; and a fresh catalogue of machines, zones and prices."""

from __future__ import annotations

import argparse
import os
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from hydra_gce.cli.common import Verbs, add_backend, connect, tell_if_embedded
from hydra_gce.errors import ConfigError, CredentialsError, HydraGCEError

if TYPE_CHECKING:
    from hydra_gce.cloud.backend import Backend
    from hydra_gce.setup import Wishes
    from hydra_gce.setup.step import Removal

API_KEY = "HYDRA_GCE_BILLING_API_KEY"
_STDOUT = "-"


def add(verbs: Verbs) -> None:
    verb = verbs.add_parser(
        "setup",
        help="make what a project needs for sweeps: bucket, service account, firewall rule, APIs",
        description="Makes what a project needs for sweeps. Each step is shown and asked for; what is there already is"
        " left alone. docs/setup.md says what each is good for.",
    )
    verb.add_argument("--bucket", help="the bucket's name; hydra-gce-<project> if left out")
    verb.add_argument(
        "--bucket-location",
        default="",
        metavar="PLACE",
        help="us-central1, EU, ...; US for a new one if left out",
    )
    verb.add_argument(
        "--keep-days",
        type=int,
        metavar="DAYS",
        help="old code, data and sweeps are deleted after so many days; 0: never (left out: as it is, 90 in a new one)",
    )
    verb.add_argument("--network", default="default", help="the network of the VMs")
    verb.add_argument(
        "--nat", nargs="+", default=[], metavar="REGION", help="Cloud NAT there, for VMs without addresses"
    )
    verb.add_argument("-y", "--yes", action="store_true", help="ask no question")
    instead = verb.add_mutually_exclusive_group()
    instead.add_argument("--dry-run", action="store_true", help="show what would be done, and do nothing")
    instead.add_argument(
        "--terraform",
        nargs="?",
        const="hydra-gce.tf",
        metavar="FILE",
        help="write it as Terraform instead (hydra-gce.tf if FILE is left out, - for the screen)",
    )
    instead.add_argument(
        "--undo", action="store_true", help="take away what setup has made, and nothing else"
    )
    instead.add_argument(
        "--refresh",
        action="store_true",
        help="instead of all this: fresh machine types, zones and prices from Google (a minute or two);"
        f" {API_KEY} may hold an API key for the price list",
    )
    verb.add_argument(
        "--with-content",
        action="store_true",
        help="with --undo: also buckets in which sweeps lie, and all of them",
    )
    add_backend(verb)
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from hydra_gce.setup.plan import Wishes

    if options.with_content and not options.undo:
        raise ConfigError("hydra-gce setup: --with-content goes with --undo")
    if options.keep_days is not None and options.keep_days < 0:
        raise ConfigError(f"--keep-days {options.keep_days}: say how many days, or 0 to keep all for ever")
    backend = connect(options)
    tell_if_embedded(options, backend)
    if options.refresh:
        return _refresh(backend)
    wishes = Wishes(
        bucket=options.bucket,
        location=options.bucket_location,
        days=options.keep_days,
        network=options.network,
        nat=_regions(options.nat),
        with_content=options.with_content,
    )
    if options.terraform is not None:
        return _write_terraform(backend, wishes, options.terraform)
    with _told():
        if options.undo:
            return _undo(backend, wishes, options)
        return _make(backend, wishes, options)


def _make(backend: Backend, wishes: Wishes, options: argparse.Namespace) -> int:
    from hydra_gce.setup import steps_of

    steps = steps_of(backend, wishes)
    print(f"project {backend.project}{' (embedded: nothing is charged)' if backend.kind == 'local' else ''}")
    changed = left_out = 0
    for step in steps:
        todo = step.missing()
        if not todo:
            print(f" ok    {step.title}")
            continue
        print(f" {'would' if options.dry_run else 'next'}  {step.title}: {step.why}")
        for sentence in todo:
            print(f"         - {sentence}")
        if options.dry_run:
            changed += 1
        elif _agreed(options.yes, "         do it? [Y/n] "):
            step.make()
            changed += 1
            print("       done", flush=True)
        else:
            left_out += 1
            print("       left out")
    _close(backend, wishes, options, changed, left_out)
    return 0


def _close(
    backend: Backend, wishes: Wishes, options: argparse.Namespace, changed: int, left_out: int
) -> None:
    if options.dry_run:
        print(
            f"{changed} step{'s' * (changed != 1)} would be done; nothing was" if changed else "nothing to do"
        )
        return
    if left_out:
        print("what was left out is offered again by the next hydra-gce setup")
        return
    if not changed:
        print("nothing to do: all is there")
    print("settings that go with it:")
    for line in settings_of(backend, wishes):
        print(f"  {line}")


def settings_of(backend: Backend, wishes: Wishes) -> list[str]:
    """What sweeps set to use what setup has made."""
    from hydra_gce.doctor.account import account_of_setup
    from hydra_gce.doctor.firewall import TAG

    lines = [
        f"hydra.launcher.vm.service_account={account_of_setup(backend.project)}",
        f"hydra.launcher.vm.tags=[{TAG}]",
    ]
    if wishes.bucket:
        lines.insert(0, f"hydra.launcher.bucket={wishes.bucket}")
    if wishes.network != "default":
        lines.append(f"hydra.launcher.vm.network={wishes.network}")
    if wishes.nat:
        lines.append("hydra.launcher.vm.external_ip=false")
    return lines


def _undo(backend: Backend, wishes: Wishes, options: argparse.Namespace) -> int:
    from hydra_gce.setup import steps_of

    removals = [one for step in reversed(steps_of(backend, wishes)) for one in step.made()]
    if not removals:
        print(f"nothing in project {backend.project} was made by hydra-gce setup")
        return 0
    print(f"made by hydra-gce setup in project {backend.project}:")
    for one in removals:
        print(f"  {one.what}{f' (kept: {one.kept})' if one.kept else ''}")
    if not _agreed(options.yes, "take all of this away? [Y/n] "):
        print("nothing was taken away")
        return 1
    return _take_away([one for one in removals if not one.kept], any(one.kept for one in removals))


def _take_away(removals: list[Removal], kept: bool) -> int:
    from google.api_core.exceptions import GoogleAPICallError, NotFound

    failed = False
    for one in removals:
        try:
            one.remove()
        except NotFound:
            pass  # it went with something before it
        except (GoogleAPICallError, HydraGCEError) as error:
            failed = True
            print(f" stays  {one.what}: {_sentence(error)}")
            continue
        print(f" gone   {one.what}", flush=True)
    if not kept and not failed:
        print("nothing of it is left")
    return 1 if failed or kept else 0


def _write_terraform(backend: Backend, wishes: Wishes, file: str) -> int:
    from hydra_gce.setup.plan import terraform

    text = terraform(backend, wishes)
    if file == _STDOUT:
        print(text, end="")
        return 0
    path = Path(file)
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise ConfigError(
            f"--terraform {file}: it exists and holds something else. Name another file, or - ."
        )
    path.write_text(text, encoding="utf-8")
    print(f"written to {path}; next: terraform init && terraform apply")
    return 0


def _regions(named: list[str]) -> list[str]:
    """:raises ConfigError: there is no such region."""
    from hydra_gce import catalog
    from hydra_gce.machines.words import either, nearest

    for one in named:
        if one not in catalog.regions():
            close = either(nearest(one, catalog.regions()))
            raise ConfigError(f"--nat {one}: there is no such region. The nearest are {close}.")
    return named


def _agreed(yes: bool, question: str) -> bool:
    """:raises ConfigError: nobody is there to be asked."""
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigError(
            "hydra-gce setup: nobody can be asked here. Say --yes to do it, --dry-run to see it, or --terraform."
        )
    try:
        return input(question).strip().lower() in ("", "y", "yes")
    except EOFError:
        return False


class _told:
    """What Google refuses becomes an error with a remedy."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from google.api_core.exceptions import Forbidden, GoogleAPICallError, Unauthorized
        from google.auth.exceptions import GoogleAuthError

        from hydra_gce.cloud.unreachable import UNREACHABLE

        if isinstance(error, (Unauthorized, GoogleAuthError)) and not isinstance(error, UNREACHABLE):
            raise CredentialsError(
                f"Google does not know you (any more): {_sentence(error)}. Run: gcloud auth application-default login"
            ) from error
        if isinstance(error, Forbidden):
            raise CredentialsError(
                f"{_sentence(error)} An owner of the project can do it, or give you the role:"
                " hydra-gce doctor names it. What was done before stays, and setup goes on from there."
            ) from error
        if isinstance(error, (GoogleAPICallError, *UNREACHABLE)):
            raise HydraGCEError(
                f"{_sentence(error)} What was done before stays, and hydra-gce setup goes on from there."
            ) from error


def _sentence(error: BaseException) -> str:
    from hydra_gce.cloud.rest import sentence

    said = sentence(error)
    return said if said.endswith(".") else f"{said}."


def _refresh(backend: Backend) -> int:
    from hydra_gce.catalog.refresh import refresh

    print(f"asking Compute Engine, project {backend.project}, for all its machine types ...", flush=True)
    made = refresh(backend, datetime.now(timezone.utc).date(), os.environ.get(API_KEY))
    print(f"{made.types} machine types, {made.zones} zones in {made.regions} regions")
    if made.strange:
        print(f"left out, because what they bring is not known here: {', '.join(made.strange)}")
    if made.prices_stay is None:
        print("prices of today")
    else:
        print(f"prices stay as they were: {made.prices_stay}")
    print(f"written to {made.directory}")
    return 0
