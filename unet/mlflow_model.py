"""How MLflow is told what a model takes and gives, and what it needs to be loaded: nothing of this package."""

import keras
import numpy as np
import tensorflow as tf
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from unet.description import Description

# MLflow would find them out by loading the model in another process, which takes half a minute.
PIP_REQUIREMENTS = [
    f"tensorflow=={tf.__version__}",
    f"keras=={keras.__version__}",
    f"numpy=={np.__version__}",
]


def signature_of(description: Description) -> ModelSignature:
    """Images of any size in, float32 [batch, height, width, channels]; a probability for each class and pixel out."""
    float32 = np.dtype(np.float32)
    return ModelSignature(
        inputs=Schema([TensorSpec(float32, (-1, -1, -1, description.channels))]),
        outputs=Schema([TensorSpec(float32, (-1, -1, -1, len(description.classes)))]),
    )
