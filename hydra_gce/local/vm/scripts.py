"""Startup and shutdown scripts, run and reported as Google's guest agent does (google_metadata_script_runner)."""

from __future__ import annotations

import os
import signal
import time

from hydra_gce.local.vm import spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra_gce.local.vm.init import Guest

_SHELL = "/bin/bash"


def start(guest: Guest, kind: str) -> None:
    """Runs the script of this kind in the background; each line that it prints goes to the console."""
    pid = os.fork()
    if pid:
        return
    try:
        signal.signal(
            signal.SIGTERM, signal.SIG_IGN
        )  # what the script prints while it is being ended is heard as well
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        os.closerange(3, 1024)
        _run(guest, kind)
    finally:
        os._exit(0)


def _run(guest: Guest, kind: str) -> None:
    name = kind.removesuffix("-script")
    _say(guest, f"Starting {name} scripts (version hydra-gce).")
    if guest.script(f"{kind}-url"):
        _say(
            guest, f'Script "{kind}-url" failed with error: embedded VMs fetch no scripts; give it as {kind}'
        )
    script = guest.script(kind)
    if not script:
        _say(guest, f"No {name} scripts to run.")
        return
    _say(guest, f"Found {kind} in metadata.")
    directory = f"{guest.temporary}/metadata-scripts{os.getpid()}{time.time_ns()}"
    os.mkdir(directory, 0o700)
    path = f"{directory}/{kind}"
    with open(path, "w", encoding="utf-8") as file:
        file.write(script.lstrip())
    os.chmod(path, 0o700)
    shell = _SHELL if os.path.exists(_SHELL) else "/bin/sh"
    reading, writing = os.pipe()
    pid = spawn.program([shell, "-c", path], guest.environment, guest.home, writing)
    os.close(writing)
    with open(reading, "rb") as output:
        for line in output:
            _say(guest, f"{kind}: {line.decode('utf-8', 'replace').rstrip()}")
    _, status = os.waitpid(pid, 0)
    if status == 0:
        _say(guest, f"{kind} exit status 0")
    else:
        _say(guest, f'Script "{kind}" failed with error: {_outcome(status)}')
    os.unlink(path)
    os.rmdir(directory)
    _say(guest, f"Finished running {name} scripts.")


def _outcome(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"signal: {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exit status {os.waitstatus_to_exitcode(status)}"


def _say(guest: Guest, text: str) -> None:
    date = time.strftime("%b %d %H:%M:%S", time.gmtime())
    line = f"{date} {guest.hostname} google_metadata_script_runner[{os.getpid()}]: {text}\r\n"
    os.write(1, line.encode())
