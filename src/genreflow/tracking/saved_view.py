"""A view of the runs that the MLflow UI offers in its menu "Views", and opens by ``?viewStateShareKey=accuracy``."""

import json

# What the UI itself writes for "Save view" since mlflow 3.16: a tag of the experiment, with a name and the state of the
# page. A UI that does not know this format shows its default columns, which have no metric.
_COLUMNS = (
    "attributes.`Models`",
    "metrics.`test_track_accuracy`",
    "metrics.`best_val_track_accuracy`",
    "params.`architecture`",
)
_VIEW = {"name": "Accuracy", "createdAt": 0, "state": json.dumps({"selectedColumns": _COLUMNS})}
ACCURACY_VIEW = {"mlflow.sharedViewState.accuracy": json.dumps(_VIEW)}
