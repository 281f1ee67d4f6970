"""What goes to MLflow."""

from dataclasses import dataclass

from unet.settings.checks import check


@dataclass
class TrackingSettings:
    """What goes to MLflow, beside parameters, metrics and the picture of predictions."""

    experiment: str = "unet"
    """Used unless MLFLOW_EXPERIMENT_NAME, MLFLOW_EXPERIMENT_ID or MLFLOW_RUN_ID says otherwise."""
    system_metrics: bool = True
    checkpoints: bool = True
    """The newest and the best checkpoint as models of their own, `checkpoint-<step>`, while the training goes on."""
    checkpoint: bool = True
    """The exported checkpoint, model and optimizer, as an artifact."""
    model: bool = True
    """The trained model, ready to be loaded with `mlflow.tensorflow.load_model` or served."""

    def __post_init__(self) -> None:
        check(bool(self.experiment.strip()), "tracking.experiment", self.experiment, "a name")
