"""`python -m hydra_gce.local chaos FILE | status | off`: bad days from the command line."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from hydra_gce.local.chaos.scenario import ANY, ErrorRule, Scenario, ScenarioError, StockRule, VmRule, read
from hydra_gce.local.home import Home
from hydra_gce.local.launch import LaunchError, call, ensure_server, wait_until_gone

Json = dict[str, Any]


def read_file(path: Path) -> Json:
    """The mapping in a scenario file. Raises `LaunchError` with all that is wrong with it."""
    import yaml  # not at the top: `ensure` passes by here and has to be quick

    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise LaunchError(
            f"{path}: there is no such file; a scenario, `status` or `off` is expected."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise LaunchError(f"{path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise LaunchError(f"{path} is no YAML: {error}") from error
    try:
        return read(given if given is not None else {}).given
    except ScenarioError as error:
        raise LaunchError(_in_file(path, error.mistakes)) from error


def ask(home: Home, idle_exit_s: float, verb: str, given: Json | None = None) -> tuple[int, Json]:
    """One request to `/hydra-gce/chaos` of the server, which is started where none runs."""
    while True:
        running = ensure_server(home, idle_exit_s)
        try:
            code, answer = call(running, verb, "chaos", given)
        except ConnectionError:
            code, answer = 503, {}
        if code != 503:
            return code, answer
        wait_until_gone(home)  # it was about to end; the next one takes the request


def begin(home: Home, idle_exit_s: float, path: Path) -> Json:
    """Begin the scenario of a file. Raises `LaunchError` with all that is wrong with it."""
    code, answer = ask(home, idle_exit_s, "POST", read_file(path))
    if code != 200:
        raise LaunchError(_in_file(path, answer["mistakes"]))
    return answer


def in_words(known: Json, now: float) -> list[str]:
    """What is on and what has happened, in lines. `now`: seconds since the epoch."""
    if known["scenario"] is None:
        return ["No bad day is on."]
    scenario, happened = read(known["scenario"]), known["happened"]
    since = time.strftime("%H:%M:%S", time.localtime(known["began"]))
    lines = [f"A bad day since {since} ({now - known['began']:.0f} s), seed {scenario.seed}"]
    if scenario.clock_s:
        lines.append(f"{'clock':12}{scenario.clock_s:+g} s against Google's")
    lines += [_line("stock", index, _stock(rule), happened) for index, rule in enumerate(scenario.stock)]
    lines += [
        f"{f'quotas[{i}]':12}{q.metric} {q.limit:g} in {q.region}" for i, q in enumerate(scenario.quotas)
    ]
    lines += [_line("errors", index, _error(rule), happened) for index, rule in enumerate(scenario.errors)]
    lines += [_line("vms", index, _vm(rule), happened) for index, rule in enumerate(scenario.vms)]
    return lines if _has_rules(scenario) else [*lines, "with nothing in it"]


def _line(part: str, index: int, what: str, happened: Json) -> str:
    count = happened[part][index]
    return f"{f'{part}[{index}]':12}{what:58} {count} {'refused' if part == 'stock' else 'happened'}"


def _stock(rule: StockRule) -> str:
    end = "" if rule.until_s == float("inf") else f" to {rule.until_s:g}"
    times = f", from {rule.from_s:g}{end} s" if rule.from_s or end else ""
    of = [_names(one) for one in (rule.machines, rule.models) if one != ANY]
    vms = f"{rule.vms} VM{'s' * (rule.vms != 1)}" if rule.vms else "sold out"
    return f"{_names(rule.zones)}: {vms}{' of ' * bool(of)}{' '.join(of)}{times}"


def _error(rule: ErrorRule) -> str:
    if rule.answer is not None:
        effect = f"{rule.answer.status} {rule.answer.reason}"
    elif rule.operation is not None:
        effect = f"{rule.operation.code}{' (made)' if rule.operation.made else ''}"
    else:
        fields = ("lost", "cut", "stuck", "slow_s", "operation_slow_s", "cut_after_bytes")
        name, value = next(
            (name, getattr(rule, name)) for name in fields if getattr(rule, name) not in (None, False)
        )
        effect = name if value is True else f"{name} {value:g}"
    return f"{_names(rule.methods)}: {effect}{_often(rule.share, rule.times)}"


def _vm(rule: VmRule) -> str:
    of = "".join(f" {_names(one)}" for one in (rule.names, rule.machines) if one != ANY)
    return f"{_names(rule.zones)}: {rule.event.value}{of}{_often(rule.share, rule.times)}"


def _often(share: float, times: int | None) -> str:
    return (f", {share:.0%}" if share < 1 else "") + (f", at most {times}" if times is not None else "")


def _names(wildcards: tuple[str, ...]) -> str:
    return "any" if wildcards == ANY else ",".join(wildcards)


def _has_rules(scenario: Scenario) -> bool:
    return bool(scenario.clock_s or scenario.stock or scenario.quotas or scenario.errors or scenario.vms)


def _in_file(path: Path, mistakes: list[str]) -> str:
    return "\n  ".join([f"{path} is no scenario:", *mistakes])
