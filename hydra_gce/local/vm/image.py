"""The files of an image: which paths of this machine a guest needs to run the image's Python."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys

_OLDEST = (3, 10)
_ASK = """
import json, os, sys
print(json.dumps([sys.executable, getattr(sys, "_base_executable", sys.executable),
                  sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix]))
"""


class ImageError(Exception):
    """The image's Python cannot be run."""


def image_files(python: str | None) -> dict[str, list[str]]:
    """What to show of this machine beside its system directories.

    python: executable of the environment; None = a bare image, which has a Python of its own all the same, as each
    of Google's public images has.
    Returns {"trees": directories to bind at their own path, "links": symbolic links to make again, as
    "path\\ttarget", "path": directories for the guest's PATH}.
    """
    if python is not None:
        return _files_of(python)
    if _system_python_is_new_enough():
        return {"trees": [], "links": [], "path": []}
    base = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    files = _files_of(base)
    return {**files, "path": [os.path.dirname(base)]}


def _system_python_is_new_enough() -> bool:
    name = os.path.basename(os.path.realpath("/usr/bin/python3"))
    version = re.fullmatch(r"python(\d+)\.(\d+)", name)
    return version is not None and (int(version[1]), int(version[2])) >= _OLDEST


@functools.lru_cache(maxsize=32)
def _files_of(python: str) -> dict[str, list[str]]:
    try:
        answer = subprocess.run(
            [python, "-I", "-c", _ASK], capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ImageError(
            f"The image's Python {python} does not run: {error}. Register an image whose Python does."
        ) from error
    executable, base_executable, *prefixes = json.loads(answer.stdout.splitlines()[-1])
    links: dict[str, str] = {}
    trees = {_resolve(prefix, links) for prefix in prefixes}
    for program in (python, executable, base_executable):
        _resolve(program, links)
    trees = {tree for tree in trees if not _of_the_system(tree)}
    outermost = sorted(tree for tree in trees if not any(_within(tree, other) for other in trees - {tree}))
    outside = {path: target for path, target in links.items() if not _shown(path, outermost)}
    return {
        "trees": outermost,
        "links": [f"{path}\t{target}" for path, target in outside.items()],
        "path": [],
    }


def _resolve(path: str, links: dict[str, str]) -> str:
    """The path without symbolic links; each link on the way is noted in links."""
    for _ in range(40):
        done = "/"
        for name in os.path.abspath(path).split("/")[1:]:
            done = os.path.join(done, name)
            if os.path.islink(done):
                links[done] = os.readlink(done)
                rest = os.path.relpath(os.path.abspath(path), done)
                path = os.path.join(os.path.dirname(done), links[done])
                path = path if rest == "." else os.path.join(path, rest)
                break
        else:
            return done
    raise ImageError(f"{path} has too many symbolic links on its way. Name the Python by another path.")


def _of_the_system(path: str) -> bool:
    """/usr is shown in every guest, except /usr/local, which is the guest's own."""
    return path == "/" or (_within(path, "/usr") and not _within(path, "/usr/local"))


def _shown(path: str, trees: list[str]) -> bool:
    return (
        path in ("/bin", "/sbin", "/lib", "/lib64")
        or _of_the_system(path)
        or any(_within(path, tree) for tree in trees)
    )


def _within(path: str, tree: str) -> bool:
    return path == tree or path.startswith(tree.rstrip("/") + "/")
