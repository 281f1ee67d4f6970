"""Steps that a lost attempt logged after the checkpoint from which the next one went on: the later attempt's count.

A step of a metric is one attempt's: the last that logged it. When an attempt logs a step for the first time, what
earlier ones logged there goes. MLflow's API can only add to a history, so it goes where the store is this machine's:
a database, or a directory. Behind a server it stays, and only the same value again is left out.

``system/`` metrics of all attempts stay: they tell of different VMs.
"""

from __future__ import annotations

import inspect
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mlflow.entities import Metric

from hydra_gce.tracking.relay.destination import Destination, KnownRun

MOST_REPEATED = 10_000
"""So many points of a run may be in the store before it is said there how far they go."""
_SYSTEM = "system/"
_AT_ONCE = 500  # SQL's limit on the values of one statement, with room to spare

Steps = Mapping[str, set[int]]
Point = tuple[int, int, str]
"""Step, timestamp and value of a metric, the value as text: NaN is not equal to itself."""


class History(Protocol):
    """What a store has of runs' metrics."""

    def last_step(self, run_id: str, key: str) -> int | None:
        """The highest step of a metric; None where it has none."""

    def remove(self, run_id: str, steps: Steps) -> None:
        """Removes all points of these metrics at these steps."""

    def values(self, run_id: str, key: str, steps: set[int]) -> dict[int, set[float]]:
        """What stays at these steps all the same, and must not be written again."""

    def there(self, run_id: str, key: str) -> set[Point]:
        """All points of a metric; none where the store itself drops a point that comes again."""


@dataclass
class Repeats:
    """For the runs of one job. ``settle`` is told of every metric before it is written, ``seen`` of those that are."""

    history: History
    attempt: int = 0
    stayed: dict[str, int] = field(default_factory=dict)
    """At how many steps an earlier attempt's value stays beside another one, by the run's id in the store."""
    _looked_at: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _there: dict[tuple[str, str], set[Point]] = field(default_factory=dict)
    _last: dict[tuple[str, str], int] = field(default_factory=dict)
    _taken: dict[tuple[str, str], set[int]] = field(default_factory=lambda: defaultdict(set))

    def begin(self, attempt: int) -> None:
        """From now on, metrics are this attempt's."""
        if attempt != self.attempt:
            self.attempt = attempt
            self._last.clear()
            self._taken.clear()

    def seen(self, run: KnownRun, metrics: Iterable[Metric]) -> None:
        """Metrics of this attempt that an earlier relay has written."""
        for metric in metrics:
            self._taken[run.run_id, metric.key].add(metric.step)

    def written(self, run: KnownRun, metrics: Sequence[Metric]) -> set[int]:
        """The places of those among ``metrics`` that a relay wrote which was killed before it could say so.

        Only the first points of a run can be such, in the life of a relay.
        """
        run_id = run.run_id
        if self._looked_at[run_id] >= MOST_REPEATED:
            for of_run in [known for known in self._there if known[0] == run_id]:
                del self._there[of_run]
            return set()
        self._looked_at[run_id] += len(metrics)
        # What this relay has written since is none that it repeats: another point all the same stays another one.
        for key in {metric.key for metric in metrics}:
            if (run_id, key) not in self._there:
                self._there[run_id, key] = self.history.there(run_id, key)
        there = self._there
        return {
            i for i, m in enumerate(metrics) if there[run_id, m.key] and _point(m) in there[run_id, m.key]
        }

    def settle(self, run: KnownRun, metrics: Sequence[Metric]) -> set[int]:
        """Makes room for ``metrics``; gives the places of those among them that are in the store and stay there."""
        if self.attempt < 2 or not metrics:
            return set()
        new: dict[str, set[int]] = defaultdict(set)
        for metric in metrics:
            if metric.key.startswith(_SYSTEM) or metric.step in self._taken[run.run_id, metric.key]:
                continue
            if metric.step <= self._last_step(run.run_id, metric.key):
                new[metric.key].add(metric.step)
        self.history.remove(run.run_id, new)
        stay = {key: self.history.values(run.run_id, key, steps) for key, steps in new.items()}
        self.seen(run, metrics)
        there = {place for place, m in enumerate(metrics) if m.value in stay.get(m.key, {}).get(m.step, ())}
        stayed = sum(map(len, stay.values())) - len({(metrics[i].key, metrics[i].step) for i in there})
        self.stayed[run.run_id] = self.stayed.get(run.run_id, 0) + stayed
        return there

    def _last_step(self, run_id: str, key: str) -> int:
        if (run_id, key) not in self._last:
            last = self.history.last_step(run_id, key)
            self._last[run_id, key] = -(2**63) if last is None else last
        return self._last[run_id, key]


def _point(metric: Metric) -> Point:
    return metric.step, metric.timestamp, repr(float(metric.value))


def history_of(to: Destination) -> History:
    """The one that suits the store."""
    from mlflow.store.tracking.file_store import FileStore
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from mlflow.tracking._tracking_service.utils import _get_store

    store = to.call("be opened", lambda: _get_store(to.uri))
    if isinstance(store, SqlAlchemyStore):
        return _Database(store)
    if isinstance(store, FileStore):
        return _Directory(store)
    return _Server(to)


class _Database:
    def __init__(self, store: Any) -> None:
        self._session = store.ManagedSessionMaker
        # Since 3.6 a session is only for reading unless it is asked for otherwise.
        names = inspect.signature(self._session).parameters
        self._to_write = {"read_only": False} if "read_only" in names else {}

    def last_step(self, run_id: str, key: str) -> int | None:
        from mlflow.store.tracking.dbmodels.models import SqlMetric
        from sqlalchemy import func, select

        with self._session() as session:
            query: Any = select(func.max(SqlMetric.step))
            of_key = query.where(SqlMetric.run_uuid == run_id, SqlMetric.key == key)
            last: int | None = session.execute(of_key).scalar()
        return last

    def remove(self, run_id: str, steps: Steps) -> None:
        from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlMetric
        from sqlalchemy import delete, select

        with self._session(**self._to_write) as session:
            for key, numbers in steps.items():
                of_key = (SqlMetric.run_uuid == run_id, SqlMetric.key == key)
                for some in _pieces(sorted(numbers)):
                    session.execute(delete(SqlMetric).where(*of_key, SqlMetric.step.in_(some)))
                latest = session.get(SqlLatestMetric, {"run_uuid": run_id, "key": key})
                if latest is not None and latest.step in numbers:
                    session.delete(latest)
                    session.flush()
                    newest = select(SqlMetric).where(*of_key)
                    newest = newest.order_by(
                        SqlMetric.step.desc(), SqlMetric.timestamp.desc(), SqlMetric.value.desc()
                    )
                    left = session.execute(newest.limit(1)).scalar()
                    if left is not None:
                        session.add(
                            SqlLatestMetric(
                                run_uuid=run_id,
                                key=key,
                                value=left.value,
                                timestamp=left.timestamp,
                                step=left.step,
                                is_nan=left.is_nan,
                            )
                        )

    def values(self, run_id: str, key: str, steps: set[int]) -> dict[int, set[float]]:
        return {}

    def there(self, run_id: str, key: str) -> set[Point]:
        return set()


class _Directory:
    def __init__(self, store: Any) -> None:
        self._store = store

    def last_step(self, run_id: str, key: str) -> int | None:
        return max((_step(line) for line in self._lines(run_id, key)), default=None)

    def remove(self, run_id: str, steps: Steps) -> None:
        for key, numbers in steps.items():
            lines = self._lines(run_id, key)
            left = [line for line in lines if _step(line) not in numbers]
            if len(left) < len(lines):
                beside = Path(self._run_dir(run_id), ".metric.new")  # among the metrics it would be one
                beside.write_text("".join(left), encoding="utf-8")
                os.replace(beside, self._path(run_id, key))

    def values(self, run_id: str, key: str, steps: set[int]) -> dict[int, set[float]]:
        return {}

    def there(self, run_id: str, key: str) -> set[Point]:
        fields = (line.split() for line in self._lines(run_id, key))
        return {(int(step), int(time), repr(float(value))) for time, value, step, *_ in fields}

    def _run_dir(self, run_id: str) -> str:
        directory: str = self._store._find_run_root(run_id)[1]
        return directory

    def _path(self, run_id: str, key: str) -> Path:
        return Path(self._run_dir(run_id), self._store.METRICS_FOLDER_NAME, key)

    def _lines(self, run_id: str, key: str) -> list[str]:
        try:
            return self._path(run_id, key).read_text(encoding="utf-8").splitlines(keepends=True)
        except FileNotFoundError:
            return []


def _step(line: str) -> int:
    """A line is ``timestamp value step``, then perhaps a data set."""
    return int(line.split(" ", 3)[2])


class _Server:
    def __init__(self, to: Destination) -> None:
        self._to = to
        self._histories: dict[tuple[str, str], dict[int, set[float]]] = {}

    def last_step(self, run_id: str, key: str) -> int | None:
        values: dict[int, set[float]] = defaultdict(set)
        for metric in self._history(run_id, key):
            values[metric.step].add(metric.value)
        self._histories[run_id, key] = values
        return max(values, default=None)

    def there(self, run_id: str, key: str) -> set[Point]:
        return {_point(metric) for metric in self._history(run_id, key)}

    def _history(self, run_id: str, key: str) -> Sequence[Metric]:
        found: Sequence[Metric] = self._to.client.get_metric_history(run_id, key)
        return found

    def remove(self, run_id: str, steps: Steps) -> None:
        """A server's API has nothing for it."""

    def values(self, run_id: str, key: str, steps: set[int]) -> dict[int, set[float]]:
        known = self._histories.get((run_id, key), {})
        return {step: known[step] for step in steps if step in known}


def _pieces(numbers: list[int]) -> Iterable[list[int]]:
    return (numbers[start : start + _AT_ONCE] for start in range(0, len(numbers), _AT_ONCE))
