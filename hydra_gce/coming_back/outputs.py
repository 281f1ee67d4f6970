"""What a job has in its output directory, as its newest manifest in the bucket has it, while it runs or afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from hydra_gce import claims
from hydra_gce.errors import ObjectMissing, UnknownName
from hydra_gce.found import did_you_mean
from hydra_gce.mirror import Manifest, read_manifest

if TYPE_CHECKING:
    from hydra_gce.found import FoundSweep


def newest_attempt(found: FoundSweep, num: int) -> int:
    """The newest attempt that has taken the job, by its status where somebody deleted the claim; 0 if none has."""
    claim = claims.read(found.bucket, found.names, num)
    return claim.attempt if claim else found.job(num).attempt


def newest(found: FoundSweep, num: int) -> tuple[int, Manifest]:
    """The newest attempt, and the newest manifest, which may be an earlier one's.

    :raises ObjectMissing: there is none yet.
    :raises SealBroken: it is not the sweep's own.
    """
    attempt = newest_attempt(found, num)
    manifest = read_manifest(found.bucket, found.names, found.key(), num, attempt) if attempt else None
    if manifest is None:
        raise ObjectMissing(
            f"job {num} of {found.sweep} has no outputs in gs://{found.bucket.name} yet: they are sent every ten"
            " seconds once its program runs"
        )
    return attempt, manifest


def chosen(manifest: Manifest, paths: Sequence[str], whose: str) -> Manifest:
    """What ``paths`` name: files, folders with all that is in them, patterns with * and ?. All of it if there are none.

    :raises UnknownName: one of them names nothing; the message has the nearest.
    """
    if not paths:
        return manifest
    files = {}
    directories = []
    for path in (one.strip("/").removeprefix("./") for one in paths):
        mine = {name: entry for name, entry in manifest.files.items() if _names(path, name)}
        folders = [name for name in manifest.directories if _names(path, name)]
        if not (mine or folders):
            names = [*manifest.files, *manifest.directories]
            raise UnknownName(
                f"{whose} has no {path!r}."
                + did_you_mean(path, names, " hydra-gce pull --list shows what there is.")
            )
        files.update(mine)
        directories += folders
    return Manifest(files, directories)


def _names(path: str, name: str) -> bool:
    return path in ("", ".") or name == path or name.startswith(f"{path}/") or fnmatchcase(name, path)
