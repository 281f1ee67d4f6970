"""What a person sees of a sweep: in a terminal, in a pipe, at its end."""

from __future__ import annotations

import io
import logging
import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import IO, Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from hydra_gce.display import Display
from hydra_gce.display.figures import bar, clock, duration, money, number, shorten_middle, sparkline
from hydra_gce.display.pace import Pace
from hydra_gce.display.table import live_lines
from hydra_gce.jobs import JobState
from hydra_gce.view import JobView, SweepView

START = 1_795_429_964.0
ESCAPE = "\x1b"


def job(num: int, state: JobState = JobState.RUNNING, **known: Any) -> JobView:
    facts: dict[str, Any] = {"overrides": [f"lr=1e-{num}"], "attempt": 1, "zone": "us-central1-a", **known}
    return JobView(num=num, state=state, **facts)


def done(num: int, value: object, **known: Any) -> JobView:
    return job(num, JobState.COMPLETED, return_value=value, **known)


def view(jobs: list[JobView], after: float = 0.0, **known: Any) -> SweepView:
    facts: dict[str, Any] = {
        "sweep": "calm-otter",
        "project": "ml-lab",
        "backend": "cloud",
        "machine": "spot n1-standard-4 + T4",
        "estimate": "$0.16-0.31 (us-central1 cheapest)",
        "mlflow": "hydra-gce ui calm-otter",
        "sweep_dir": "multirun/2026-11-23/10-12-44",
        **known,
    }
    return SweepView(jobs=jobs, started=START, now=START + after, **facts)


THREE = [
    job(0, step=1240, total_steps=4000, metric_name="val_miou", metric=0.781, history=[0.1, 0.5, 0.781]),
    job(1, JobState.PREEMPTED, attempt=2, zone="us-central1-c", previous_zone="us-central1-a", step=900),
    job(2, JobState.BOOTING, zone="us-east1-c", note="environment 38 s", cost=Decimal("0.00042")),
]


def console_on(stream: IO[str], width: int, *, force_terminal: bool = True, record: bool = False) -> Console:
    """As in an ordinary terminal, whatever the environment of the test run is."""
    environ = {"TERM": "xterm-256color"}
    return Console(
        file=stream,
        width=width,
        height=24,
        force_terminal=force_terminal,
        record=record,
        no_color=True,
        _environ=environ,
    )


def of_terminal(sweep: SweepView, width: int = 80, height: int = 24) -> list[str]:
    lines = [line.plain for line in live_lines(sweep, width, height)]
    assert all(cell_len(line) <= width for line in lines), lines
    assert len(lines) <= height
    return lines


def of_pipe(*views: SweepView) -> list[str]:
    stream = io.StringIO()
    display = Display.for_terminal(stream, {})
    for one in views:
        display.update(one)
    return stream.getvalue().splitlines()


def at_end(sweep: SweepView, width: int = 80) -> str:
    console = console_on(io.StringIO(), width, record=True)
    Display(console, live=True).close(sweep)
    return console.export_text()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


# A terminal


def test_a_terminal_shows_each_job_with_its_state_place_progress_and_cost() -> None:
    text = "\n".join(of_terminal(view(THREE)))
    for shown in ("lr=1e-0", "RUNNING", "1,240/4,000 ███░░░░░", "0.7810 ▁▅█", "us-central1-a→c", "$0.00042"):
        assert shown in text
    assert re.search(r"BOOTING .*\n +environment 38 s  us-east1-c", text)


def test_without_room_for_two_lines_each_job_has_one() -> None:
    text = "\n".join(of_terminal(view(THREE), height=7))
    for shown in ("1,240/4,000 ██░░", "0.7810 ▁▅█", "us-central1-a→c"):
        assert shown in text
    assert re.search(r"BOOTING +us-east1-c +environment 38 s", text)


def test_records_that_have_piled_up_are_said_as_they_are_played() -> None:
    text = "\n".join(of_terminal(view(THREE, mlflow_share=0.314)))
    assert "████░░░░░░ 31% of the waiting records are in MLflow" in text
    assert "waiting records" not in "\n".join(of_terminal(view(THREE)))
    said = of_pipe(*(view(THREE, after, mlflow_share=after / 100) for after in range(0, 100, 10)))
    told = [line.partition("  ")[2] for line in said if "waiting records" in line]
    assert told == [f"{share}% of the waiting records are in MLflow" for share in (0, 30, 60, 90)]


def test_below_the_table_stand_the_newest_news_the_time_and_the_sum() -> None:
    jobs = [job(0, cost=Decimal("0.031")), job(1, cost=Decimal("0.026"))]
    news = [(START, "old"), (START + 5, "us-central1-a took VM 1 back")]
    *_, happening, foot, hint = of_terminal(
        view(jobs, 662, news=news, mlflow="http://127.0.0.1:5000/#/experiments/1?searchFilter=x")
    )
    assert happening == f"{clock(START + 5)}  us-central1-a took VM 1 back"
    assert foot == "elapsed 11:02 · $0.057 so far"
    assert hint == "MLflow http://127.0.0.1:5000/#/experiments/1?searchFilter=x"


@pytest.mark.parametrize("count", [1, 3, 20, 200])
@pytest.mark.parametrize(("width", "height"), [(200, 60), (80, 24), (60, 12), (40, 10), (12, 5), (1, 1)])
def test_a_table_never_passes_the_terminals_edges(count: int, width: int, height: int) -> None:
    jobs = [
        replace(THREE[num % 3], num=num, overrides=["model.encoder.filters=32", "lr=0.1"])
        for num in range(count)
    ]
    assert of_terminal(view(jobs, news=[(START, "n" * 300)], mlflow="http://x/" + "y" * 90), width, height)


def test_a_narrow_terminal_loses_bars_and_places_before_states_and_metrics() -> None:
    text = "\n".join(of_terminal(view(THREE), width=50))
    assert "us-central1" not in text and "█" not in text
    assert "PREEMPTED" in text and "0.7810" in text


def test_of_long_overrides_beginning_and_end_stay() -> None:
    jobs = [job(num, overrides=[f"model={num}" + "x" * 200 + f"lr={num}"]) for num in range(2)]
    assert re.search(r"1 +model=1x+…x*lr=1 +RUNNING", "\n".join(of_terminal(view(jobs))))


def test_long_overrides_go_by_the_last_part_of_their_names_if_those_differ() -> None:
    jobs = [
        job(num, overrides=[f"model.encoder.filters={num}", f"optimizer.rate=0.{num}"]) for num in range(2)
    ]
    assert re.search("1 +filters=1 rate=0.1 +RUNNING", "\n".join(of_terminal(view(jobs))))
    jobs = [job(num, overrides=[f"encoder.filters={num}", f"decoder.filters={num}"]) for num in range(2)]
    assert re.search(
        "1 +encoder.filters=1 decoder.filters=1 +RUNNING", "\n".join(of_terminal(view(jobs), 120))
    )


def test_overrides_that_all_points_share_do_not_fill_the_rows() -> None:
    stream = Terminal()
    with Display.for_terminal(stream, {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}) as display:
        display.update(
            view([job(0, overrides=["lr=1", "epochs=40"]), job(1, overrides=["lr=2", "epochs=40"])])
        )
    assert stream.getvalue().count("epochs=40") == 1
    assert "every point epochs=40" in stream.getvalue()


def test_two_hundred_jobs_are_those_at_work_and_a_count_of_the_others() -> None:
    states = {3: JobState.RUNNING, 150: JobState.BOOTING, 7: JobState.FAILED}
    states |= dict.fromkeys(range(20, 100), JobState.COMPLETED)
    lines = of_terminal(view([job(num, states.get(num, JobState.PENDING)) for num in range(200)]))
    assert [line.split()[0] for line in lines if " lr=" in line] == ["3", "7", "150"]
    assert "and 197 others: 117 pending, 80 completed" in lines
    assert any(line.startswith("█████░░░░░ 81 of 200 done · elapsed") for line in lines)


def test_jobs_at_work_for_whom_there_is_no_row_are_counted() -> None:
    lines = of_terminal(view([job(num) for num in range(200)]), height=12)
    rows = sum("  RUNNING  " in line for line in lines)
    assert 0 < rows < 12
    assert f"and {200 - rows} others: {200 - rows} running" in lines


def test_unicode_overrides_stay_aligned() -> None:
    jobs = [job(0, overrides=["name=日本語モデル"]), job(1, overrides=["name=größe"])]
    first, second = of_terminal(view(jobs))[1:3]
    assert cell_len(first.split("RUNNING")[0]) == cell_len(second.split("RUNNING")[0])


def test_what_a_vm_wrote_cannot_command_the_terminal() -> None:
    nasty = f"a{ESCAPE}[2Jb\nc"
    sweep = view([job(0, JobState.FAILED, note=nasty, overrides=[nasty], zone=nasty)], news=[(START, nasty)])
    shown = "\n".join([*of_terminal(sweep), *of_pipe(sweep), at_end(sweep)])
    assert ESCAPE + "[2J" not in shown
    assert r"a\x1b[2Jb c" in shown


def test_no_color_gives_lines_in_which_every_state_is_a_word() -> None:
    stream = Terminal()
    environ = {"TERM": "xterm-256color", "NO_COLOR": "1", "COLUMNS": "80", "LINES": "24"}
    with Display.for_terminal(stream, environ) as display:
        display.update(view([job(num, state) for num, state in enumerate(JobState)]))
    assert all(state.value in stream.getvalue() for state in JobState if state is not JobState.PENDING)
    assert ESCAPE not in stream.getvalue()


def test_states_are_coloured_where_colour_is_welcome() -> None:
    stream = Terminal()
    with Display.for_terminal(stream, {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}) as display:
        display.update(view([job(0)]))
    assert re.search(r"\x1b\[36mRUNNING", stream.getvalue())


def test_the_table_follows_a_resized_terminal() -> None:
    stream = Terminal()
    console = console_on(stream, 120)
    with Display(console, live=True) as display:
        display.update(view(THREE))
        drawn = len(stream.getvalue())
        console.width = 50
        display.update(view(THREE))
        redrawn = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", stream.getvalue()[drawn:])
    assert "PREEMPTED" in redrawn
    assert all(cell_len(line) <= 50 for line in redrawn.splitlines())


def test_the_live_table_is_taken_away_before_a_question_and_comes_back() -> None:
    stream, before = Terminal(), sys.stdout
    with Display.for_terminal(stream, {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}) as display:
        display.update(view([job(0)]))
        with display.paused():
            assert sys.stdout is before
            shown = len(stream.getvalue())
            assert stream.getvalue().endswith(
                f"{ESCAPE}[2K"
            )  # the table's lines are empty, the cursor at their top
        display.update(view([job(0)]))
        assert "RUNNING" in stream.getvalue()[shown:]
    assert f"{ESCAPE}[?25h" in stream.getvalue()[-40:]  # the cursor is seen again


# A pipe, a dumb terminal, CI


def test_a_pipe_gets_a_line_for_each_event_with_its_time() -> None:
    lines = of_pipe(
        view([job(0, JobState.PENDING, attempt=0, zone="")]),
        view([job(0, JobState.PROVISIONING)], 10),
        view([job(0)], 40),
        view([job(0, JobState.FAILED, note="out of memory", cost=Decimal("0.5"))], 50),
    )
    assert lines[2:] == [
        f"{clock(START + 10)}  job 0  PROVISIONING  us-central1-a  (attempt 1)  lr=1e-0",
        f"{clock(START + 40)}  job 0  RUNNING  us-central1-a  (attempt 1)",
        f"{clock(START + 50)}  job 0  FAILED  us-central1-a  (attempt 1)  out of memory  $0.500",
    ]


def test_a_pipe_says_nothing_twice() -> None:
    sweep = view(THREE, news=[(START, "3 VMs asked for")])
    lines = of_pipe(*[replace(sweep, now=START + second) for second in range(300)])
    texts = [line.split("  ", 1)[1] for line in lines]
    assert len(texts) == len(set(texts))
    assert texts.count("3 VMs asked for") == 1


def test_progress_is_said_at_most_every_half_minute() -> None:
    views = [view([job(0, step=second)], second) for second in range(0, 100)]
    reports = [line for line in of_pipe(*views) if "step" in line]
    assert [line.split("step ")[1].split()[0] for line in reports] == ["30", "60", "90"]


def test_hundreds_of_jobs_at_work_share_one_line_of_progress() -> None:
    views = [view([job(num, step=second) for num in range(200)], second) for second in range(0, 100, 5)]
    later = [line for line in of_pipe(*views) if not line.startswith(clock(START))]
    assert [line.split("  ")[1] for line in later] == ["200 running"]


def test_a_line_in_a_pipe_is_never_folded() -> None:
    (line,) = [line for line in of_pipe(view([job(0, overrides=["x" * 500])])) if "job 0" in line]
    assert line.endswith("x" * 500)


@pytest.mark.parametrize("environ", [{"TERM": "dumb"}, {"TERM": "xterm", "CI": "true"}])
def test_dumb_terminals_and_ci_get_lines(environ: dict[str, str]) -> None:
    stream = Terminal()
    with Display.for_terminal(stream, environ) as display:
        display.update(view([job(0)]))
    assert "job 0  RUNNING" in re.sub(r"\x1b\[[\d;]*m", "", stream.getvalue())
    assert f"{ESCAPE}[?25l" not in stream.getvalue()


# The end


def test_the_end_table_goes_by_return_value_and_says_so() -> None:
    jobs = [done(0, 0.5), done(1, float("nan")), done(2, 0.9), job(3, JobState.FAILED), done(4, 7)]
    text = at_end(view(jobs))
    assert re.findall(r"^ *(\d) +lr", text, re.MULTILINE) == ["4", "2", "0", "1", "3"]
    assert "by return value, highest first" in text


@pytest.mark.parametrize("value", [{"miou": 0.5}, None, "good", True, (0.1, 0.2)])
def test_return_values_that_are_no_numbers_leave_the_jobs_in_their_order(value: object) -> None:
    text = at_end(view([done(0, 0.1), done(1, value), done(2, 0.9)]))
    assert re.findall(r"^ *(\d) +lr", text, re.MULTILINE) == ["0", "1", "2"]
    assert "highest first" not in text


def test_return_values_have_the_metrics_name_only_if_they_are_that_metric() -> None:
    assert re.search(r"overrides +val_miou", at_end(view([done(0, 0.8, metric_name="val_miou", metric=0.8)])))
    assert re.search(r"overrides +return value", at_end(view([done(0, 0.8, metric_name="loss", metric=1.2)])))
    assert re.search(r"overrides +best", at_end(view([done(0, 0.8)], return_name="best")))


def test_the_end_says_attempts_time_cost_run_and_where_everything_lies() -> None:
    run = "a41f0123456789abcdef0123456789ab"
    jobs = [done(0, 0.8, attempt=2, vm_seconds=2160, cost=Decimal("0.0712"), mlflow_run=run), done(1, 0.7)]
    text = at_end(view(jobs, vms_left="no VM is left"))
    assert re.search(r"0 +lr=1e-0 +0\.80000 +2 +36:00 +\$0\.071 +a41f0123…", text)
    assert "outputs  multirun/2026-11-23/10-12-44     compare  hydra-gce ui calm-otter" in text
    assert "no VM is left · $0.071 in all" in text


def test_what_the_batches_before_have_cost_is_in_the_sum() -> None:
    ended = view([done(4, 0.8, cost=Decimal("0.02"))], vms_left="no VM is left", earlier_cost=Decimal("0.11"))
    assert "no VM is left · $0.020 for these points, $0.130 in all" in at_end(ended)


def test_a_failure_has_its_cause_and_the_way_to_its_log() -> None:
    text = at_end(view([done(0, 0.8), job(2, JobState.FAILED, note="out of memory in step 12")]))
    assert re.search(r"2 +lr=1e-2 +failed", text)
    assert "job 2 failed: out of memory in step 12 (logs: hydra-gce logs calm-otter --job 2)" in text


def test_a_cause_that_took_many_jobs_is_told_once() -> None:
    text = at_end(view([job(num, JobState.FAILED, note="no module named unet") for num in range(200)]))
    assert text.count("no module named unet") == 1
    assert "jobs 0, 1, 2, 3, 4, 5 and 194 more failed" in text


def test_the_embedded_engines_costs_are_called_what_they_are() -> None:
    text = at_end(view([done(0, 0.8, cost=Decimal("0.00002"))], backend="local"))
    assert "would cost" in text
    assert "$0.000020 in all (embedded: nothing is charged)" in text


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("count", [0, 1, 3, 200])
def test_the_end_table_fits(width: int, count: int) -> None:
    jobs = [
        done(num, num / 7, overrides=[f"größe={num}", "x" * 50, "y" * 50], mlflow_run="f" * 32)
        for num in range(count)
    ]
    table = [line for line in at_end(view(jobs), width).splitlines() if re.match(r" *\d", line)]
    assert len(table) == count
    assert width < 40 or all(cell_len(line) <= width for line in table)


def test_a_pipe_shortens_nothing_at_the_end() -> None:
    stream = io.StringIO()
    Display.for_terminal(stream, {}).close(view([done(0, 0.5, overrides=["x" * 300], mlflow_run="f" * 32)]))
    assert "x" * 300 in stream.getvalue() and "f" * 32 in stream.getvalue()


def test_an_object_whose_repr_raises_does_not_end_the_sweep() -> None:
    class Sulky:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    assert "<Sulky:" in at_end(view([done(0, Sulky())]))


def test_what_went_by_in_a_live_table_is_said_again_at_its_end() -> None:
    note = "job 0 wrote scores.csv beside its output directory"
    told = view([done(0, 0.5)], news=[(1.0, note)], notes=[note])
    assert note in " ".join(at_end(told, width=120).split())
    assert sum(note in line for line in of_pipe(told)) == 1


def test_the_end_is_told_once() -> None:
    stream = io.StringIO()
    display = Display.for_terminal(stream, {})
    for _ in range(2):
        display.close(view([done(0, 0.5)]))
    display.update(view([done(0, 0.5)], 100))
    assert stream.getvalue().count("in all") == 1


# Bad luck


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_reader_that_has_gone_ends_no_sweep(is_terminal: bool) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        console = console_on(stream, 80, force_terminal=is_terminal)
        display = Display(console, live=is_terminal)
        for second in range(3):
            display.update(view(THREE, second))
        display.close(view([done(0, 0.5)]))


def test_a_closed_stream_ends_no_sweep() -> None:
    stream = io.StringIO()
    display = Display.for_terminal(stream, {})
    stream.close()
    display.update(view(THREE))
    display.close(view(THREE))


def test_a_terminal_without_unicode_gets_what_it_can_show() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Display(console_on(stream, 80, force_terminal=False), live=False).update(
        view([job(0, overrides=["name=größe"])])
    )
    stream.flush()
    assert b"sweep calm-otter - 1 point" in raw.getvalue() and b"gr??e" in raw.getvalue()


def test_log_lines_come_above_the_table_while_it_is_live(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    try:
        with Display.for_terminal(stream, {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}) as display:
            display.update(view([job(0)]))
            assert handler.stream is not stream
            logging.getLogger().warning("quota is low")
            logged = stream.getvalue().index("quota is low")
            assert "RUNNING" in stream.getvalue()[logged:]  # the table is drawn again below it
        assert handler.stream is stream
    finally:
        logging.getLogger().removeHandler(handler)


# Figures


@pytest.mark.parametrize(
    ("amount", "written"),
    [
        ("0", "$0"),
        ("0.0314", "$0.031"),
        ("0.00042", "$0.00042"),
        ("0.0000004", "<$0.000001"),
        ("12.4", "$12.40"),
        ("12345", "$12,345"),
        ("-0.031", "-$0.031"),
        ("0.9999", "$1.000"),
    ],
)
def test_money(amount: str, written: str) -> None:
    assert money(Decimal(amount)) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.781, "0.7810"),
        (1, "1"),
        (12345, "12,345"),
        (0.0, "0.000"),
        (-0.5, "-0.5000"),
        (1e-7, "1.000e-07"),
        (9999.9, "10,000"),
        (123456.7, "123,457"),
        (3e30, "3.000e+30"),
        (10**400, "1.000e+400"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
    ],
)
def test_number(value: float, written: str) -> None:
    assert number(value) == written


@pytest.mark.parametrize(
    ("call", "written"),
    [
        (lambda: duration(662), "11:02"),
        (lambda: duration(11159), "3:05:59"),
        (lambda: duration(-1), "0:00"),
        (lambda: bar(1, 4000), "█░░░"),
        (lambda: bar(3999, 4000), "███░"),
        (lambda: bar(4000, 4000), "████"),
        (lambda: bar(0, 4000), "░░░░"),
        (lambda: bar(9, 4), "████"),
        (lambda: sparkline([0.0, 0.5, 1.0]), "▁▅█"),
        (lambda: sparkline([1.0, float("nan"), 1.0]), "▄▄"),
        (lambda: sparkline([-1.7e308, 1.7e308]), "▁█"),
        (lambda: sparkline([1.0]), ""),
        (lambda: shorten_middle("abcdefghij", 7), "abc…hij"),
        (lambda: shorten_middle("日本語日本語", 7), "日 … 語"),
    ],
)
def test_figures(call: Callable[[], str], written: str) -> None:
    assert call() == written


def test_what_is_left_follows_from_the_pace_of_the_steps() -> None:
    pace = Pace()
    seen = [
        pace.remaining(view([job(0, step=100 + second, total_steps=1000)], second)) for second in (0, 1, 100)
    ]
    assert seen[:2] == [None, None]
    assert seen[2] == pytest.approx(800)


def test_jobs_that_wait_for_a_vm_are_in_what_is_left() -> None:
    pace = Pace()
    for second in (0, 100):
        jobs = [job(0, step=second, total_steps=1000), job(1, JobState.PENDING)]
        left = pace.remaining(view(jobs, second))
    assert left == pytest.approx(1900)


def test_what_is_left_is_known_at_once_where_programs_tell_their_pace() -> None:
    told = view([job(0, step=100, total_steps=1000, steps_per_s=9.0)])
    assert Pace().remaining(told) == pytest.approx(100)


def test_what_a_sweep_will_come_to_follows_from_the_pace() -> None:
    half = job(0, step=50, total_steps=100, steps_per_s=1.0, vm_seconds=50.0, cost=Decimal("0.10"))
    pending = job(1, JobState.PENDING)
    assert Pace().expected(view([half, pending, done(2, 1.0, cost=Decimal("0.05"))])) == Decimal("0.45")
    assert Pace().expected(view([pending])) is None


def test_the_best_point_comes_first_whatever_is_sought() -> None:
    jobs = [done(0, 0.5), done(1, 0.2), done(2, 0.9)]
    cases: list[tuple[dict[str, Any], str]] = [
        ({"return_name": "val_loss"}, "102"),
        ({"return_name": "val_miou"}, "201"),
        ({"sought": "lowest"}, "102"),
        ({"sought": "highest", "return_name": "val_loss"}, "201"),
    ]
    for known, order in cases:
        text = at_end(view(jobs, **known))
        assert "".join(re.findall(r"^ *(\d) +lr", text, re.MULTILINE)) == order
        assert f"{'lowest' if order == '102' else 'highest'} first" in text


def test_what_failed_or_was_cancelled_is_run_again_by_one_command() -> None:
    assert "hydra-gce retry" not in at_end(view([done(0, 0.5)]))
    text = at_end(view([done(0, 0.5), job(1, JobState.CANCELLED), job(2, JobState.CANCELLED)]))
    assert "jobs 1, 2 cancelled\n" in text
    by_ada = [job(num, JobState.CANCELLED, note="cancelled by ada") for num in (1, 2)]
    assert "jobs 1, 2 cancelled by ada\n" in at_end(view(by_ada))
    stopped = job(3, JobState.CANCELLED, note="job 0 failed, and hydra.launcher.on_failure=stop")
    assert "job 3 cancelled: job 0 failed, and hydra" in at_end(view([stopped]))
    assert "again    hydra-gce retry calm-otter" in text


def test_lines_of_progress_get_fewer_the_longer_a_sweep_takes() -> None:
    looks = [view([job(0, step=second)], second) for second in range(0, 36_000, 10)]
    told = [line for line in of_pipe(*looks) if "  step " in line]
    assert 60 < len(told) < 200
