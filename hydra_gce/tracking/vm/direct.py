"""A program that talks to the tracking server itself: what its runs say of themselves, which it goes on with."""

from __future__ import annotations

import itertools
import os
import uuid

from hydra_gce.tracking.environment import Point

_RUN_ID = "MLFLOW_RUN_ID"
_ORDINAL = itertools.count()


def tags_of_a_new_run() -> dict[str, str]:
    """Those by which a relay knows the runs of a journal, too."""
    point = Point.from_environment(os.environ)
    if point is None:
        return {}
    first = next(_ORDINAL) == 0
    return {
        "hydra_gce.sweep": point.sweep,
        "hydra_gce.job": str(point.num),
        "hydra_gce.attempt": str(point.attempt),
        "hydra_gce.role": "point" if first else "run",
        "hydra_gce.run": f"direct/{uuid.uuid4().hex}",
    }


def go_on() -> None:
    """Names the run that an attempt before this one made, if there is one: ``mlflow.start_run()`` goes on with it."""
    point = Point.from_environment(os.environ)
    if point is None or point.attempt < 2 or _RUN_ID in os.environ:
        return
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient()
    whose = f"tags.`hydra_gce.sweep` = '{point.sweep}' AND tags.`hydra_gce.job` = '{point.num}'"
    try:
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        found = client.search_runs(experiments, f"{whose} AND tags.`hydra_gce.role` = 'point'")
    except MlflowException as error:
        print(f"hydra-gce: the run of the attempt before was not found: {error}")
        return
    made = [run for run in found if run.data.tags.get("hydra_gce.run", "").startswith("direct/")]
    if made:
        os.environ[_RUN_ID] = made[0].info.run_id
        next(_ORDINAL)  # the point has its run
