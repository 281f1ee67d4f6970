"""A program that talks to the tracking server itself: where its runs are, what they say, which it goes on with."""

from __future__ import annotations

import os
import uuid

from hydra_gce.tracking.environment import Point
from hydra_gce.tracking.relay.destination import JOB_TAG, PARENT_TAG, ROLE_TAG, RUN_TAG, SWEEP_TAG

_RUN_ID = "MLFLOW_RUN_ID"
_EXPERIMENT = "MLFLOW_EXPERIMENT_NAME"
_MARK = "direct/"


def tags_of_a_new_run() -> dict[str, str]:
    """Those by which a relay knows the runs of a journal, too. MLflow gives them to models as well."""
    point = Point.from_environment(os.environ)
    if point is None:
        return {}
    return {
        SWEEP_TAG: point.sweep,
        JOB_TAG: str(point.num),
        "hydra_gce.attempt": str(point.attempt),
        ROLE_TAG: "run",
        RUN_TAG: f"{_MARK}{uuid.uuid4().hex}",
    }


def have_experiment() -> None:
    """Makes the experiment that the environment names, unless it is there.

    Programs on several VMs start at the same moment, and MLflow fails in all but one of those that make it themselves.
    """
    name = os.environ.get(_EXPERIMENT)
    if not name:
        return
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient()
    try:
        if client.get_experiment_by_name(name) is None:
            client.create_experiment(name)
    except MlflowException as error:
        # Any other error the program meets, too, and says it its own way.
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            print(f"hydra-gce: the experiment {name} could not be made: {error}")


def go_on() -> None:
    """Names the run that an attempt before this one made, if there is one: ``mlflow.start_run()`` goes on with it.

    That is the first one of the job that is nested in no other.
    """
    point = Point.from_environment(os.environ)
    if point is None or point.attempt < 2 or _RUN_ID in os.environ:
        return
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient()
    whose = f"tags.`{SWEEP_TAG}` = '{point.sweep}' AND tags.`{JOB_TAG}` = '{point.num}'"
    try:
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        found = client.search_runs(experiments, whose, order_by=["attributes.start_time ASC"])
    except MlflowException as error:
        print(f"hydra-gce: the run of the attempt before was not found: {error}")
        return
    made = [run for run in found if run.data.tags.get(RUN_TAG, "").startswith(_MARK)]
    ids = {run.info.run_id for run in made}
    roots = [run for run in made if run.data.tags.get(PARENT_TAG) not in ids]
    if roots:
        os.environ[_RUN_ID] = roots[0].info.run_id
