"""The python_function flavour: ``mlflow.pyfunc.load_model("models:/genre-classifier@champion")``."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema

from genreflow.inference.predictor import Predictor

FIELDS = ("genre", "reason", "confidence", "unfamiliarity")
# Without a name for its input, a model also accepts a plain list of paths.
SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(DataType.string)]),
    outputs=Schema(
        [
            ColSpec(DataType.string, "genre", required=False),
            ColSpec(DataType.string, "reason", required=False),
            ColSpec(DataType.double, "confidence"),
            ColSpec(DataType.double, "unfamiliarity", required=False),
        ]
    ),
)


class GenreClassifier:
    """The model that ``mlflow.pyfunc.load_model`` wraps.

    Parameters
    ----------
    bundle_dir : Path
    """

    def __init__(self, bundle_dir: Path | str) -> None:
        self.predictor = Predictor(bundle_dir)

    def predict(self, model_input: pd.DataFrame | Iterable[str]) -> pd.DataFrame:
        """Classify audio files.

        Parameters
        ----------
        model_input : pd.DataFrame or iterable of str
            Paths of audio files; those of a table in its only column.

        Returns
        -------
        pd.DataFrame
            One row for each file: ``genre`` (None if the model abstains), ``reason`` and ``unfamiliarity`` as in
            `genreflow.inference.prediction.Prediction`, ``confidence`` in [0, 1], and the probability of each genre in
            [0, 1], in a column named after it.

        Raises
        ------
        AudioError
            A file cannot be classified.
        """
        paths = model_input.iloc[:, 0] if isinstance(model_input, pd.DataFrame) else model_input
        answers = [self.predictor.classify(path) for path in paths]
        labels = self.predictor.bundle.labels
        return pd.DataFrame(
            [
                {name: getattr(answer, name) for name in FIELDS}
                | {label: answer.probabilities[label] for label in labels}
                for answer in answers
            ],
            columns=[*FIELDS, *labels],
        )


def _load_pyfunc(data_path: str) -> GenreClassifier:
    """Load the bundle in a folder; MLflow calls this function by its name."""
    return GenreClassifier(data_path)
