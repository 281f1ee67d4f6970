"""How Compute Engine says that it takes this VM back: two values of the metadata server, and SIGTERM.

``preempted`` turns TRUE, and the VM has 30 s: https://cloud.google.com/compute/docs/instances/preemptible. Or
``maintenance-event`` turns TERMINATE_ON_HOST_MAINTENANCE, 60 s before a VM is stopped, an hour before one with GPUs is:
https://cloud.google.com/compute/docs/gpus/gpu-host-maintenance. MIGRATE_ON_HOST_MAINTENANCE is no reason to leave.
"""

from __future__ import annotations

import http.client
import logging
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from hydra_gce.agent.departure import Cause, Departure
from hydra_gce.agent.instance import watch_metadata

log = logging.getLogger(__name__)

_HELD_S = 60
_SLOW_S = 30
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 3.0
# A VM that somebody stops or deletes has 90 s, a spot VM 30 s; whoever is sent away does not know by whom.
_SHUT_DOWN_S = 30.0


class Notice(NamedTuple):
    """A value of the metadata server that means: this VM ends in ``notice_s`` seconds."""

    path: str
    value: str
    cause: Cause
    notice_s: float


NOTICES = (
    Notice("instance/preempted", "TRUE", Cause.PREEMPTED, 30.0),
    Notice("instance/maintenance-event", "TERMINATE_ON_HOST_MAINTENANCE", Cause.MAINTENANCE, 60.0),
)


def watch(departure: Departure) -> None:
    """Starts the watch for all of them in the background."""
    for notice in NOTICES:
        name = notice.path.rpartition("/")[2]
        threading.Thread(target=await_notice, args=(notice, departure), name=name, daemon=True).start()


def await_notice(notice: Notice, departure: Departure, pause: Callable[[float], object] = time.sleep) -> None:
    """Holds a request at the metadata server until the value turns, however slow or often away the server is."""
    etag, failed = "0", 0  # no etag is "0": the first answer comes at once
    while not departure.is_announced():
        try:
            value, etag = watch_metadata(notice.path, etag, _HELD_S, _HELD_S + _SLOW_S)
        except (OSError, http.client.HTTPException) as error:
            if failed == 0:
                log.warning("the metadata server does not say %s: %s", notice.path, error)
            pause(random.uniform(0.5, 1.0) * min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(failed, 10)))
            failed += 1
            continue
        failed = 0
        if value.strip() == notice.value:
            log.info("Compute Engine takes this VM back: %s", notice.cause.value)
            departure.announce(notice.cause, notice.notice_s)


def heed_sigterm(departure: Departure) -> None:
    """Takes SIGTERM, as at an ACPI shutdown, for an announcement. To be called in the main thread.

    What a handler in Python does may meet a lock that the main thread holds; a byte in a pipe meets nothing.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def listen() -> None:
        while signal.SIGTERM not in os.read(reading, 64):
            pass
        departure.announce(Cause.SHUT_DOWN, _SHUT_DOWN_S)

    threading.Thread(target=listen, name="sigterm", daemon=True).start()
