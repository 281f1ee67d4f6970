"""``hydra-gce doctor``: what would be in a sweep's way, and what mends it."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

from hydra_gce.cli.common import Verbs, add_backend, tell_if_embedded
from hydra_gce.errors import ConfigError

if TYPE_CHECKING:
    from hydra_gce.doctor import Finding
    from hydra_gce.settings import Settings

PREFIX = "hydra.launcher."


def add(verbs: Verbs) -> None:
    verb = verbs.add_parser(
        "doctor",
        help="what would be in a sweep's way, and what mends it",
        description="Checks account, project and machine for a sweep, and says what mends what is wrong. The exit code"
        " is 1 where something would end the sweep.",
    )
    verb.add_argument("--gpu", help="T4, L4, A100, ...")
    verb.add_argument("--machine-type", metavar="TYPE", help="e2-standard-4, ...")
    verb.add_argument("--provisioning", help="standard, spot, ...")
    verb.add_argument("--regions", metavar="NAMES", help="where VMs may be: us-central1,us-east1")
    verb.add_argument("--bucket", help="through which it goes; hydra-gce-<project> if left out")
    verb.add_argument(
        "settings",
        nargs="*",
        metavar="FIELD=VALUE",
        help="any other setting of hydra.launcher that the sweep has: vm.external_ip=false, env.python=3.12, ...",
    )
    verb.add_argument("--json", action="store_true", help="for programs (docs/setup.md)")
    add_backend(verb)
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from hydra_gce.doctor.findings import State, lines

    settings = _settings(options)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    findings: list[Finding] = []

    def tell(finding: Finding) -> None:
        findings.append(finding)
        if not options.json:
            print("\n".join(lines(finding, width)), flush=True)

    project = _examine(options, settings, tell)
    failed = any(one.state is State.ERROR for one in findings)
    if options.json:
        report = {"ok": not failed, "project": project, "findings": [one.as_json() for one in findings]}
        print(json.dumps(report, indent=1))
    return 1 if failed else 0


def _examine(options: argparse.Namespace, settings: Settings, tell: Any) -> str | None:
    from hydra_gce.cloud.backend import connect
    from hydra_gce.doctor import examine
    from hydra_gce.doctor.credentials import LOGIN, NAME
    from hydra_gce.doctor.findings import by, error
    from hydra_gce.doctor.patient import patient_of
    from hydra_gce.errors import CredentialsError

    try:
        backend = connect(settings.backend, settings.project)
    except CredentialsError as missing:
        without_project = "no project" in str(missing)
        remedy = by("hydra.launcher.project=<project id>") if without_project else by(LOGIN)
        tell(error(NAME, str(missing).partition(". ")[0], remedy))
        return None
    tell_if_embedded(options, backend)
    examine(patient_of(backend, settings, os.environ, f"hydra-gce setup{_words(options)}"), tell)
    return backend.project


def _words(options: argparse.Namespace) -> str:
    """The words that lead `hydra-gce setup` to the same project."""
    backend = f" --backend {options.backend}" if options.backend != "auto" else ""
    return backend + (f" --project {options.project}" if options.project else "")


def _settings(options: argparse.Namespace) -> Settings:
    """What the sweep would have under ``hydra.launcher``.

    :raises ConfigError: there is no such field, or it does not hold such a value.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from hydra_gce.settings import settings_from

    named = {
        "backend": options.backend if options.backend != "auto" else None,
        "project": options.project,
        "bucket": options.bucket,
        "vm.gpu": options.gpu,
        "vm.machine_type": options.machine_type,
        "vm.provisioning": options.provisioning,
        "vm.regions": f"[{options.regions}]" if options.regions else None,
    }
    for one in options.settings:
        if "=" not in one:
            raise ConfigError(f"hydra-gce doctor: {one!r} is no setting: write FIELD=VALUE, as vm.gpu=T4")
    given = [f"{name}={value}" for name, value in named.items() if value is not None]
    given += [one.removeprefix(PREFIX) for one in options.settings]
    try:
        return settings_from(OmegaConf.from_dotlist(given))
    except OmegaConfBaseException as wrong:
        field = str(getattr(wrong, "full_key", "") or "")
        said = str(wrong).splitlines()[0]
        raise ConfigError(f"{PREFIX}{field}: {said}") from wrong
