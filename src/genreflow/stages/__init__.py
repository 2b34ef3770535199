"""The stages of dvc.yaml, one thin file each: read params, call one function, write outs.

The paths below are the ones dvc.yaml names; nothing outside this package knows them.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from genreflow.errors import GenreflowError

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

RAW = Path("data/raw")
MANIFEST = Path("data/manifest.json")
AUDIT = Path("data/audit.json")
SPLIT = Path("data/split.json")
FEATURES = Path("data/features")
FILTERS = "filters.npz"  # within FEATURES
BEST = Path("reports/best_trial.json")
TRIALS = Path("reports/trials.csv")
CANDIDATE = Path("models/candidate")
CURVES = Path("reports/learning_curves.csv")
EVALUATION = Path("reports/evaluation.json")
PREDICTIONS = Path("reports/predictions.json")
CONFUSION = Path("reports/confusion.csv")
METRICS = Path("metrics.json")
GATE = Path("reports/gate.json")
POINTER = Path("models/champion.json")
CHAMPION = Path("models/champion")
PACKAGE = Path("reports/package.json")


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage; a mistake of the user's ends it with its sentence and exit code 2, without a traceback."""
    try:
        main()
    except GenreflowError as error:
        print(f"genreflow: {error}", file=sys.stderr)
        sys.exit(2)


def import_keras_quietly() -> None:
    """Import Keras and TensorFlow without the lines they write past Python at start-up (no GPU, which instructions).

    What they would say is no news to anyone, and stands between the lines of a pipeline; an error is still raised.
    """
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        import keras

        keras.ops.zeros(1)  # the last of these lines comes with the first operation
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def say(message: str) -> None:
    """One line of progress, at once."""
    print(message, flush=True)
