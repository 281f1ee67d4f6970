"""What is said of one job, piece by piece: the columns of the live table, and the words beside it."""

from __future__ import annotations

from rich.text import Text

from hydra_gce.display.figures import bar, clean, money, number, rough_duration, sparkline, speed, steps
from hydra_gce.display.pace import seconds_left
from hydra_gce.jobs import JobState
from hydra_gce.view import JobView

STATE_STYLES = {
    JobState.PENDING: "dim",
    JobState.PROVISIONING: "blue",
    JobState.BOOTING: "blue",
    JobState.RUNNING: "cyan",
    JobState.PREEMPTED: "yellow",
    JobState.COMPLETED: "green",
    JobState.FAILED: "bold red",
    JobState.CANCELLED: "magenta",
}


def state(job: JobView) -> Text:
    """In words first: a colour alone says nothing to many."""
    return Text(job.state.value, style=STATE_STYLES[job.state])


def where(job: JobView) -> str:
    """``us-central1-a``; ``us-central1-a→c`` or ``us-central1-a→us-east1-b`` after a move."""
    zone, before = clean(job.zone), clean(job.previous_zone)
    if not zone or not before or zone == before:
        return zone or before
    region, _, letter = zone.rpartition("-")
    return f"{before}→{letter if before.startswith(f'{region}-') else zone}"


def gpu(job: JobView) -> str:
    """``T4`` or ``2 x T4`` of ``spot n1-standard-4 + T4 in us-central1-a``; nothing without one."""
    return clean(job.machine).partition(" in ")[0].partition(" + ")[2]


def machine(job: JobView) -> str:
    """Its GPU; the machine type where it has none, without "spot"."""
    return gpu(job) or clean(job.machine).partition(" in ")[0].rpartition(" ")[2]


def attempt(job: JobView) -> str:
    return str(job.attempt) if job.attempt else ""


def step(job: JobView, bar_cells: int) -> str:
    if job.step is None:
        return ""
    drawn = f" {bar(job.step, job.total_steps, bar_cells)}" if bar_cells and job.total_steps else ""
    return f"{steps(job.step, job.total_steps)}{drawn}"


def pace(job: JobView) -> str:
    """The program's own figure, else its steps; of a job that runs."""
    if job.state is not JobState.RUNNING:
        return ""
    if job.speed is not None and job.speed_unit:
        return speed(job.speed, clean(job.speed_unit))
    return speed(job.steps_per_s, "steps/s") if job.steps_per_s else ""


def metric(job: JobView, name: str, spark_cells: int) -> str:
    """``name`` is in the column's title already."""
    if job.metric is None:
        return ""
    own = clean(job.metric_name)
    value = number(job.metric) if name or not own else f"{own} {number(job.metric)}"
    curve = sparkline(job.history, spark_cells) if spark_cells else ""
    return f"{value} {curve}".rstrip()


def best(job: JobView) -> str:
    return "" if job.best is None else number(job.best)


def left(job: JobView) -> str:
    seconds = seconds_left(job)
    return "" if seconds is None else rough_duration(seconds)


def cost(job: JobView) -> str:
    return money(job.cost) if job.cost else ""
