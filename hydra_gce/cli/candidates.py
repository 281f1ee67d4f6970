"""How a line of ``hydra-gce`` may go on: from its parser, the sweeps that are known here, and their jobs."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence

FILES = (":files", "")
"""The shell completes names of files itself."""

Candidate = tuple[str, str]
"""A word, and a few words on it."""


def candidates(
    parser: argparse.ArgumentParser,
    line: str,
    sweeps: Callable[[], Sequence[Candidate]],
    jobs: Callable[[str], Iterable[int]],
) -> Iterator[Candidate]:
    """What the last word of the line, which may be empty, could become."""
    words, prefix = split(line)
    verbs = _verbs(parser)
    if not words:
        yield from _beginning(prefix, [(name, said) for name, (_, said) in verbs.items()])
        return
    if words[0] not in verbs or "--" in words:
        return
    verb = verbs[words[0]][0]
    given = list(words[1:])
    option = _waiting_option(verb, given)
    if option is None and prefix.startswith("-") and "=" in prefix:
        name, _, prefix = prefix.partition("=")
        option = verb._option_string_actions.get(name)
    if option is not None:
        named = _places(verb, given)
        found = list(_of(option, named, sweeps, jobs))
        yield from found[:1] if found[:1] == [FILES] else _beginning(prefix, found)
        # An option that takes several may be followed by something else.
        if not (option.nargs == "+" and _has_one(option, given)):
            return
    if prefix.startswith("-"):
        yield from _beginning(prefix, _options(verb, given))
        return
    if option is None:
        yield from _beginning(prefix, _places_left(verb, given, sweeps, jobs))


def split(line: str) -> tuple[list[str], str]:
    """The words behind the command's name that are whole, and the one that is being written."""
    try:
        words = shlex.split(line)
    except ValueError:  # a quote that is open still
        words = line.replace("'", "").replace('"', "").split()
    if not line or line[-1].isspace():
        return words[1:], ""
    return words[1:-1], words[-1] if len(words) > 1 else ""


def _beginning(prefix: str, found: Iterable[Candidate]) -> Iterator[Candidate]:
    return (one for one in found if one[0].startswith(prefix))


def _verbs(parser: argparse.ArgumentParser) -> dict[str, tuple[argparse.ArgumentParser, str]]:
    (choice,) = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    said = {one.dest: one.help or "" for one in choice._choices_actions}
    return {name: (verb, said.get(name, "")) for name, verb in choice.choices.items()}


def _options(verb: argparse.ArgumentParser, given: Sequence[str]) -> Iterator[Candidate]:
    for action in verb._actions:
        if action.help == argparse.SUPPRESS or not action.option_strings:
            continue
        repeated = action.nargs == "+"
        if not repeated and set(action.option_strings) & set(given):
            continue
        name = max(action.option_strings, key=len)
        yield name, (action.help or "").partition(";")[0]


def _waiting_option(verb: argparse.ArgumentParser, given: Sequence[str]) -> argparse.Action | None:
    """The option whose value is to come next."""
    for at in range(len(given) - 1, -1, -1):
        if not given[at].startswith("-"):
            continue
        action = verb._option_string_actions.get(given[at])
        values = len(given) - 1 - at
        takes_more = action is not None and (action.nargs == "+" or (action.nargs is None and values == 0))
        return action if takes_more else None
    return None


def _has_one(option: argparse.Action, given: Sequence[str]) -> bool:
    return bool(given) and given[-1] not in option.option_strings


def _places(verb: argparse.ArgumentParser, given: Sequence[str]) -> list[str]:
    """The words that belong to no option."""
    found: list[str] = []
    action: argparse.Action | None = None
    for word in given:
        if word.startswith("-"):
            action = verb._option_string_actions.get(word.partition("=")[0])
            if action is not None and ("=" in word or action.nargs == 0):
                action = None
        elif action is not None:
            if action.nargs != "+" or not word.isdigit():
                action = None
        else:
            found.append(word)
    return found


def _places_left(
    verb: argparse.ArgumentParser,
    given: Sequence[str],
    sweeps: Callable[[], Sequence[Candidate]],
    jobs: Callable[[str], Iterable[int]],
) -> Iterator[Candidate]:
    """For the words that belong to no option: ``[SWEEP] JOB``, a sweep, or a choice."""
    named = _places(verb, given)
    actions = [action for action in verb._actions if not action.option_strings]
    if not actions:
        return
    if actions[0].dest == "words":
        if not named:
            yield from sweeps()
            yield from _numbers(jobs("last"))
        elif len(named) == 1 and not named[0].isdigit():
            yield from _numbers(jobs(named[0]))
        return
    if len(named) < len(actions):
        action = actions[len(named)]
        if action.dest == "sweep":
            yield from sweeps()
        elif action.dest == "jobs":
            yield from _numbers(jobs(named[0] if named else "last"))
        elif action.choices is not None:
            yield from ((str(choice), "") for choice in action.choices)
    elif actions[-1].dest == "jobs":
        yield from _numbers(jobs(named[0]))


def _of(
    option: argparse.Action,
    named: Sequence[str],
    sweeps: Callable[[], Sequence[Candidate]],
    jobs: Callable[[str], Iterable[int]],
) -> Iterator[Candidate]:
    if option.choices is not None:
        yield from ((str(choice), "") for choice in option.choices)
    elif option.dest in ("job", "jobs"):
        yield from _numbers(jobs(named[0] if named else "last"))
    elif option.dest in ("to", "write", "terraform"):
        yield FILES


def _numbers(nums: Iterable[int]) -> Iterator[Candidate]:
    return ((str(num), "") for num in nums)
