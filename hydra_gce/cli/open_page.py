"""``hydra-gce open``: the pages of a sweep, or of one of its jobs: MLflow, Google's console, the bucket."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from hydra_gce.cli.common import Verbs, add_json, add_place, find_sweep, print_json
from hydra_gce.errors import UnknownName

if TYPE_CHECKING:
    from hydra_gce.coming_back.seen import Seen

PAGES = ("mlflow", "vm", "bucket")


def add(verbs: Verbs) -> None:
    verb = verbs.add_parser(
        "open", help="open a sweep's pages, or a job's: MLflow, Google's console, the bucket"
    )
    verb.add_argument("words", nargs="*", metavar="[SWEEP] [JOB]", help='"last" if left out')
    verb.add_argument("--page", choices=PAGES, help="which one; the first there is if left out")
    verb.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
    add_place(verb)
    add_json(verb)
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from hydra_gce.coming_back.seen import see
    from hydra_gce.found import check_job

    sweep, num = _asked(options.words)
    seen = see(find_sweep(sweep, options))
    if num is not None:
        check_job(seen.found.sweep, num, [job.num for job in seen.view.jobs])
    pages = pages_of(seen, num)
    if options.json:
        print_json(
            {"sweep": seen.found.sweep, "job": num, "pages": {name: pages.get(name) for name in PAGES}}
        )
        return 0
    name = options.page or next((name for name in PAGES if pages.get(name)), None)
    page = pages.get(name) if name else None
    if page is None:
        raise UnknownName(_no_page(seen, name))
    print(page, flush=True)
    if not options.no_browser and _has_browser():
        import webbrowser

        webbrowser.open(page)
    return 0


def _asked(words: list[str]) -> tuple[str, int | None]:
    """``[SWEEP] [JOB]``"""
    from hydra_gce.errors import ConfigError

    if len(words) == 1 and words[0].isdigit():
        return "last", int(words[0])
    if len(words) == 2 and words[1].isdigit():
        return words[0], int(words[1])
    if len(words) < 2:
        return (words[0] if words else "last"), None
    raise ConfigError("hydra-gce open [SWEEP] [JOB]: a job is a number, as in hydra-gce show")


def pages_of(seen: Seen, num: int | None) -> dict[str, str]:
    """Those there are, by their names."""
    backend, names = seen.found.backend, seen.found.names
    job = next((one for one in seen.view.jobs if one.num == num), None)
    pages = {"mlflow": _mlflow(seen, job.mlflow_run if job else "")}
    if job is not None and job.instance and job.zone and not job.state.final:
        pages["vm"] = backend.console_page(job.instance, job.zone)
    below = names.prefix if num is None else names.job(num)
    pages["bucket"] = backend.bucket_page(seen.found.bucket.name, f"hydra-gce/{below}".rstrip("/"))
    return {name: page for name, page in pages.items() if page}


def _mlflow(seen: Seen, run: str) -> str | None:
    """The page of the sweep's runs; of a job that of its own run, where the server's address is known."""
    page = seen.view.mlflow
    if not page.startswith(("http://", "https://")):
        return None
    server, _, place = page.partition("/#/experiments/")
    experiment = place.partition("/")[0].partition("?")[0]
    return f"{server}/#/experiments/{experiment}/runs/{run}" if run and experiment.isdigit() else page


def _no_page(seen: Seen, name: str | None) -> str:
    sweep = seen.found.said
    if name in (None, "mlflow") and seen.view.mlflow:
        store = f"the runs of {sweep} are in a store of the machine that launched it, without a server"
        return f"{store}: {seen.view.mlflow} serves them there"
    local = " (the embedded Compute Engine has none)" if seen.view.backend == "local" else ""
    return f"there is no {name or 'page'}{' page' if name else ''} of {sweep}{local}: hydra-gce show {sweep}"


def _has_browser() -> bool:
    """Whether a page would come up before a person: not in a pipe, nor on a machine without a screen."""
    if not sys.stdout.isatty():
        return False
    return sys.platform in ("darwin", "win32") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
