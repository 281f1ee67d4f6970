"""A VM's record of its own life, for whoever counts its costs: from when to when it was there, and what it is."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from hydra_gce.agent.instance import Instance
from hydra_gce.bucket import Bucket, SweepNames

log = logging.getLogger(__name__)

_BOOT_S = 300.0


class VMRecord:
    """Lies in the metadata of ``vms/<instance>``: zone, machine_type, spot, booted, agent_started and, at last, ended.

    Times in seconds since the epoch. Failing to write it is no reason to stop anything.
    """

    def __init__(self, bucket: Bucket, instance: Instance, started: float, booted: float) -> None:
        self._bucket = bucket
        self._name = SweepNames(instance.attributes["hydra-gce-sweep"]).vm(instance.name)
        self._fields = {
            "zone": instance.zone,
            "machine_type": instance.machine_type,
            "spot": "true" if instance.spot else "false",
            "booted": f"{booted:.3f}",
            "agent_started": f"{started:.3f}",
        }

    def begin(self) -> None:
        self._write({})

    def end(self, now: float) -> None:
        self._write({"ended": f"{now:.3f}"})

    def _write(self, more: Mapping[str, str]) -> None:
        try:
            self._bucket.write(self._name, b"", metadata={**self._fields, **more})
        except Exception as error:
            log.warning("%s could not be written: %s: %s", self._name, type(error).__name__, error)


def booted_at(now: float, environ: Mapping[str, str] = os.environ, proc: Path = Path("/proc")) -> float:
    """When this VM was started: when its first process was, unless the startup script began long after that.

    A container's first process is not the VM's, and a guest without namespaces of its own sees its host's; so the
    startup script says when it began (``HYDRA_GCE_STARTUP``), which is seconds after the boot.
    """
    script = float(environ.get("HYDRA_GCE_STARTUP") or now)
    first = _first_process(now, proc)
    return first if first is not None and script - _BOOT_S <= first <= script else script


def _first_process(now: float, proc: Path) -> float | None:
    """When process 1 was started; https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html, field 22."""
    try:
        after_name = (proc / "1" / "stat").read_text().rpartition(")")[2].split()
        uptime = float((proc / "uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return now - (uptime - int(after_name[19]) / os.sysconf("SC_CLK_TCK"))
