"""A U-Net for semantic segmentation: data, model, loss, metrics, the loop, checkpoints and the MLflow run.

Knows TensorFlow and MLflow, and nothing of how a program is configured or where it runs. Importing this
package, its `settings` or its `errors` loads neither of the two, so that a command line can answer at once.
"""
