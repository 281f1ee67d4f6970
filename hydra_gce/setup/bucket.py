"""The bucket that sweeps travel through: closed to the public, and it forgets what is old."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from hydra_gce.bucket import ROOT
from hydra_gce.doctor.bucket import forgets
from hydra_gce.errors import ConfigError
from hydra_gce.setup import hcl
from hydra_gce.setup.step import LABEL, Removal, Step, patiently

if TYPE_CHECKING:
    from google.cloud import storage

    from hydra_gce.cloud.backend import Backend

PREFIXES = tuple(f"{ROOT}{one}/" for one in ("code", "data", "environments", "launcher", "sweeps"))
MADE = "made"
"""The label's value on a bucket that setup has made; on others it names what setup has changed."""
LIFECYCLE, UNIFORM, PRIVATE, ROLE = "lifecycle", "uniform", "private", "role"
_PARTS_DAYS = 7
_DEFAULT_PLACE = "US"
DAYS = 90


class BucketStep(Step):
    """``days``: how long code, data and sweeps are kept; 0: for ever; None: as it is, and `DAYS` in a new bucket."""

    title = "bucket"
    why = "code, data, results and records of sweeps travel through it"

    def __init__(
        self, backend: Backend, name: str, location: str, days: int | None, *, with_content: bool
    ) -> None:
        self._backend = backend
        self._name = name
        self._location = location
        self._place = location or _DEFAULT_PLACE
        self._days = days
        self._with_content = with_content

    def missing(self) -> list[str]:
        found = self._find()
        if found is None:
            old = f", old objects deleted after {self._kept_days} days" if self._kept_days else ""
            return [f"make gs://{self._name} in {self._place}: uniform access, public access prevented{old}"]
        sentences = {
            LIFECYCLE: f"delete objects below {ROOT} in gs://{self._name} after {self._kept_days} days"
            if self._kept_days
            else f"delete nothing any more in gs://{self._name}",
            UNIFORM: f"let roles alone decide who may use gs://{self._name}, not the objects' own lists",
            PRIVATE: f"prevent gs://{self._name} from being opened to the public",
        }
        return [sentences[one] for one in self._lacks(found)]

    def make(self) -> None:
        found = self._find()
        if found is None:
            bucket = self._backend.buckets.bucket(self._name)
            bucket.iam_configuration.uniform_bucket_level_access_enabled = True
            bucket.iam_configuration.public_access_prevention = "enforced"
            bucket.lifecycle_rules = self._rules()
            bucket.labels = {LABEL: MADE}
            patiently(lambda: self._backend.buckets.create_bucket(bucket, location=self._place))
            return
        lacks = self._lacks(found)
        if LIFECYCLE in lacks:
            found.lifecycle_rules = [*_others(found), *self._rules()]
        if UNIFORM in lacks:
            found.iam_configuration.uniform_bucket_level_access_enabled = True
        if PRIVATE in lacks:
            found.iam_configuration.public_access_prevention = "enforced"
        if lacks:
            mark(found, lacks)
            found.patch()

    def made(self) -> list[Removal]:
        removals = []
        for found in marked(self._backend):
            marks = found.labels[LABEL]
            if marks == MADE:
                removals.append(self._removal(found))
            else:
                what = f"what setup has changed of gs://{found.name} ({marks.replace('_', ', ')})"
                removals.append(Removal(what, partial(_change_back, found)))
        return removals

    def terraform(self) -> str:
        rules = [
            hcl.Block(
                {
                    "action": hcl.Block({"type": rule["action"]["type"]}),
                    "condition": hcl.Block(_snake(rule["condition"])),
                }
            )
            for rule in self._rules()
        ]
        fields = {
            "name": self._name,
            "location": self._place.upper(),
            "uniform_bucket_level_access": True,
            "public_access_prevention": "enforced",
            "force_destroy": False,
            "lifecycle_rule": rules,
            "depends_on": [hcl.Ref("google_project_service.storage")],
        }
        return hcl.resource("google_storage_bucket", "sweeps", fields)

    def _removal(self, found: storage.Bucket) -> Removal:
        objects = self._backend.storage.bucket(found.name)
        holds = next(iter(objects.list_blobs(max_results=1)), None) is not None
        what = f"gs://{found.name}{', with all that is in it' if holds else ''}"
        if holds and not self._with_content:
            kept = "sweeps lie in it; --with-content deletes them, too"
            return Removal(f"gs://{found.name}", lambda: None, kept)

        def remove() -> None:
            if holds:
                _empty(objects)
            found.delete()

        return Removal(what, remove)

    def _find(self) -> storage.Bucket | None:
        from google.api_core.exceptions import Forbidden, NotFound

        try:
            found: storage.Bucket = self._backend.buckets.get_bucket(self._name)
        except NotFound:
            return None
        except Forbidden as error:
            if "has not been used in project" in str(error):
                return None
            raise ConfigError(
                f"--bucket {self._name}: it belongs to somebody else, or is closed to you ({error.message})."
                f" Bucket names are shared by all the world: say --bucket {self._backend.project}-sweeps, for one."
            ) from error
        there = str(found.location)
        if self._location and self._location.upper() != there.upper():
            raise ConfigError(
                f"--bucket-location {self._location}: gs://{self._name} exists and lies in {there.lower()}; a bucket"
                f" cannot be moved. Say --bucket {self._name}-{self._location.lower()}, or leave the location out."
            )
        return found

    def _lacks(self, found: storage.Bucket) -> list[str]:
        access, lacks = found.iam_configuration, []
        if not self._has_days(found):
            lacks.append(LIFECYCLE)
        if not access.uniform_bucket_level_access_enabled:
            lacks.append(UNIFORM)
        if access.public_access_prevention != "enforced":
            lacks.append(PRIVATE)
        return lacks

    @property
    def _kept_days(self) -> int:
        return DAYS if self._days is None else self._days

    def _has_days(self, found: storage.Bucket) -> bool:
        """Whether the bucket keeps what is old for as long as was asked for."""
        rules = [dict(rule) for rule in found.lifecycle_rules]
        if self._days is None:
            return any(forgets(rule) for rule in rules)
        if self._days == 0:
            return not any(_is_ours(rule) for rule in rules)
        return any(forgets(rule) and rule["condition"].get("age") == self._days for rule in rules)

    def _rules(self) -> list[dict[str, Any]]:
        """The lifecycle: https://cloud.google.com/storage/docs/lifecycle"""
        if not self._kept_days:
            return []
        return [
            {
                "action": {"type": "Delete"},
                "condition": {"age": self._kept_days, "matchesPrefix": list(PREFIXES)},
            },
            {
                "action": {"type": "AbortIncompleteMultipartUpload"},
                "condition": {"age": _PARTS_DAYS, "matchesPrefix": [ROOT]},
            },
        ]


def marked(backend: Backend) -> list[storage.Bucket]:
    """The project's buckets that setup has made or changed; none where Cloud Storage is off."""
    from google.api_core.exceptions import Forbidden

    try:
        return [one for one in backend.buckets.list_buckets() if one.labels.get(LABEL)]
    except Forbidden as error:
        if "has not been used in project" in str(error):
            return []
        raise


def mark(found: storage.Bucket, changed: Iterable[str]) -> None:
    """Notes in the label what setup changes of a bucket that it has not made; `patch` writes it."""
    marks = found.labels.get(LABEL, "")
    if marks != MADE:
        done = dict.fromkeys([*filter(None, marks.split("_")), *changed])
        found.labels = {**found.labels, LABEL: "_".join(done)}


def _others(found: storage.Bucket) -> Iterable[Any]:
    """The rules of a lifecycle that are not ours."""
    return [rule for rule in found.lifecycle_rules if not _is_ours(dict(rule))]


def _is_ours(rule: dict[str, Any]) -> bool:
    prefixes = rule.get("condition", {}).get("matchesPrefix", [])
    return bool(prefixes) and all(one.startswith(ROOT) for one in prefixes)


def _change_back(found: storage.Bucket) -> None:
    """A bucket that was there before setup is as it was."""
    changed = found.labels[LABEL].split("_")
    if LIFECYCLE in changed:
        found.lifecycle_rules = list(_others(found))
    if UNIFORM in changed:
        found.iam_configuration.uniform_bucket_level_access_enabled = False
    if PRIVATE in changed:
        found.iam_configuration.public_access_prevention = "inherited"
    found.labels = {key: value for key, value in found.labels.items() if key != LABEL}
    found.patch()


def _empty(bucket: storage.Bucket) -> None:
    """Deletes all objects, and their older versions."""
    from concurrent.futures import ThreadPoolExecutor

    from google.api_core.exceptions import NotFound

    def delete(blob: Any) -> None:
        try:
            blob.delete()
        except NotFound:
            return

    with ThreadPoolExecutor(16) as pool:
        for _ in pool.map(delete, bucket.list_blobs(versions=True)):
            pass


def _snake(condition: dict[str, Any]) -> dict[str, Any]:
    words = {"matchesPrefix": "matches_prefix"}
    return {words.get(key, key): value for key, value in condition.items()}
