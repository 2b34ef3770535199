"""Short descriptions in the MLflow model registry; the model card is in `genreflow.reporting.evaluation`."""

from collections.abc import Mapping
from typing import Any

from genreflow.bundle import Bundle
from genreflow.registry.track_accuracy import read_track_accuracy

DESCRIPTION = (
    "Music genre classifiers trained with genreflow. The version with the alias `champion` is packaged and served; "
    "`models/champion.json` in the project names it and its predecessors. The run of a version has its model card and "
    "its evaluation."
)
# Plain text: the UI's list of versions shows its first words, and no Markdown.
LEAKING = "LEAKING: artists or recordings are in both training and test, so the accuracy is optimistically biased."


def describe_version(bundle: Bundle, metrics: Mapping[str, Any]) -> str:
    """Return what the list of versions shows of one: accuracy, baselines, what it is, and what it must not be used for.

    Parameters
    ----------
    bundle : Bundle
    metrics : mapping of str to float
        Of its evaluation.
    """
    measured = read_track_accuracy(metrics)
    return " ".join(
        [
            *([LEAKING] if bundle.leaking else []),
            *([f"{measured.headline}.", measured.comparison] if measured else []),
            f"{bundle.architecture}, {len(bundle.labels)} genres.",
            *([bundle.notice] if bundle.notice else []),
        ]
    ).replace("  ", " ")
