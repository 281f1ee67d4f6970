"""Which images are trained on, which are validated with and which are kept for the end.

Shares and folds are drawn by a hash of each name with data.split_seed: a new image moves no other one, and the
seed of the training has no part in it.
"""

import hashlib
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from unet.data.images import ENDINGS
from unet.data.source import listing
from unet.settings import DataSettings

log = logging.getLogger(__name__)

_RANGE = re.compile(r"(\d+)-(\d+)")
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_FRACTION = re.compile(r"0?\.\d+")

ReadList = Callable[[str], str]
"""The text of a list file. Raises OSError with the reason."""


@dataclass
class Split:
    """Names, each in the order of all names."""

    training: list[str] = field(default_factory=list)
    validation: list[str] = field(default_factory=list)
    test: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def all(self) -> set[str]:
        return {*self.training, *self.validation, *self.test}


def counting_order(name: str) -> list[tuple[bool, int, str]]:
    """A sort key that puts 2 before 10."""
    parts = re.split(r"([0-9]+)", name)
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]


def split(
    names: Sequence[str], settings: DataSettings, read_list: ReadList, test_names: Sequence[str] | None = None
) -> Split:
    """Divide `names`. `test_names`: of a data set that has images for the test apart; only `data.test` selects them."""
    found = Split()
    if _SHARE.fullmatch(settings.train.strip()):
        found.problems.append(
            f"data.train is {settings.train}, but a share is one of data.train's images; name them, such as * for "
            "all, and give the share to data.validation or data.test"
        )
        return found
    chosen = set(_select(names, settings.train, "data.train", read_list, found.problems))
    train = [name for name in names if name in chosen]
    drawn = sorted(train, key=lambda name: hashlib.sha256(f"{settings.split_seed}/{name}".encode()).digest())

    test, test_share = settings.test.strip(), _SHARE.fullmatch(settings.test.strip())
    if test_share and test_names is None:
        kept = drawn[: _part(test_share, train, "data.test", found.problems)]
        found.test, drawn = kept, drawn[len(kept) :]
    elif test:
        pool = names if test_names is None else test_names
        text = "*" if test_share else test
        found.test = _select(pool, text, "data.test", read_list, found.problems)
        if test_share:
            found.problems.append(
                f"data.test is {test}, but this data set has images for the test apart; give * or names"
            )

    validation = settings.validation.strip()
    if settings.folds:
        if settings.folds > len(drawn):
            found.problems.append(
                f"data.folds={settings.folds} is more than the {len(drawn)} images that data.train selects; take fewer"
            )
        found.validation = drawn[settings.fold :: settings.folds]
    elif share := _SHARE.fullmatch(validation):
        found.validation = drawn[: _part(share, train, "data.validation", found.problems)]
    elif validation:
        found.validation = _select(names, validation, "data.validation", read_list, found.problems)

    drawn_away = set()
    if settings.folds or _SHARE.fullmatch(validation):
        drawn_away |= set(found.validation)
    if test_share:
        drawn_away |= set(found.test)
    found.training = [name for name in train if name not in drawn_away]
    order = {name: number for number, name in enumerate([*names, *(test_names or ())])}
    for part in (found.validation, found.test):
        part.sort(key=order.__getitem__)
    _check(found, train)
    return found


def _check(found: Split, train: list[str]) -> None:
    parts = {"data.train": found.training, "data.validation": found.validation, "data.test": found.test}
    labels = list(parts)
    for number, first in enumerate(labels):
        for second in labels[number + 1 :]:
            in_second = set(parts[second])
            if both := [name for name in parts[first] if name in in_second]:
                found.problems.append(
                    f"{first} and {second} both select {listing(both)}; take them out of one of the two"
                )
    if train and not found.training:
        found.problems.append(
            f"nothing is left to train on: data.train selects {listing(train)}, and all go to the validation or the "
            "test; give them smaller shares"
        )


def _part(share: re.Match[str], train: Sequence[str], label: str, problems: list[str]) -> int:
    percent = float(share[1])
    if not 0 < percent < 100:
        problems.append(f"{label} is {share[0]}; a share is above 0 % and below 100 %")
        return 0
    return max(1, round(len(train) * percent / 100)) if train else 0


def _select(
    names: Sequence[str], selection: str, label: str, read_list: ReadList, problems: list[str]
) -> list[str]:
    """Names that a selection such as `0-23,40,test_*,@more.txt` means, each once, in the order of all."""
    chosen: set[str] = set()
    by_stack: dict[str, list[str]] = {}
    for name in names:
        by_stack.setdefault(name.rpartition("/")[0] or name, []).append(name)
    for term in filter(None, (term.strip() for term in selection.split(","))):
        if term.startswith("@"):
            chosen |= _listed(names, by_stack, term[1:], label, read_list, problems)
            continue
        found = _matching(names, by_stack, term)
        if not found:
            hint = _hint(names, term)
            problems.append(f"{label}: {term!r} selects no image; there are {listing(names) or 'none'}{hint}")
        elif beyond := _beyond(found, term):
            log.warning("%s: %s goes beyond the images: the last of them is %s.", label, term, beyond)
        chosen |= found
    return [name for name in names if name in chosen]


def _hint(names: Sequence[str], term: str) -> str:
    """What was probably meant by a term that selects nothing."""
    bare = _without_ending(term)
    if bare != term and _matching(names, {}, bare):
        return f"; names are without ending: {bare}"
    if _FRACTION.fullmatch(term):
        return f"; a share is written as {100 * float(term):g}%"
    return "; * selects all" if _RANGE.fullmatch(term) else ""


def _beyond(found: set[str], term: str) -> int | None:
    """The last number of a range's images, if the range ends after it."""
    if not (numbers := _RANGE.fullmatch(term)):
        return None
    last = max((int(head) for name in found if (head := name.split("/")[0]).isdecimal()), default=None)
    return last if last is not None and last < int(numbers[2]) else None


def _matching(names: Sequence[str], by_stack: dict[str, list[str]], term: str) -> set[str]:
    if term in by_stack:  # a name, or a stack with all its pages
        return set(by_stack[term])
    if term in names:
        return {term}
    if numbers := _RANGE.fullmatch(term):
        first, last = int(numbers[1]), int(numbers[2])
        heads = {name: name.split("/")[0] for name in names}
        return {name for name, head in heads.items() if head.isdecimal() and first <= int(head) <= last}
    return {name for name in names if fnmatchcase(name, term)}


def _listed(
    names: Sequence[str],
    by_stack: dict[str, list[str]],
    file: str,
    label: str,
    read_list: ReadList,
    problems: list[str],
) -> set[str]:
    try:
        text = read_list(file)
    except UnicodeDecodeError:
        problems.append(f"{label}: the list {file} is no text; write one name a line, as UTF-8")
        return set()
    except OSError as error:
        problems.append(
            f"{label}: the list {file} cannot be read ({error.strerror or error}); give a path from data.folder or "
            "from the working directory"
        )
        return set()
    lines = [line.strip() for line in text.splitlines()]
    wanted = [line for line in lines if line and not line.startswith("#")]
    known, chosen, unknown = set(names), set[str](), list[str]()
    for name in wanted:
        bare = _without_ending(name)
        found = next((n for n in (name, bare) if n in known or n in by_stack), None)
        if found is None:
            unknown.append(name)
        else:
            chosen |= {found} & known or set(by_stack[found])
    if unknown:
        problems.append(
            f"{label}: the list {file} names {listing(unknown)}, which are no images of data.folder"
        )
    if not wanted:
        problems.append(f"{label}: the list {file} is empty; write one name a line")
    return chosen


def _without_ending(name: str) -> str:
    return name.rpartition(".")[0] if name.lower().endswith(ENDINGS) else name


def numbers_of(names: Sequence[str], chosen: Iterable[str]) -> list[int]:
    """The place of each chosen name among all."""
    place = {name: number for number, name in enumerate(names)}
    return [place[name] for name in chosen]
