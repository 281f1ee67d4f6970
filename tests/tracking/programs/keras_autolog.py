"""Keras's autologging, as in MLflow's guide to Keras: no logging call of its own but two."""

# mypy: ignore-errors

from __future__ import annotations

import keras
import mlflow
import numpy as np

keras.utils.set_random_seed(7)
mlflow.set_experiment("digits")
mlflow.tensorflow.autolog(log_datasets=False, checkpoint=False)

random = np.random.default_rng(7)
images, labels = random.normal(size=(64, 8, 8, 1)).astype("float32"), random.integers(0, 3, 64)
model = keras.Sequential(
    [
        keras.layers.Input((8, 8, 1)),
        keras.layers.Conv2D(2, 3, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(3),
    ]
)
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
with mlflow.start_run() as run:
    model.fit(images, labels, epochs=3, batch_size=16, validation_split=0.25, verbose=0)
    mlflow.log_metric("size", model.count_params())

data = mlflow.get_run(run.info.run_id).data
assert data.params["epochs"] == "3" and "val_accuracy" in data.metrics, data
