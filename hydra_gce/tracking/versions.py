"""What MLflow 2 has not: all that is asked about versions of MLflow is asked here.

A store without logged models is one of MLflow 2, of this machine or behind a server; the client may be a newer one.
"""

from __future__ import annotations

from importlib.resources import files
from inspect import signature
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ENDPOINT_NOT_FOUND, ErrorCode
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository
from mlflow.utils.uri import add_databricks_profile_info_to_artifact_uri

_CLIENT_HAS_MODELS = hasattr(MlflowClient, "search_logged_models")
_METRICS_NAME_MODELS = hasattr(Metric, "model_id")
CLIENT_DELETES_EXPERIMENT_TAGS = hasattr(MlflowClient, "delete_experiment_tag")
SERVER_HAS_ASGI_APP = files("mlflow").joinpath("server/fastapi_app.py").is_file()
"""Which ``live_pages`` stands in front of. Not looked for by an import: that brings all of the server."""
_REPOSITORIES_ASK_THE_PROCESS = "tracking_uri" not in signature(get_artifact_repository).parameters
_ANY_EXPERIMENT = "0"


def has_models(client: MlflowClient) -> bool:
    """Whether models are things of their own in this store, as in MLflow 3, or files of the runs that logged them.

    :raises MlflowException: the store cannot answer now.
    """
    if not _CLIENT_HAS_MODELS:
        return False
    try:
        client.search_logged_models([_ANY_EXPERIMENT], max_results=1)
    except MlflowException as error:
        if error.get_http_status_code() >= 500:
            raise
        return bool(error.error_code != ErrorCode.Name(ENDPOINT_NOT_FOUND))
    return True


def artifacts_at(place: str, tracking_uri: str) -> ArtifactRepository:
    """What a run's ``artifact_uri`` leads to, in the store at ``tracking_uri``.

    The client's own methods would ask the store for models too, which an older server does not answer, and MLflow 2
    looks for a server's artifacts where the process's own tracking URI leads.
    """
    place = add_databricks_profile_info_to_artifact_uri(place, tracking_uri)
    if not _REPOSITORIES_ASK_THE_PROCESS:
        return get_artifact_repository(place, tracking_uri=tracking_uri)
    if place.startswith("mlflow-artifacts:"):
        place = MlflowArtifactsRepository.resolve_uri(place, tracking_uri)
    return get_artifact_repository(place)


def metric(key: str, value: float, timestamp: int, step: int, **more: Any) -> Metric:
    """``more``: model id, data set and its digest, which metrics have since MLflow 3."""
    return Metric(key, value, timestamp, step, **(more if _METRICS_NAME_MODELS else {}))
