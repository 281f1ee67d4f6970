"""The journal that a program with MLflow leaves on its VM: one run with its parameters, metrics and end."""

from __future__ import annotations

from hydra_gce.tracking.environment import Point
from hydra_gce.tracking.journal import Record, encode

_EXPERIMENT = "simulated"


class SimulatedJournal:
    """Made in two parts, as an agent uploads them: what there is while the job runs, and the rest at its end."""

    def __init__(self, point: Point, metrics: int, started: float) -> None:
        """``metrics`` values of one metric in all; ``started`` in seconds since the epoch."""
        self._run = f"{point.run_family(_EXPERIMENT, '', '')}0000"
        self._metrics = metrics
        self._started = started
        self._seq = 0

    def first(self) -> bytes:
        """The run, its parameters, the first half of the metrics."""
        run = self._line(
            "run",
            {
                "run": self._run,
                "experiment": _EXPERIMENT,
                "start_time": int(self._started * 1000),
                "tags": [],
                "name": "",
            },
        )
        params = self._line(
            "batch",
            {"run": self._run, "metrics": [], "params": [["lr", "0.1"], ["batch_size", "32"]], "tags": []},
        )
        return run + params + self._steps(0, self._metrics // 2)

    def last(self, ended: float) -> bytes:
        """The other half, and the run's end."""
        end = {"run": self._run, "status": "FINISHED", "end_time": int(ended * 1000), "name": None}
        return self._steps(self._metrics // 2, self._metrics) + self._line("run_info", end)

    def _steps(self, since: int, until: int) -> bytes:
        return b"".join(self._metric(step) for step in range(since, until))

    def _metric(self, step: int) -> bytes:
        row = ["val_loss", 1.0 / (step + 1), int(self._started * 1000) + step, step]
        return self._line("batch", {"run": self._run, "metrics": [row], "params": [], "tags": []})

    def _line(self, op: str, args: dict[str, object]) -> bytes:
        self._seq += 1
        return encode(Record(self._seq, self._started, op, args))
