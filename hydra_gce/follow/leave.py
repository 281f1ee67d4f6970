"""Nothing is left: seen to at the end of a sweep, after Ctrl-C, and by ``hydra-gce down``."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from hydra_gce.compute import Compute
from hydra_gce.compute.leftovers import Found, Leftover
from hydra_gce.errors import Unreachable

NOTHING_LEFT = "no VM is left"

_AT_ONCE = 16  # deletions side by side


@dataclass(frozen=True)
class Patience:
    """How long is waited for what, in seconds.

    self_deletion_s: for the agents, which delete their own VMs. deletion_s: until all is gone; a guest has 90 s to
    shut down. again_s: until a deletion that was taken up, or whose answer was lost, is asked for once more.
    leaving_s: the same for a VM that is on its way out without us.
    """

    self_deletion_s: float = 30.0
    deletion_s: float = 180.0
    again_s: float = 15.0
    leaving_s: float = 100.0
    pause_s: float = 0.2
    longest_pause_s: float = 2.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass
class Remains:
    """What is still there after the wait; ``why`` has what Compute Engine said against a deletion, by name.

    unknown: why it is not known what is there; empty where it is known.
    """

    left: list[Leftover] = field(default_factory=list)
    why: dict[str, str] = field(default_factory=dict)
    unknown: str = ""

    @property
    def nothing(self) -> bool:
        return not self.left and not self.unknown

    def lines(self, command: str) -> list[str]:
        """In words; ``command`` is what to run later."""
        refused = [one for one in self.left if one.name in self.why]
        deleted = ", ".join(one.name for one in self.left if one.name not in self.why)
        lines = [f"still being deleted: {deleted}"] if deleted else []
        lines += [
            f"{one.kind} {one.name} in {one.where} is still there: {self.why[one.name]}" for one in refused
        ]
        if self.unknown:
            lines.append(f"what is left is not known: {self.unknown}")
        return [*lines, f"Look again with: {command}"]


def see_them_leave(compute: Compute, sweep: str, patience: Patience | None = None) -> str:
    """Waits for the agents to delete their own VMs, and deletes what is still there after a while."""
    patience = patience or Patience()
    deadline = patience.clock() + patience.self_deletion_s
    while patience.clock() < deadline:
        try:
            if not compute.instances(sweep):
                break
        except Unreachable:
            pass  # the network may be back before the deadline, and delete_all has one of its own
        patience.sleep(patience.pause_s)
    return delete_all(compute, sweep, patience)


def delete_all(compute: Compute, sweep: str | None, patience: Patience | None = None) -> str:
    """Deletes all that the sweep (None: every sweep) has, wherever it is, and says what is left."""
    remains = clear(compute, sweep, patience=patience)
    if remains.nothing:
        return NOTHING_LEFT
    return ". ".join(remains.lines(f"hydra-gce down {sweep or '--all'}"))


def clear(
    compute: Compute,
    sweep: str | None,
    tell: Callable[[list[Leftover]], None] = lambda left: None,
    patience: Patience | None = None,
) -> Remains:
    """Deletes all that the sweep (None: every sweep) has, and waits until it is gone, or for ``deletion_s``.

    ``tell`` hears after each look what is still there. A network that is away in between is waited for.
    """
    patience = patience or Patience()
    deadline = patience.clock() + patience.deletion_s
    asked: dict[tuple[str, str, str], float] = {}
    remains, pause = Remains(), patience.pause_s
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while True:
            try:
                found = compute.leftovers(sweep)
            except Unreachable as error:
                remains.unknown = f"Compute Engine does not answer ({error})"
            else:
                remains.left, remains.unknown = found.leftovers, _silence(found)
                if remains.nothing:
                    return remains
                tell(found.leftovers)
                due = _due(found.leftovers, asked, patience)
                for one, why in zip(due, pool.map(compute.remove, due), strict=True):
                    remains.why.pop(one.name, None)
                    if why:
                        remains.why[one.name] = why
            if patience.clock() >= deadline:
                return remains
            patience.sleep(pause)
            pause = min(patience.longest_pause_s, 1.5 * pause)


def _due(
    leftovers: list[Leftover], asked: dict[tuple[str, str, str], float], patience: Patience
) -> list[Leftover]:
    """Those whose deletion is to be asked for now; noted in ``asked``."""
    now, due = patience.clock(), []
    for one in leftovers:
        wait = patience.leaving_s if one.leaving else patience.again_s
        last = asked.setdefault(one.is_same(), now) if one.leaving else asked.get(one.is_same())
        if last is None or now - last >= wait:
            asked[one.is_same()] = now
            due.append(one)
    return due


def _silence(found: Found) -> str:
    return f"no answer from {', '.join(sorted(set(found.silent)))}" if found.silent else ""
