"""Runs a sweep on an embedded Compute Engine in real terminals, holds what they show against what it should be, and
draws the pictures of the README.

    python -m scripts.record_terminals                 all scenes, in a few minutes
    python -m scripts.record_terminals table pipe      some of them

Ends with 1 and the screen where one does not show what it should. Each embedded Compute Engine has a home of its own,
which is deleted afterwards. Needs pyte and ptyprocess.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hydra_gce.follow.interrupt import INTERRUPTED
from scripts.embedded_lab import Lab, lab
from scripts.terminal import NotShown, Terminal

IMAGES = Path(__file__).parents[1] / "docs" / "images"
LAUNCH = (
    "python train.py -m hydra/launcher=gce lr=1e-2,1e-3,3e-1 hydra.launcher.vm.provisioning=spot"
    " hydra.launcher.vm.machine_type=e2-small hydra.launcher.env.requirements=none"
)
SHORT = f"{LAUNCH.replace('1e-2,1e-3,3e-1', '1e-2')} steps=10"
TYPED = "python train.py -m hydra/launcher=gce lr=1e-2,1e-3,3e-1 hydra.launcher.vm.provisioning=spot"
TAKEN_BACK = {"vms": [{"event": "preempt", "names": "*-1", "times": 1, "after_s": 25}]}
PROGRAM = """\
import math
import time
from pathlib import Path

import hydra
import mlflow
from hydra.core.hydra_config import HydraConfig


@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(config):
    checkpoint = Path(HydraConfig.get().runtime.output_dir) / "step.txt"
    step = int(checkpoint.read_text()) if checkpoint.exists() else 0
    with mlflow.start_run():
        mlflow.log_params({"lr": config.lr, "total_steps": config.steps})
        while step < config.steps:
            began = time.monotonic()
            time.sleep(0.25)
            step += 1
            if config.lr > 0.1 and step == config.steps // 2:
                raise FloatingPointError(f"the loss is nan in step {step}")
            miou = 0.85 - 0.6 * math.exp(-step * (0.02 + config.lr))
            speed = 4 / (time.monotonic() - began)
            mlflow.log_metrics({"loss": 1 - miou, "val_miou": miou, "images_per_s": speed}, step=step)
            checkpoint.write_text(str(step))
    return miou


if __name__ == "__main__":
    main()
"""
_SHELL_LINE = re.compile(r"\d\d:\d\d:\d\d  \S")


def table(lab: Lab) -> None:
    """A sweep at 80x24 that loses a VM, resized in its middle, to its end: the pictures are of this one."""
    lab.bad_day(TAKEN_BACK)
    with lab.terminal(f"{LAUNCH} steps=240", 80, 24) as terminal:
        terminal.wait_for(r"PROVISIONING|BOOTING")
        screen = terminal.wait_for(r"(RUNNING.*){3} about \d+ (s|min) left.*best val_miou")
        shows(
            screen,
            r"hydra-gce  sweep \S+ · 3 points · embedded Compute Engine",
            r"lr=0\.01|lr=1e-2",
            r"\d+/240 █+░+ +0\.\d+ [▁▂▃▄▅▆▇█]+",
            r"\d images/s  best 0\.\d+  \S+-\S+-\S+  e2-small  attempt 1  hg-\S+",
            r"\$\S+ so far, about \$\S+ in all",
        )
        resized(terminal, 200, 50, r"attempt +where +VM .* left +cost")
        resized(terminal, 100, 28, r"images/s  best")
        screen = terminal.wait_for(
            r"job 1 (preempted|lost) in \S+, back in .*, goes on from step \d+.*elapsed"
        )
        terminal.save(IMAGES / "live.svg", typed=TYPED)
        resized(terminal, 60, 20, r"\d+/240")
        resized(terminal, 80, 24, r"images/s  best")
        ended = terminal.wait_for("no VM is left", 300.0)
        terminal.save(IMAGES / "end.svg", shown=lab.shown)
        shows(
            ended,
            r"overrides +val_miou +attempts",
            r"by val_miou, highest first",
            r"job 1  attempt 1 \S+ \d+:\d\d \$\S+ · attempt 2 \S+ \d+:\d\d \$",
            r"job 2 failed: .*FloatingPointError: the loss is nan in step 120",
            r"\(logs: hydra-gce logs \S+ --job 2\)",
            r"compare  hydra-gce ui",
            r"again +hydra-gce retry \S+",
            r"no VM is left · \$\S+ in all",
        )
        if terminal.transcript.count("overrides ") != 1:
            raise NotShown(f"a live table is left on the screen:\n{terminal.transcript}")
        if terminal.end() != 1:  # as with Hydra's own launcher: a job has failed
            raise NotShown(f"it should end with 1, for a job has failed:\n{terminal.transcript}")
        log = next(lab.directory.glob("multirun/*/*/hydra-gce.log")).read_text(encoding="utf-8")
        shows(log, r"job 1 (preempted|lost) in", r"job 2  FAILED", r"again +hydra-gce retry")


def leaving(lab: Lab) -> None:
    """Ctrl-C in all three ways, and back again: kept, detached, attached, detached by a second Ctrl-C, cancelled."""
    lab.bad_day(None)
    with lab.terminal(f"{SHORT} steps=2000", 80, 24) as terminal:
        sweep = named(terminal.wait_for(r"sweep \S+ · 1 point.*RUNNING.*images/s"))
        answered(terminal, "k\r")
        terminal.wait_for_more("elapsed")
        one_table(terminal)
        answered(terminal, "d\r")
        left(terminal, sweep)
    with lab.terminal("hydra-gce attach", 80, 24) as terminal:
        shows(terminal.wait_for(r"RUNNING.*\d+/2,000.*images/s"), rf"sweep {sweep} ")
        one_table(terminal)
        answered(terminal, "\x03")
        left(terminal, sweep)
    shows(lab.piped(f"hydra-gce show {sweep}"), r"RUNNING|running")
    with lab.terminal(f"hydra-gce attach {sweep}", 80, 24) as terminal:
        terminal.wait_for(r"RUNNING.*\d+/2,000.*images/s")
        answered(terminal, "c\r")
        terminal.wait_for("cancelled: the VMs save their work and end")
        ended = terminal.end(300.0)
        shows(terminal.text, r"cancelled", r"no VM is left", rf"again +hydra-gce retry {sweep}")
    if ended != INTERRUPTED:
        raise NotShown(f"it should end with {INTERRUPTED}, not {ended}:\n{terminal.transcript}")
    steps = next(lab.directory.glob("multirun/*/*/0/step.txt")).read_text(encoding="utf-8")
    if not 0 < int(steps) < 2000:
        raise NotShown(f"what was saved until then has not come home: step {steps}")


def answered(terminal: Terminal, keys: str) -> None:
    """Ctrl-C, and this answer to what it asks."""
    terminal.interrupt()
    terminal.wait_for(r"\[d\]etach \(the VMs go on\), \[c\]ancel all jobs, \[k\]eep watching\?")
    terminal.send(keys)


def left(terminal: Terminal, sweep: str) -> None:
    """The launch is over, the sweep is not."""
    ended = terminal.end()
    shows(terminal.transcript, rf"the VMs go on: hydra-gce attach\s+{sweep}\s+comes back")
    if ended != INTERRUPTED:
        raise NotShown(f"it should end with {INTERRUPTED}, not {ended}:\n{terminal.transcript}")


def named(text: str) -> str:
    """The sweep's name."""
    match = re.search(r"sweep (\S+) · ", text)
    assert match
    return match[1]


def one_table(terminal: Terminal) -> None:
    if terminal.text.count("overrides") != 1:
        raise NotShown(f"not one table:\n{terminal.text}")


def wide(lab: Lab) -> None:
    """200x50 from the first line to the last."""
    lab.bad_day(None)
    with lab.terminal(f"{SHORT} steps=60", 200, 50) as terminal:
        screen = terminal.wait_for(r"RUNNING.*images/s.*about \d+ (s|min) left")
        shows(screen, r"# +overrides +state +attempt +where +VM +step +pace +val_miou +best +left +cost")
        terminal.end()
        shows(terminal.text, r"0 +lr=.* 0\.\d+ +1 +\d:\d\d ", r"no VM is left")


def no_color(lab: Lab) -> None:
    """A terminal of somebody who sets NO_COLOR."""
    _lines_in_terminal(lab, {"NO_COLOR": "1"})


def dumb(lab: Lab) -> None:
    """A terminal that can do nothing: TERM=dumb, as in Emacs' shell."""
    _lines_in_terminal(lab, {"TERM": "dumb"})


def _lines_in_terminal(lab: Lab, environ: Mapping[str, str]) -> None:
    lab.bad_day(None)
    with lab.terminal(SHORT, 120, 40, environ) as terminal:
        terminal.end()
        if "\x1b" in terminal.written:
            raise NotShown(f"there are escape sequences with {environ}:\n{terminal.written!r}")
        _one_line_per_event(terminal.transcript)


def pipe(lab: Lab) -> None:
    """What ``| cat`` gets."""
    lab.bad_day(None)
    said = lab.piped(SHORT)
    if "\x1b" in said:
        raise NotShown(f"there are escape sequences in a pipe:\n{said!r}")
    _one_line_per_event(said)


def _one_line_per_event(said: str) -> None:
    events = [line for line in said.splitlines() if _SHELL_LINE.match(line)]
    shows(
        "\n".join(events), r"sweep \S+ · 1 point", r"job 0  BOOTING", r"job 0  RUNNING", r"job 0  COMPLETED"
    )
    if len(events) != len(set(events)):
        raise NotShown(f"an event is told twice:\n{said}")
    if wide := [line for line in events if len(line) > 100]:
        raise NotShown("wider than 100 columns:\n" + "\n".join(wide))


def resized(terminal: Terminal, columns: int, rows: int, wanted: str) -> None:
    """The window gets another size, and the table is there once, in that size."""
    terminal.resize(columns, rows)
    terminal.wait_for_more("elapsed")
    screen = terminal.wait_for(lambda text: re.search(wanted, text) and re.search("elapsed", text))
    if screen.count("overrides") != 1 or any(len(line) > columns for line in screen.splitlines()):
        raise NotShown(f"not one table at {columns}x{rows}:\n{screen}")


def shows(text: str, *patterns: str) -> None:
    """:raises NotShown: one of the regular expressions is not in it."""
    for pattern in patterns:
        if not re.search(pattern, text):
            raise NotShown(f"{pattern!r} is not in:\n{text}")


SCENES: Mapping[str, Callable[[Lab], None]] = {
    "table": table,
    "leaving": leaving,
    "wide": wide,
    "no-color": no_color,
    "dumb": dumb,
    "pipe": pipe,
}


def main(names: Sequence[str]) -> int:
    unknown = set(names) - set(SCENES)
    if unknown:
        raise SystemExit(f"there is no scene {', '.join(sorted(unknown))}; there are {', '.join(SCENES)}")
    for name in names or SCENES:
        began = time.monotonic()
        with lab("lr: 1e-2\nsteps: 40\n", PROGRAM) as made:
            try:
                SCENES[name](made)
            except NotShown as error:
                print(f"{name}: {error}", file=sys.stderr)
                for log in made.directory.glob("multirun/*/*/hydra-gce.log"):
                    print(log.read_text(encoding="utf-8"), file=sys.stderr)
                return 1
        print(f"{name}: as it should be, {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
