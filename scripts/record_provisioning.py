"""Writes what the commands of docs/provisioning.md really print into its marked blocks.

    python -m scripts.record_provisioning                 all blocks, in three minutes
    python -m scripts.record_provisioning offers-a100     some of them

Each runs on an embedded Compute Engine with a home of its own, which is ended and deleted afterwards. A block begins
with ``<!-- recorded: NAME -->`` and ends with ``<!-- end -->``; what was between them is replaced. Needs pyte.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hydra_gce.fleet.said import fact, wrong_request
from hydra_gce.machines import VMRequest, resolve
from hydra_gce.refusals import Reach, Refusal, judge
from scripts import provisioning_scenes as scenes
from scripts.embedded_lab import Lab, lab

PAGE = Path(__file__).parents[1] / "docs" / "provisioning.md"

SWEEP = "python train.py -m hydra/launcher=gce"
FOLLOWS = {
    Reach.ATTEMPT: "the same place again, four times with longer pauses; then the next",
    Reach.ZONE: "the next zone",
    Reach.REGION: "the next region",
    Reach.EVERYWHERE: "no other place",
    Reach.REQUEST: "nothing more: no place would take it",
}
SMALL = "hydra.launcher.vm.machine_type=e2-small"


def typed(command: str, output: str) -> str:
    """A block as the page has it; long addresses of Google's console are cut."""
    short = re.sub(r"&pageState=\S+", "&pageState=…", output)
    return f"```\n$ {command}\n{short.rstrip()}\n```"


def offers_a100(lab: Lab) -> str:
    lab.bad_day(scenes.SMALL_PROJECT)
    return _offers(lab, "hydra-gce offers --gpu A100 --spot")


def offers_t4(lab: Lab) -> str:
    lab.bad_day(None)
    return _offers(lab, "hydra-gce offers --gpu T4")


def _offers(lab: Lab, command: str) -> str:
    """The first rows, and all that follows the last."""
    lines = lab.in_terminal(f"{command} --backend local").rstrip().splitlines()
    last = max(at for at, line in enumerate(lines) if re.match(r"~?\d+\.\d{3} ", line))
    return typed(command, "\n".join([*lines[:6], "…", *lines[last + 1 :]]))


def dry_run(lab: Lab) -> str:
    lab.bad_day(None)
    command = (
        f"{SWEEP} lr=1e-3,1e-4 \\\n    hydra.launcher.vm.gpu=T4 hydra.launcher.vm.provisioning=spot"
        " hydra.launcher.expected_hours=2 \\\n    hydra.launcher.dry_run=true"
    )
    text = lab.piped(command)
    return typed(command, _shortened(text[text.index("hydra-gce  dry run") :]))


def _shortened(text: str) -> str:
    """Without most of the places and of the body: what each VM has in common with every other is left out."""
    places = re.sub(
        r"((?:places.*\n)(?: {11}.*\n){2})(?: {11}.*\n)+?( {11}and )", r"\1           …\n\2", text
    )
    body = re.sub(r'(  "machineType": .*\n)(?:.*\n)*?(  "scheduling")', r"\1  …\n\2", places)
    return re.sub(r'(  "guestAccelerators": \[\n).*(?=  \]\n)', r"\1    …\n", body, flags=re.DOTALL)


def looking(lab: Lab) -> str:
    lab.bad_day(scenes.MANY_ANSWERS)
    return _sweep(lab, f"{SWEEP} lr=1e-3,1e-4 steps=2 {SMALL}", "us-central1-a has no", "BOOTING")


def nothing_left(lab: Lab) -> str:
    lab.bad_day(scenes.NOTHING_LEFT)
    command = (
        f"{SWEEP} lr=1e-3 \\\n    hydra.launcher.vm.gpu=T4 hydra.launcher.vm.provisioning=spot_else_standard"
        " \\\n    'hydra.launcher.vm.regions=[us-central1,us-west1,us-east1,us-west4]'"
        " \\\n    hydra.launcher.wait_for_room_minutes=0"
    )
    text = lab.piped(command, status=1)
    said = text[text.index("NoPlace: ") :].removeprefix("NoPlace: ")
    return typed(command, said.partition("\n\nSet the environment")[0])


def refusals(lab: Lab) -> str:
    """A row for each kind: what the launcher says, what it does, what would help."""
    candidate = resolve(VMRequest(gpu="T4", zones=["us-central1-a"]))[0]
    rows = ["| | the launcher says | and asks | what helps |", "|---|---|---|---|"]
    for kind, code, message, status in scenes.REFUSALS:
        refusal = judge(code, message, status, project="ml-lab")
        said = fact(candidate, refusal)
        if refusal.reach is Reach.REQUEST:
            said = wrong_request(refusal).removesuffix(f" {_sentence(refusal.advice)}")
        rows.append(f"| {kind}: `{code}` | {said} | {_follows(refusal)} | {_advice(refusal)} |")
    return "\n".join(rows)


def _sentence(clause: str) -> str:
    return f"{clause[:1].upper()}{clause[1:]}."


def _follows(refusal: Refusal) -> str:
    follows = FOLLOWS[refusal.reach]
    if refusal.reach in (Reach.REQUEST, Reach.ATTEMPT):
        return follows
    return f"{follows}; later again" if refusal.may_pass else follows


def _advice(refusal: Refusal) -> str:
    """Without the address of Google's console, which names a project."""
    plain = re.sub(r":? https://\S+", "", refusal.advice).replace("hydra.launcher.", "")
    return plain.replace("|", "\\|") or "-"


def program(lab: Lab) -> str:
    return f"```python\n{scenes.PROGRAM}```"


def lost_vms(lab: Lab) -> str:
    lab.bad_day(scenes.LOST_VMS)
    spot = "hydra.launcher.vm.provisioning=spot hydra.launcher.heartbeat_timeout_s=15"
    return _sweep(lab, f"{SWEEP} lr=1e-3,1e-4 steps=15 {SMALL} \\\n    {spot}", "taken back", "^1 ")


def taken_up(lab: Lab) -> str:
    lab.bad_day(None)
    command = f"{SWEEP} lr=1e-3,1e-4 steps=40 {SMALL} \\\n    hydra.sweep.dir=multirun/lr"
    lab.killed(command, "job 1  RUNNING")
    listed = typed("hydra-gce ls", lab.in_terminal("hydra-gce ls"))
    again = _sweep(lab, command, "goes on with", "no VM is left")
    return listed.removesuffix("```") + again.removeprefix("```\n")


def down(lab: Lab) -> str:
    lab.bad_day(None)
    said = lab.killed(f"{SWEEP} lr=1e-3,1e-4 steps=100 {SMALL}", "job 1  RUNNING")
    found = re.search(r"hydra-gce  sweep (\S+)", said)
    assert found is not None, said
    command = f"hydra-gce down {found.group(1)}"
    return typed(command, lab.piped(command))


def _sweep(lab: Lab, command: str, first: str, last: str) -> str:
    """Its lines from the first that has ``first`` to the last that has ``last``, both regular expressions."""
    lines = lab.piped(command).splitlines()
    begin = next(at for at, line in enumerate(lines) if re.search(first, line))
    end = max(at for at, line in enumerate(lines) if re.search(last, line))
    return typed(command, "\n".join(["…", *lines[begin : end + 1], *["…"] * (end + 1 < len(lines))]))


BLOCKS: Mapping[str, Callable[[Lab], str]] = {
    "offers-a100": offers_a100,
    "offers-t4": offers_t4,
    "dry-run": dry_run,
    "looking": looking,
    "nothing-left": nothing_left,
    "refusals": refusals,
    "program": program,
    "lost-vms": lost_vms,
    "taken-up": taken_up,
    "down": down,
}


def written(page: str, name: str, block: str) -> str:
    """The page with this block.

    :raises SystemExit: it has no place for it, or several.
    """
    place = re.compile(rf"(<!-- recorded: {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
    page, count = place.subn(lambda found: f"{found.group(1)}{block}\n{found.group(2)}", page)
    if count != 1:
        raise SystemExit(f"{PAGE.name} has {count} blocks {name!r}, and should have one")
    return page


def main(names: Sequence[str]) -> int:
    unknown = set(names) - set(BLOCKS)
    if unknown:
        raise SystemExit(f"there is no block {', '.join(sorted(unknown))}; there are {', '.join(BLOCKS)}")
    source = f'{scenes.IMPORTS}{scenes.PROGRAM}\n\nif __name__ == "__main__":\n    main()\n'
    with lab("lr: 1e-3\nsteps: 3\n", source) as made:
        for name in names or BLOCKS:
            began = time.monotonic()
            block = BLOCKS[name](made)
            PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), name, block), encoding="utf-8")
            lines = block.splitlines()
            took = time.monotonic() - began
            print(f"{name}: {len(lines)} lines, {max(map(len, lines))} columns, {took:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
