"""Everything that this package says to MLflow about a running training, in plain `mlflow` calls.

Where the records go is MLflow's own business: MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME, MLFLOW_RUN_ID and
the rest of its environment are left to it. One thread sends them, in order: training waits for the network
only at its end.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import LifecycleStage, Metric, RunStatus
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from unet.errors import Preempted
from unet.settings import Settings

log = logging.getLogger(__name__)

RUN_ID_FILE = "mlflow_run_id"
"""In the output directory: the run that a resumed training goes on with."""

# MLflow's own limits: https://mlflow.org/docs/latest/api_reference/rest-api.html#request-limits
_PARAMS_PER_BATCH = 100
_METRICS_PER_BATCH = 1000
_PARAM_LENGTH = 6000


Record = tuple[int, float, Mapping[str, float]]
"""The metrics of a step: its number, when it was taken in seconds of Unix time, and their values by name."""

Former = tuple[str, Sequence[Record]]


class TrackedRun:
    """An MLflow run being written. Calls return at once; what fails is raised by one of the next calls.

    Metrics are sent together, when those of `log_every` steps wait.
    """

    def __init__(self, run_id: str, resumed: bool, log_every: int) -> None:
        self.run_id = run_id
        self._client = mlflow.MlflowClient()
        self._resumed = resumed
        self._log_every = log_every
        self._waiting: list[Record] = []
        self._sender = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mlflow")
        self._sending: list[
            tuple[Future[None], Sequence[Record]]
        ] = []  # and the metrics that are on their way so
        self._already_logged: dict[str, int] = {}

    def log(self, step: int, metrics: Mapping[str, float], moment: float) -> None:
        """Record the metrics of a step, which was taken at `moment`, in seconds of Unix time."""
        self._waiting.append((step, moment, metrics))
        if len(self._waiting) >= self._log_every:
            self.flush()

    def flush(self) -> None:
        """Send the metrics that wait."""
        waiting, self._waiting = self._waiting, []
        self._send(self._log_metrics, waiting, records=waiting)

    def unrecorded(self) -> list[Record]:
        """Metrics that MLflow has not confirmed: what a checkpoint keeps, for a process that is killed now."""
        under_way = [record for sent, records in self._sending if not sent.done() for record in records]
        return under_way + self._waiting

    def log_params(self, params: Mapping[str, str]) -> None:
        """Record parameters. A resumed run keeps the value that it has; a tag tells another one."""
        self._send(self._log_params, params)

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Record a copy of a file, which has to stay as it is until the run ends."""
        self._send(self._client.log_artifact, self.run_id, str(path), folder)

    def log_dict(self, content: Mapping[str, Any], artifact: str) -> None:
        """Record `content` as a YAML or JSON file."""
        self._send(self._client.log_dict, self.run_id, content, artifact)

    def settle(self) -> None:
        """Send what waits, and wait until MLflow has it."""
        if self._waiting:
            self.flush()
        for sent, _ in self._sending:
            sent.result()

    def finish(self) -> None:
        """Wait until MLflow has everything; nothing can be recorded afterwards."""
        try:
            self.settle()
        finally:
            self._sender.shutdown(wait=True)

    def _send(self, send: Callable[..., None], *args: object, records: Sequence[Record] = ()) -> None:
        for sent, _ in self._sending:
            if sent.done():
                sent.result()
        self._sending = [(sent, its) for sent, its in self._sending if not sent.done()]
        self._sending.append((self._sender.submit(send, *args), records))

    def _log_metrics(self, waiting: list[Record]) -> None:
        rows = [
            Metric(key, value, int(moment * 1000), step)
            for step, moment, metrics in waiting
            for key, value in metrics.items()
            if step > self._last_step(key)
        ]
        for start in range(0, len(rows), _METRICS_PER_BATCH):
            self._client.log_batch(self.run_id, metrics=rows[start : start + _METRICS_PER_BATCH])

    def _last_step(self, key: str) -> int:
        """The last step that a former attempt recorded: from its checkpoint on, steps are taken again."""
        if not self._resumed:
            return -1
        if key not in self._already_logged:
            history = self._client.get_metric_history(self.run_id, key)
            self._already_logged[key] = max((metric.step for metric in history), default=-1)
        return self._already_logged[key]

    def _log_params(self, params: Mapping[str, str]) -> None:
        known = self._client.get_run(self.run_id).data.params
        for key, value in params.items():
            if known.get(key, value) != value:
                log.warning("%s was %s in the run that is resumed and is now %s.", key, known[key], value)
                self._client.set_tag(self.run_id, f"changed_on_resume.{key}", value)
        new = {key: value for key, value in params.items() if key not in known}
        for start in range(0, len(new), _PARAMS_PER_BATCH):
            mlflow.log_params(dict(list(new.items())[start : start + _PARAMS_PER_BATCH]), run_id=self.run_id)


@contextmanager
def tracked_run(
    settings: Settings, output_dir: Path, run_name: str | None, former: Former = ("", ())
) -> Iterator[TrackedRun]:
    """The MLflow run that the environment or `output_dir` names, or a new one, with the settings as params.

    Args:
        former: what a checkpoint knows of the run before it: its id, which counts where `output_dir` has no word of
            one, and metrics that MLflow may not have.

    It ends as FINISHED, as FAILED with an exception, and as KILLED when the training was preempted.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    former_id, unrecorded = former
    active, resumed = _start(settings, output_dir / RUN_ID_FILE, run_name, former_id)
    run_id = active.info.run_id
    (output_dir / RUN_ID_FILE).write_text(run_id)
    log.info("MLflow run %s in experiment %s.", run_id, active.info.experiment_id)
    run = TrackedRun(run_id, resumed, settings.trainer.log_every)
    status = RunStatus.FAILED
    try:
        run.log_params(flat_params(asdict(settings)))
        run.log_dict(asdict(settings), "settings.yaml")
        for step, moment, metrics in unrecorded:
            run.log(step, metrics, moment)  # those that MLflow has are not repeated
        yield run
        run.finish()
        status = RunStatus.FINISHED
    except BaseException as error:
        if isinstance(error, Preempted | KeyboardInterrupt):
            status = RunStatus.KILLED
            log.warning("Stopped: %s", error or "interrupted")
        try:
            run.finish()
        except Exception:
            log.exception("MLflow did not take the last records of run %s.", run_id)
        raise
    finally:
        mlflow.end_run(RunStatus.to_string(status))


def flat_params(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as MLflow's parameters: `{"data": {"crop": 128}}` is `data.crop` = `128`."""
    params: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            params |= flat_params(value, f"{prefix}{key}.")
        else:
            params[prefix + key] = str(value)[:_PARAM_LENGTH]
    return params


def _start(
    settings: Settings, run_id_file: Path, run_name: str | None, former: str
) -> tuple[mlflow.ActiveRun, bool]:
    start = partial(mlflow.start_run, log_system_metrics=settings.tracking.system_metrics)
    if os.environ.get("MLFLOW_RUN_ID"):
        return start(), True
    tags = {}
    if run_id_file.exists():
        former = run_id_file.read_text().strip()
    if former:
        if _is_known(former):
            return start(run_id=former), True
        log.warning("MLflow does not know run %s of the former attempt; a new run takes over.", former)
        tags = {"resumed_from": former}
    experiment_id = None
    if not (os.environ.get("MLFLOW_EXPERIMENT_NAME") or os.environ.get("MLFLOW_EXPERIMENT_ID")):
        experiment_id = mlflow.set_experiment(settings.tracking.experiment).experiment_id
        # MLflow leaves the experiment in the environment, where the process's next training would take it for
        # the user's wish.
        os.environ.pop("MLFLOW_EXPERIMENT_ID", None)
    return start(experiment_id=experiment_id, run_name=run_name, tags=tags), False


def _is_known(run_id: str) -> bool:
    try:
        run = mlflow.MlflowClient().get_run(run_id)
    except MlflowException as error:
        if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            return False
        raise
    return bool(run.info.lifecycle_stage == LifecycleStage.ACTIVE)
