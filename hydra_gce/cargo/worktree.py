"""Which files a project consists of: what git tracks or would track; without git, all but leftovers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path

_NEVER = {".git", ".hg", ".svn", "__pycache__", "node_modules"}
_LEFTOVERS = {
    *_NEVER, ".mypy_cache", ".ruff_cache", ".pytest_cache", ".tox", ".nox", ".eggs", ".ipynb_checkpoints",
    "multirun", "mlruns", "mlartifacts",
}  # fmt: skip
_LEFTOVER_FILES = ("*.pyc", "*.pyo", "mlflow.db", "mlflow.db-*", ".DS_Store")
_LONGEST_DIFFERENCE = 1_000_000
_GIT_REDIRECTIONS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR")
"""Set inside git's own hooks, where they name another repository than the one that is asked about."""


def find_root(start: Path) -> Path:
    """The top of the git repository around ``start``, or ``start`` itself."""
    start = start.resolve()
    top = _git(start, "rev-parse", "--show-toplevel")
    return Path(os.fsdecode(top.rstrip(b"\n"))) if top else start


def list_files(root: Path, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> list[str]:
    """Names relative to ``root``, sorted, of the files and symbolic links that belong to the project.

    Those are the tracked ones and the untracked ones that git does not ignore, submodules included; those
    that match ``include`` as well, though git ignores them; none that match ``exclude``. Patterns are as in
    ``.gitignore``.
    """
    from pathspec import GitIgnoreSpec

    names = set(_git_files(root)) or set(_walk(root, _LEFTOVERS))
    if include:
        wanted = GitIgnoreSpec.from_lines(include)
        names.update(wanted.match_files(_walk(root, _NEVER)))
    if exclude:
        names.difference_update(GitIgnoreSpec.from_lines(exclude).match_files(list(names)))
    return sorted(names)


def _git_files(root: Path) -> Iterator[str]:
    tracked = _git(root, "ls-files", "--stage", "-z")
    if tracked is None:
        return
    for record in filter(None, tracked.split(b"\0")):
        mode_and_more, _, raw = record.partition(b"\t")
        name = os.fsdecode(raw)
        if mode_and_more.startswith(b"160000"):
            yield from _nested(root, name)
        elif os.path.lexists(root / name):
            yield name
    leftover = _Leftovers(root)
    untracked = _git(root, "ls-files", "--others", "--exclude-standard", "-z") or b""
    for raw in filter(None, untracked.split(b"\0")):
        name = os.fsdecode(raw)
        if name in leftover:
            continue
        if name.endswith("/"):
            yield from _nested(root, name.rstrip("/"))
        else:
            yield name


def _nested(root: Path, name: str) -> Iterator[str]:
    """Files of a submodule, or of a repository that lies in this one; none if it is not checked out."""
    if os.path.lexists(root / name / ".git"):
        for inner in _git_files(root / name):
            yield f"{name}/{inner}"


def _git(directory: Path, *arguments: str) -> bytes | None:
    environment = {name: value for name, value in os.environ.items() if name not in _GIT_REDIRECTIONS}
    environment["GIT_OPTIONAL_LOCKS"] = "0"
    try:
        done = subprocess.run(["git", *arguments], cwd=directory, env=environment, capture_output=True)
    except FileNotFoundError:  # no git on this machine
        return None
    return done.stdout if done.returncode == 0 else None


def _walk(root: Path, prune: set[str]) -> Iterator[str]:
    leftover = _Leftovers(root, prune)
    for folder, folders, files in os.walk(root):
        base = os.path.relpath(folder, root)
        prefix = "" if base == "." else f"{base.replace(os.sep, '/')}/"
        linked = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        folders[:] = [name for name in folders if name not in linked and f"{prefix}{name}/" not in leftover]
        for name in (*files, *linked):
            if f"{prefix}{name}" not in leftover:
                yield f"{prefix}{name}"


class _Leftovers:
    """What tools leave in a project: caches, virtual environments, the outputs of Hydra and MLflow."""

    def __init__(self, root: Path, folders: set[str] = _LEFTOVERS) -> None:
        self._root = root
        self._folders = folders
        self._is_leftover_folder = lru_cache(maxsize=None)(self._look)

    def __contains__(self, name: str) -> bool:
        """``name`` is relative to the root; a folder's ends in a slash."""
        *parents, last = name.split("/")
        if any(self._is_leftover_folder("/".join(parents[: i + 1])) for i in range(len(parents))):
            return True
        return self._folders is _LEFTOVERS and any(fnmatch(last, pattern) for pattern in _LEFTOVER_FILES)

    def _look(self, folder: str) -> bool:
        last = folder.rpartition("/")[2]
        path = self._root / folder
        if last in self._folders or (path / "pyvenv.cfg").is_file():
            return True
        # A package may well be called "outputs"; Hydra's folder of that name holds no module.
        return last == "outputs" and self._folders is _LEFTOVERS and not (path / "__init__.py").exists()


def git_state(root: Path) -> tuple[str | None, bool]:
    """The commit that ``root`` is at, None without git or a commit; and whether anything differs from it."""
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--", ".")
    return (commit.decode().strip() if commit else None), bool(changes)


def uncommitted(root: Path) -> str:
    """What differs from the commit, as ``git apply`` takes it; files that git does not know are named at its top.

    Empty without git or a commit, and where nothing differs. What is too long for a page is cut.
    """
    difference = _git(root, "diff", "--no-color", "--no-ext-diff", "HEAD", "--", ".")
    if difference is None:
        return ""
    unknown = _git(root, "ls-files", "--others", "--exclude-standard", "--", ".") or b""
    names = "".join(f"# not in git: {name}\n" for name in unknown.decode(errors="replace").splitlines())
    text = names + difference.decode(errors="replace")
    if len(text) > _LONGEST_DIFFERENCE:
        return f"# cut: {len(text):,} characters\n{text[:_LONGEST_DIFFERENCE]}"
    return text
