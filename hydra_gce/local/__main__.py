"""The embedded Compute Engine on the command line.

`python -m hydra_gce.local serve | ensure | stop | status | env | chaos | shell`
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from hydra_gce.local.home import PROJECT, AlreadyServed, Home, find_home
from hydra_gce.local.launch import LaunchError, call, ensure_server, find_server, wait_until_gone

if TYPE_CHECKING:
    from hydra_gce.local.home import Running

_IDLE_EXIT_S = 900.0


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status."""
    options = _parser().parse_args(arguments)
    home = find_home()
    try:
        status: int = options.run(home, options)
        return status
    except (LaunchError, AlreadyServed) as error:
        print(f"hydra-gce local: {error}", file=sys.stderr)
        return 1


def serve(home: Home, options: argparse.Namespace) -> int:
    """Serve in the foreground."""
    import logging

    from hydra_gce.local.server import serve as serve_until_stopped
    from hydra_gce.local.storage import StorageError

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    try:
        serve_until_stopped(home, idle_exit_s=options.idle_exit)
    except StorageError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def ensure(home: Home, options: argparse.Namespace) -> int:
    """Have a server with an image of that Python environment, and print where it is."""
    python = os.path.abspath(options.python)
    if not os.access(python, os.X_OK):
        raise LaunchError(f"--python {options.python}: there is no such executable.")
    while True:
        running = ensure_server(home, options.idle_exit)
        image = _register(running, python, options.idle_exit)
        if image is not None:
            break
        wait_until_gone(home)
    print(
        json.dumps(
            {"compute": running.compute, "storage": running.storage, "project": PROJECT, "image": image}
        )
    )
    return 0


def stop(home: Home, options: argparse.Namespace) -> int:
    """Power off the VMs and end the server."""
    running = find_server(home)
    if running is None:
        print("The embedded Compute Engine is not running.")
        return 0
    call(running, "POST", "stop", {})
    wait_until_gone(home)
    print("The embedded Compute Engine has ended.")
    return 0


def status(home: Home, options: argparse.Namespace) -> int:
    """Say what runs."""
    running = find_server(home)
    known = {"running": False, "home": str(home.path)}
    if running is not None:
        known = {"running": True, **call(running, "GET", "status")[1]}
    if options.json:
        print(json.dumps(known))
    else:
        print("\n".join(_in_words(known)))
    return 0


def env(home: Home, options: argparse.Namespace) -> int:
    """Print the shell exports that point Google's tools at the server, which is started if it does not run."""
    running = ensure_server(home, options.idle_exit)
    for name, value in environment(running).items():
        print(f"export {name}={value}")
    return 0


def chaos(home: Home, options: argparse.Namespace) -> int:
    """Begin the bad day that a scenario file describes, see what has happened of it, or end it."""
    from hydra_gce.local.chaos import command

    if options.scenario == "status":
        if find_server(home) is None:
            print("The embedded Compute Engine is not running.")
            return 0
        known = command.ask(home, options.idle_exit, "GET")[1]
    elif options.scenario == "off":
        known = command.ask(home, options.idle_exit, "DELETE")[1]
    else:
        known = command.begin(home, options.idle_exit, Path(options.scenario))
    print(json.dumps(known) if options.json else "\n".join(command.in_words(known, time.time())))
    return 0


def shell(home: Home, options: argparse.Namespace) -> int:
    """Be a root shell in a VM that runs, or run a command there; its exit status."""
    from hydra_gce.local.vm import Machine, MachineError

    running = find_server(home)
    known = call(running, "GET", "status")[1]["instances"] if running else []
    ids = [str(one["id"]) for one in known if one["name"] == options.instance]
    if not ids:
        raise LaunchError(f"There is no VM {options.instance} in {home.path}.")
    terminal = {name: os.environ[name] for name in ("TERM", "COLORTERM") if name in os.environ}
    try:
        command = Machine(home.machines / ids[0]).shell_command(terminal if sys.stdin.isatty() else {})
    except MachineError as error:
        raise LaunchError(str(error)) from error
    words = options.command[1:] if options.command[:1] == ["--"] else options.command
    command += ["-c", shlex.join(words)] if words else []
    sys.stdout.flush()
    os.execvp(command[0], command)


def environment(running: Running) -> dict[str, str]:
    """What gcloud, google-cloud-* and gsutil-like tools read."""
    services = ("cloudbilling", "cloudresourcemanager", "iam", "serviceusage")
    return {
        **{f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{one.upper()}": f"{running.compute}/{one}/" for one in services},
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"{running.compute}/compute/v1/",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{running.storage}/storage/v1/",
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CORE_PROJECT": PROJECT,
        "CLOUDSDK_COMPUTE_REGION": "us-central1",
        "CLOUDSDK_COMPUTE_ZONE": "us-central1-a",
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        "STORAGE_EMULATOR_HOST": running.storage,
    }


def _register(running: Running, python: str, idle_exit_s: float) -> str | None:
    """The image's path; None if the server is about to end."""
    name = f"python-{zlib.crc32(python.encode()):08x}"
    try:
        code, answer = call(
            running, "POST", "images", {"name": name, "python": python, "idle_exit_s": idle_exit_s}
        )
    except ConnectionError:
        return None
    return str(answer["image"]) if code == 200 else None


def _in_words(known: dict[str, object]) -> list[str]:
    if not known["running"]:
        return [f"The embedded Compute Engine is not running (state: {known['home']})."]
    lines = [
        f"Compute Engine  {known['compute']}/compute/v1/",
        f"Cloud Storage   {known['storage']}",
        f"process {known['pid']}, state in {known['home']}",
    ]
    if known["bad_day"]:
        lines.append("a bad day is on: `chaos status` tells more, `chaos off` ends it")
    instances = known["instances"]
    assert isinstance(instances, list)
    lines += [
        f"{one['name']:32} {one['zone']:18} {one['machine_type']:18} {one['status']}" for one in instances
    ]
    return lines if instances else [*lines, "no VM"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hydra_gce.local", description=__doc__)
    commands = parser.add_subparsers(
        required=True, metavar="serve | ensure | stop | status | env | chaos | shell"
    )
    command = commands.add_parser("serve", help=serve.__doc__)
    command.add_argument("--idle-exit", type=float, metavar="SECONDS", help="end when idle for that long")
    command.set_defaults(run=serve)
    command = commands.add_parser("ensure", help=ensure.__doc__)
    command.add_argument(
        "--python", required=True, help="executable of the environment that VMs are to carry"
    )
    command.add_argument("--idle-exit", type=float, default=_IDLE_EXIT_S, metavar="SECONDS")
    command.set_defaults(run=ensure)
    commands.add_parser("stop", help=stop.__doc__).set_defaults(run=stop)
    command = commands.add_parser("status", help=status.__doc__)
    command.add_argument("--json", action="store_true")
    command.set_defaults(run=status)
    command = commands.add_parser("env", help=env.__doc__)
    command.add_argument("--idle-exit", type=float, default=_IDLE_EXIT_S, metavar="SECONDS")
    command.set_defaults(run=env)
    command = commands.add_parser("shell", help=shell.__doc__)
    command.add_argument("instance", help="the VM's name")
    command.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="what to run there")
    command.set_defaults(run=shell)
    command = commands.add_parser("chaos", help=chaos.__doc__)
    command.add_argument("scenario", metavar="FILE | status | off")
    command.add_argument("--json", action="store_true", help="what is on and what has happened, as JSON")
    command.add_argument("--idle-exit", type=float, default=_IDLE_EXIT_S, metavar="SECONDS")
    command.set_defaults(run=chaos)
    return parser


if __name__ == "__main__":
    sys.exit(main())
