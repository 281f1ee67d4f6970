"""Requirements files as pip and uv know them: read with all that they include, less what no VM could make use of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hydra_gce.errors import ConfigError

_PIN = re.compile(r"([A-Za-z0-9][\w.-]*)(?:\[[^]]*])?\s*===?\s*([^\s;,*]+)\s*(?:;.*)?$")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_INDEX_OPTIONS = {
    "-i": "--index-url",
    "--index-url": "--index-url",
    "--extra-index-url": "--extra-index-url",
    "-f": "--find-links",
    "--find-links": "--find-links",
    "--no-index": "--no-index",
}


@dataclass
class Requirements:
    """``lines`` are requirements without hashes, ``local`` those of them that name a path, made absolute.

    ``indexes`` are options that say where packages come from; ``notes`` say what was not taken over.
    """

    lines: list[str] = field(default_factory=list)
    local: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    indexes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def pins(self) -> dict[str, str]:
        """Versions by canonical name, of the requirements that ask for exactly one."""
        return {canonical(match[1]): match[2] for match in map(_PIN.match, self.lines) if match}

    def names(self) -> set[str]:
        return {canonical(match[0]) for match in map(_NAME.match, self.lines) if match}

    @property
    def all_pinned(self) -> bool:
        return not self.local and all(map(_PIN.match, self.lines))

    def without(self, name: str) -> Requirements:
        """The same, less the requirements of one package."""
        kept = [line for line in self.lines if (match := _NAME.match(line)) and canonical(match[0]) != name]
        return Requirements(kept, self.local, self.constraints, self.indexes, self.notes)

    def to_text(self, *, for_vm: bool = False) -> str:
        lines = [*self.indexes, *self.lines] if for_vm else [*self.indexes, *self.lines, *self.local]
        return "".join(f"{line}\n" for line in lines)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def read(path: Path) -> Requirements:
    """:raises ConfigError: the file, or one that it includes, is not there."""
    found = Requirements()
    _read_into(found, path, found.lines, frozenset())
    return found


def parse(text: str, folder: Path) -> Requirements:
    """:param folder: where relative paths start."""
    found = Requirements()
    _parse_into(found, text, folder, found.lines, frozenset())
    return found


def is_local(requirement: str) -> bool:
    """Whether a requirement names a path on this machine."""
    target = requirement.removeprefix("-e ").strip().partition(" ;")[0]
    target = target.partition(" @ ")[2].strip() or target
    return target.startswith(("file:", ".", "/", "~")) or (
        "://" not in target and target.endswith((".whl", ".tar.gz", ".zip"))
    )


def _read_into(found: Requirements, path: Path, into: list[str], above: frozenset[Path]) -> None:
    path = path.resolve()
    if path in above:
        return
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"hydra.launcher.env.requirements: {path} cannot be read: {error}. Correct the path, or the line that"
            " includes it."
        ) from error
    _parse_into(found, text, path.parent, into, above | {path})


def _parse_into(
    found: Requirements, text: str, folder: Path, into: list[str], above: frozenset[Path]
) -> None:
    for line in _logical_lines(text):
        editable = re.match(r"(?:-e|--editable)[=\s]+(.*)", line)
        if editable:
            _add(found, _not_editable(editable[1]), folder, into)
        elif line.startswith("-"):
            _option(found, line, folder, into, above)
        else:
            _add(found, line, folder, into)


def _logical_lines(text: str) -> Iterator[str]:
    for raw in re.sub(r"\\\r?\n", " ", text).splitlines():
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        if not line.startswith("-"):
            line = re.sub(r"\s--[a-z-]+[=\s]\S+", "", line).strip()  # hashes, and options of one requirement
        if line:
            yield line


def _not_editable(target: str) -> str:
    """A repository is installed from its URL; a path stays one."""
    name = re.search(r"#(?:.*&)?egg=([\w.-]+)", target)
    return f"{name[1]} @ {target}" if name and "://" in target else target


def _add(found: Requirements, requirement: str, folder: Path, into: list[str]) -> None:
    if not is_local(requirement):
        into.append(requirement)
        return
    found.notes.append(
        f"The requirement {requirement!r} is a path of this machine and is not installed on the VM: what lies below the"
        " code's root is there as code, and what it requires is installed."
    )
    name, at, target = requirement.rpartition(" @ ")
    path = target.removeprefix("file://").removeprefix("file:")
    found.local.append(f"{name}{at}{_absolute(path, folder)}")


def _absolute(path: str, folder: Path) -> str:
    rest = re.search(r"(\[[^]]*])?\s*(;.*)?$", path)
    bare = path[: rest.start()] if rest else path
    resolved = (folder / Path(bare).expanduser()).resolve()
    return f"{resolved}{path[len(bare) :]}"


def _option(found: Requirements, line: str, folder: Path, into: list[str], above: frozenset[Path]) -> None:
    name, value = re.match(r"(--?[\w-]+)[=\s]*(.*)", line).groups()  # type: ignore[union-attr]
    if name in ("-r", "--requirement", "-c", "--constraint") and "://" not in value:
        _read_into(found, folder / value, found.constraints if "c" in name[:3] else into, above)
    elif name in _INDEX_OPTIONS:
        found.indexes.append(f"{_INDEX_OPTIONS[name]} {value}".strip())
    elif name != "--require-hashes":
        found.notes.append(f"{line}: this option is not taken over to the VM.")
