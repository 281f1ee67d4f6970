"""A whole sweep as somebody sees it at a real terminal, whose window gets another size in the middle."""

from __future__ import annotations

import re

from scripts.terminal import Terminal
from tests.e2e.project import Project

BODY = """
    import mlflow

    with mlflow.start_run():
        mlflow.log_params({"max_steps": 60})
        for step in range(1, 61):
            time.sleep(0.25)
            mlflow.log_metrics({"val_loss": 1 / step / cfg.lr, "images_per_s": 16.0}, step=step)
    if cfg.lr > 1:
        raise ValueError("lr is too high")
    return 1 / step / cfg.lr
"""


def test_a_sweep_at_a_terminal(project: Project) -> None:
    project.program(BODY)
    command = project.command("+lr=1,2", "hydra.launcher.tracking.mode=relay")
    with Terminal(command, 80, 24, cwd=project.directory) as terminal:
        screen = terminal.wait_for(r"(RUNNING.*){2}about \d+ (s|min) left.*best val_loss")
        assert re.search(
            r"0 +\+lr=1 +RUNNING +\d+/60 █+░+ +[01]\.\d+ [▁▂▃▄▅▆▇█]+ +\d+ s +\$0\.0\d+", screen
        ), screen
        assert re.search(r"16\.0 images/s  best [01]\.\d+  \S+  e2-small  attempt 1  hg-\S+", screen), screen
        for columns, rows in ((200, 50), (60, 20)):
            terminal.resize(columns, rows)
            terminal.wait_for_more("elapsed")
            screen = terminal.wait_for("overrides.*elapsed")
            assert screen.count("overrides") == 1
            assert all(len(line) <= columns for line in screen.splitlines())
        ended = terminal.wait_for(r"no VM is left")
        assert re.search(r"1 +\+lr=2 +failed", ended), ended
        assert re.search(r"job 1 failed: ValueError: lr is too high", ended), ended
        assert re.search(r"again +hydra-gce retry \S+", ended), ended
        assert terminal.end() == 1
    log = (project.sweep_dir / "hydra-gce.log").read_text(encoding="utf-8")
    assert re.search(r"\[hydra_gce\.sweep\]\[ERROR\] - job 1  FAILED", log), log
    assert re.search(r"\[hydra_gce\.sweep\]\[INFO\] - .*again +hydra-gce retry", log), log
