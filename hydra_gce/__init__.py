"""Run a Hydra sweep on Google Cloud: a Compute Engine VM for each point, MLflow beside it."""

__version__ = "0.1.0"
