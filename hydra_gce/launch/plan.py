"""What a launch has settled, sealed in the bucket: with it a sweep is followed from anywhere as its launch would."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from omegaconf.errors import OmegaConfBaseException

import hydra_gce
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.cargo.pack import Sent
from hydra_gce.errors import ConfigError, GenerationMismatch
from hydra_gce.identity import Identity
from hydra_gce.jobs import Placement, seal, unseal
from hydra_gce.launch.compose import Point
from hydra_gce.settings import Settings, settings_from
from hydra_gce.tracking.mode import Mode
from hydra_gce.tracking.relay.runs import TrackedSweep


@dataclass(frozen=True)
class Plan:
    """Of one batch. ``image`` is the backend's own at that time; ``code`` tells the person how much was sent;
    ``tracking_uri`` is the MLflow server, without whoever logs in, None where it is a store of the laptop's. ``marks``
    tell what each job is: see ``resume``.
    """

    settings: Settings
    points: list[Point]
    sent: Sent
    tracked: TrackedSweep
    mode: Mode
    image: str | None
    code: str
    tracking_uri: str | None = None
    sought: str = ""
    marks: Mapping[int, Mapping[str, str]] = field(default_factory=dict)

    @property
    def sweep_dir(self) -> Path:
        return self.points[0].sweep_dir


def write(bucket: Bucket, identity: Identity, plan: Plan) -> None:
    """After those that are there."""
    names = identity.names
    number = sum(1 for _ in bucket.list(names.plans))
    header = {
        "version": hydra_gce.__version__,
        "settings": asdict(plan.settings),
        "points": [_place_of(point) for point in plan.points],
        "sent": asdict(plan.sent),
        "tracked": asdict(plan.tracked),
        "mode": plan.mode.value,
        "image": plan.image,
        "code": plan.code,
        "tracking_uri": plan.tracking_uri,
        "sought": plan.sought,
        "marks": {num: dict(marks) for num, marks in plan.marks.items()},
    }
    configs = zlib.compress(pickle.dumps([point.packed for point in plan.points]))
    while True:
        sealed = seal(identity.key, _purpose(names, number), header, configs)
        try:
            bucket.write(names.plan(number), sealed, if_generation=0)
            return
        except GenerationMismatch:  # another launch into the same sweep, at the same moment
            number += 1


def read(bucket: Bucket, names: SweepNames, key: bytes) -> list[Plan]:
    """Those of all batches, the newest last; none where no launch came so far.

    :raises ConfigError: another version of the launcher has written it, in a way that this one cannot read.
    :raises SealBroken: it is not the sweep's own.
    """
    plans = []
    for entry in sorted(bucket.list(names.plans), key=lambda one: one.name):
        number = int(entry.name.removeprefix(names.plans))
        header, configs = unseal(key, _purpose(names, number), bucket.read(entry.name))
        header = {"version": "?", **header}
        try:
            plans.append(_restored(header, pickle.loads(zlib.decompress(configs))))
        except (KeyError, TypeError, ValueError, OmegaConfBaseException) as error:
            what = (str(error).splitlines() or [""])[0]
            raise ConfigError(
                f"sweep {names.sweep} was launched with hydra-gce-launcher {header.get('version')}, and this is"
                f" {hydra_gce.__version__}, which cannot read what that has settled ({what})."
                f" Install that one: pip install hydra-gce-launcher=={header.get('version')}"
            ) from error
    return plans


def joined(plans: Sequence[Plan]) -> Plan:
    """All points of a sweep, with the rest as its newest batch has it."""
    points = {point.num: point for plan in plans for point in plan.points}
    overrides = {num: one for plan in plans for num, one in plan.tracked.job_overrides.items()}
    newest = plans[-1]
    tracked = {**vars(newest.tracked), "job_overrides": overrides}
    return Plan(
        **{
            **vars(newest),
            "points": [points[num] for num in sorted(points)],
            "tracked": TrackedSweep(**tracked),
        }
    )


def _restored(header: dict[str, Any], configs: Sequence[bytes]) -> Plan:
    tracked = header["tracked"]
    tracked["job_overrides"] = {int(num): one for num, one in tracked["job_overrides"].items()}
    sent = header["sent"]
    return Plan(
        settings=settings_from(header["settings"]),
        points=[_point(place, packed) for place, packed in zip(header["points"], configs, strict=True)],
        sent=Sent(
            Placement(**sent["code"]),
            [Placement(**one) for one in sent["data"]],
            sent["environment"],
            sent["launcher"],
        ),
        tracked=TrackedSweep(**tracked),
        mode=Mode(header["mode"]),
        image=header["image"],
        code=header["code"],
        tracking_uri=header["tracking_uri"],
        sought=header["sought"],
        marks={int(num): marks for num, marks in header["marks"].items()},
    )


def _place_of(point: Point) -> dict[str, Any]:
    return {
        "num": point.num,
        "overrides": point.overrides,
        "sweep_dir": str(point.sweep_dir),
        "output_dir": str(point.output_dir),
    }


def _point(place: dict[str, Any], packed: bytes) -> Point:
    return Point.restored(
        place["num"], place["overrides"], packed, Path(place["sweep_dir"]), Path(place["output_dir"])
    )


def _purpose(names: SweepNames, number: int) -> str:
    return f"{names.sweep}/plan/{number}"
