"""A laptop whose MLflow is another than that of the tests: in a process of its own, it plays what a VM has left into
its store, then says what the store has, and what a plain run of the program has left in another.

``python laptop.py '{"storage": …, "bucket": …, "vm": …, "store": …, "plain": …, "answer": …}'``
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import mlflow
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client
from mlflow import MlflowClient

from hydra_gce.bucket import Bucket
from hydra_gce.jobs import JobState
from tests.tracking.equality import records
from tests.tracking.lab import STARTED, Machine, relay_for, root_run


def main(asked: dict[str, str]) -> dict[str, Any]:
    options = {"api_endpoint": asked["storage"]}
    client = Client(project="p", credentials=AnonymousCredentials(), client_options=options)
    vm = Machine(Bucket(client.bucket(asked["bucket"])), Path(asked["vm"]), num=0, attempt=1)
    relay = relay_for(vm.bucket, asked["store"])
    relay.tick({0: vm.upload()})
    relay.finish(vm.status(JobState.COMPLETED), STARTED + 100, {"cost_usd": "0.031"})
    relay.close(JobState.COMPLETED, STARTED + 200, {"cost_usd": "0.031"})
    played, plain = MlflowClient(asked["store"]), MlflowClient(asked["plain"])
    run_id = str(relay.run_id(0))
    os.environ["MLFLOW_TRACKING_URI"] = asked["store"]
    return {
        "version": mlflow.__version__,
        "trouble": relay.trouble,
        "refused": [refusal.why for refusal in relay.refused],
        "wanted": records(plain, root_run(plain, "membrane")),
        "found": records(played, run_id),
        "run": run_id,
        "history": json.loads(played.get_run(run_id).data.tags.get("mlflow.log-model.history", "[]")),
        "predicted": mlflow.pyfunc.load_model(f"runs:/{run_id}/model").predict([0.2, 0.9]),
    }


if __name__ == "__main__":
    order = json.loads(sys.argv[1])
    Path(order["answer"]).write_text(json.dumps(main(order)))
