"""Nothing but MlflowClient: experiments, runs, metrics, tags and ends by hand, several runs at a time."""

# mypy: ignore-errors

from __future__ import annotations

import threading

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

STARTED = 1_760_000_000_000

client = MlflowClient()
experiment = client.get_experiment_by_name("by hand")
experiment_id = (
    experiment.experiment_id if experiment else client.create_experiment("by hand", tags={"team": "vision"})
)
root = client.create_run(experiment_id, start_time=STARTED, run_name="root", tags={"kind": "study"})


def fold(number: int) -> None:
    made = client.create_run(
        experiment_id, run_name=f"fold {number}", tags={"mlflow.parentRunId": root.info.run_id}
    )
    client.log_batch(
        made.info.run_id,
        [Metric("loss", 1 / (step + 1 + number), STARTED + step, step) for step in range(40)],
        [Param("fold", str(number))],
        [RunTag("state", "running")],
    )
    client.set_tag(made.info.run_id, "state", "done")
    client.set_terminated(made.info.run_id, "FINISHED", STARTED + 1000)


threads = [threading.Thread(target=fold, args=(number,)) for number in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()

client.log_param(root.info.run_id, "folds", 3)
client.log_text(root.info.run_id, "three folds\n", "notes/summary.txt")
client.log_metric(root.info.run_id, "mean_loss", 0.25, STARTED, 0)
client.update_run(root.info.run_id, name="study")
client.set_terminated(root.info.run_id, "FAILED", STARTED + 2000)
found = client.search_runs([experiment_id], "params.fold = '1'")
assert [run.data.tags["state"] for run in found] == ["done"], found
assert client.get_run(root.info.run_id).info.run_name == "study"
assert len(client.get_metric_history(found[0].info.run_id, "loss")) == 40
