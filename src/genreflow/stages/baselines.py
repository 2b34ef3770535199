"""Baselines on the same split as the model: their predictions of the held-out tracks.

What a linear classifier reaches on the penultimate values of a network with its initial weights is due to the
architecture and its input. Only what a trained network adds to it is due to training (Pons and Serra 2019).

References
----------
Pons, Serra: Randomly Weighted CNNs for (Music) Audio Classification. ICASSP 2019.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from genreflow.files import write_json
from genreflow.models import MODELS
from genreflow.models.keras_import import import_keras
from genreflow.params import load_params
from genreflow.stages import BASELINES
from genreflow.stages.best_trial import BestTrial
from genreflow.stages.inputs import Data
from genreflow.training.params import SegmentParams

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin

    from genreflow.training.segment_set import SegmentSet

logger = logging.getLogger(__name__)

# Of the initial weights of the untrained network.
SEED = 0
# Architecture of the untrained network beside a classifier of embeddings.
UNTRAINED = "efficient"


def main() -> None:
    predictions = predict_baselines(load_params().segments, Data.load(verify_features=True), BestTrial.load())
    write_json(BASELINES, predictions)
    logger.info(f"{' and '.join(predictions)}: predictions of {len(next(iter(predictions.values())))} held-out tracks")


def predict_baselines(segments: SegmentParams, data: Data, best: BestTrial) -> dict[str, dict[str, str]]:
    """Fit the baselines on the training tracks and classify the tracks on which models are evaluated.

    Parameters
    ----------
    segments : SegmentParams
    data : Data
    best : BestTrial
        The untrained network has the architecture of the best trial, or `UNTRAINED` if that takes embeddings.

    Returns
    -------
    dict of str to dict of str to str
        Predicted genre by track ID, by name of the baseline.
    """
    segments = best.segment_params(segments)
    untrained_architecture, hyperparameters = best.architecture, best.hyperparameters
    if MODELS[best.architecture].embedding:  # the classifier behind an embedder has nothing to compare without it
        untrained_architecture, hyperparameters = UNTRAINED, {}
    import_keras()  # here, since it takes ten seconds: the parameters and the data have been validated
    from genreflow.baselines.classifiers import Features, fit_and_predict, linear_probe, support_vector_machine
    from genreflow.baselines.summary_statistics import summary_statistics
    from genreflow.models.penultimate import penultimate_model
    from genreflow.training.configuration import build_configuration
    from genreflow.training.data import load_segment_set, load_training_data
    from genreflow.training.track_means import mean_over_segments

    training = load_training_data(data.store, data.manifest, data.split, segments)
    part = data.split.evaluation_part
    held_out = load_segment_set(data.store, data.manifest, data.split, part, length=training.length, hop=training.hop)
    model = build_configuration(training, untrained_architecture, hyperparameters, seed=SEED)
    untrained = penultimate_model(model)
    baselines: dict[str, tuple[Callable[[SegmentSet], np.ndarray], Callable[[float], ClassifierMixin]]] = {
        "SVM on summary statistics": (summary_statistics, support_vector_machine),
        f"linear probe on {untrained_architecture} with initial weights": (
            partial(mean_over_segments, untrained.predict_on_batch),
            linear_probe,
        ),
    }
    tracks = data.segment_counts(part, length=training.length, hop=training.hop)
    predictions = {}
    for name, (compute, make) in baselines.items():
        train, valid = (Features(compute(each), each.track_labels) for each in (training.train, training.valid))
        labels = fit_and_predict(make, train, valid, compute(held_out))
        predictions[name] = {track: training.genres[label] for track, label in zip(tracks, labels, strict=True)}
    return predictions
