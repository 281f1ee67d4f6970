"""scikit-learn's autologging of a search: a run for it, one below for each candidate, read back at the end."""

# mypy: ignore-errors

from __future__ import annotations

import mlflow
from sklearn import datasets, svm
from sklearn.model_selection import GridSearchCV

mlflow.sklearn.autolog(log_datasets=False)
iris = datasets.load_iris()
search = GridSearchCV(svm.SVC(), {"kernel": ("linear", "rbf"), "C": [1, 10]}, cv=3)
with mlflow.start_run() as run:
    search.fit(iris.data, iris.target)

client = mlflow.MlflowClient()
parent = client.get_run(run.info.run_id).data
children = mlflow.search_runs(
    filter_string=f"tags.mlflow.parentRunId = '{run.info.run_id}'", output_format="list"
)
assert len(children) == 4, children
assert {child.data.params["kernel"] for child in children} == {"linear", "rbf"}
assert "best_cv_score" in parent.metrics and client.list_artifacts(run.info.run_id), parent
