"""A bundle as MLflow's python function: ``mlflow.pyfunc.load_model("models:/genre-classifier@champion")``."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema

from genreflow.inference.predictor import Predictor

# The input has no name: MLflow takes a plain list of paths only so.
SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(DataType.string)]),
    outputs=Schema([ColSpec(DataType.string, "genre", required=False), ColSpec(DataType.double, "confidence")]),
)


class GenreClassifier:
    """What ``predict`` of the loaded model does."""

    def __init__(self, bundle_dir: Path | str) -> None:
        self.predictor = Predictor(bundle_dir)

    def predict(self, model_input: pd.DataFrame | Iterable[str]) -> pd.DataFrame:
        """Classify audio files.

        Parameters
        ----------
        model_input : pd.DataFrame or iterable of str
            Paths of audio files; of a table its only column.

        Returns
        -------
        pd.DataFrame
            A row a file: ``genre`` (None when it abstains), ``confidence`` and a column with the probability of each
            genre, in [0, 1].

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
                {"genre": answer.genre, "confidence": answer.confidence}
                | {label: answer.probabilities[label] for label in labels}
                for answer in answers
            ],
            columns=["genre", "confidence", *labels],
        )


def _load_pyfunc(data_path: str) -> GenreClassifier:
    """MLflow calls this, with the folder that holds the bundle."""
    return GenreClassifier(data_path)
