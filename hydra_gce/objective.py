"""Which of two values of a metric is the better one, as its name says."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any


class Sense(str, Enum):
    """Which values are sought."""

    HIGHEST = "highest"
    LOWEST = "lowest"

    def better(self, one: float | None, other: float | None) -> float | None:
        """The better of two values; one that is none, or no number, is never better."""
        if one is None or math.isnan(one):
            return other
        if other is None or math.isnan(other):
            return one
        return max(one, other) if self is Sense.HIGHEST else min(one, other)


_LOWEST = frozenset(
    {
        "bpc",
        "bpd",
        "brier",
        "cer",
        "cost",
        "crps",
        "deviance",
        "distance",
        "ece",
        "eer",
        "energy",
        "err",
        "error",
    }
    | {
        "fid",
        "hausdorff",
        "kl",
        "latency",
        "mae",
        "mape",
        "mse",
        "nll",
        "perplexity",
        "ppl",
        "regret",
        "rmse",
    }
    | {"rmsle", "smape", "time", "wer"}
)
_HIGHEST = frozenset(
    {
        "acc",
        "accuracy",
        "ap",
        "ari",
        "auc",
        "auprc",
        "auroc",
        "bleu",
        "correlation",
        "coverage",
        "dice",
        "elbo",
        "f1",
    }
    | {
        "fscore",
        "gain",
        "hits",
        "iou",
        "jaccard",
        "kappa",
        "likelihood",
        "map",
        "mcc",
        "miou",
        "ndcg",
        "nmi",
        "pck",
    }
    | {
        "precision",
        "psnr",
        "r2",
        "recall",
        "return",
        "reward",
        "rouge",
        "score",
        "sensitivity",
        "specificity",
        "ssim",
    }
    | {"throughput", "top1", "top5", "utility"}
)


def sense_of(metric: str) -> Sense | None:
    """``val_loss`` is to be low, ``val/miou`` high; None where the name tells nothing."""
    words = [word for word in re.split(r"[^a-z0-9]+", metric.lower()) if word]
    if any(word in _LOWEST or word.endswith(("loss", "error")) for word in words):
        return Sense.LOWEST
    if any(word in _HIGHEST or word.endswith(("accuracy", "score", "iou")) for word in words):
        return Sense.HIGHEST
    return None


def sought_by(sweeper: Mapping[str, Any]) -> Sense | None:
    """What a sweeper's own config says of the return values: Optuna's ``direction``, Ax's and Nevergrad's switches.

    None where it says nothing, or seeks several values at once.
    """
    direction = sweeper.get("direction", None)
    direction = direction.name if isinstance(direction, Enum) else direction
    if isinstance(direction, str):
        return {"minimize": Sense.LOWEST, "maximize": Sense.HIGHEST}.get(direction.lower())
    for path, lowest in ((("ax_config", "experiment", "minimize"), True), (("optim", "maximize"), False)):
        found: Any = sweeper
        for name in path:
            found = found[name] if isinstance(found, Mapping) and name in found else None
        if isinstance(found, bool):
            return Sense.LOWEST if found is lowest else Sense.HIGHEST
    return None
