"""What the jobs of a bad day do: count, log, write; begun again, they go on from their output directory."""

PROGRAM = """
import json, os, time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig

STEPS = 24


def value(x, step):
    return float(x * 1000 + step * step)


@hydra.main(version_base="1.3", config_path=None)
def main(cfg):
    import mlflow

    out = Path(HydraConfig.get().runtime.output_dir)
    state = out / "state.json"
    total, first = json.loads(state.read_text()) if state.exists() else (0.0, 0)
    with mlflow.start_run():
        mlflow.log_param("x", cfg.x)
        for step in range(first, STEPS):
            time.sleep(0.2)
            (out / f"part-{step}.txt").write_text(f"{cfg.x}:{step}")
            mlflow.log_metric("value", value(cfg.x, step), step=step)
            total += value(cfg.x, step)
            part = state.with_suffix(".part")
            part.write_text(json.dumps([total, step + 1]))
            os.replace(part, state)
    return total


if __name__ == "__main__":
    main()
"""
STEPS = 24


def value(x: int, step: int) -> float:
    return float(x * 1000 + step * step)


def right_result(x: int) -> float:
    return sum(value(x, step) for step in range(STEPS))
