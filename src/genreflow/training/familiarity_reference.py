"""The reference by which a bundle recognises unfamiliar music: prototypes, and the threshold from other artists."""

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from genreflow.bundle import Familiarity
from genreflow.embedding.reference_values import reference_values
from genreflow.errors import ParameterError
from genreflow.evaluation.familiarity import fit_prototypes, refusal_threshold, unfamiliarity
from genreflow.models.penultimate import penultimate_model
from genreflow.training.data import TrainingData
from genreflow.training.track_means import mean_over_segments

if TYPE_CHECKING:
    import keras

# Decimals of the threshold, which is rounded up: it is that of a track, which must not be refused because ONNX Runtime
# computes its embedding with other rounding errors than Keras.
_DECIMALS = 4


@dataclass(frozen=True)
class TrackEmbeddings:
    """Embeddings of tracks.

    Parameters
    ----------
    values : np.ndarray [shape=(n_tracks, size)]
        Means over the segments.
    labels : np.ndarray [shape=(n_tracks,)]
        Genres.
    """

    values: np.ndarray
    labels: np.ndarray


def make_familiarity(model: "keras.Model", data: TrainingData, *, refuse_above: float | None) -> Familiarity:
    """Make the reference of a fitted model.

    Parameters
    ----------
    model : keras.Model
        From `genreflow.models.build_model`.
    data : TrainingData
        What the model was fitted to and validated on. Where that are embeddings, the reference is made of their
        `reference_values` by `familiarity_out_of_fold`, from the tracks of both parts; otherwise of those of the model
        by `familiarity_from_held_out`.
    refuse_above : float in [0, 2] or None
        As in `familiarity_from_held_out`.

    Returns
    -------
    Familiarity
    """
    if data.embedder is None:
        network = penultimate_model(model)
        train, valid = (
            TrackEmbeddings(mean_over_segments(network.predict_on_batch, segments), segments.track_labels)
            for segments in (data.train, data.valid)
        )
        return familiarity_from_held_out(train, valid, refuse_above=refuse_above)
    columns = data.embedder.columns
    parts = (data.train, data.valid)
    values = np.concatenate([mean_over_segments(partial(reference_values, columns=columns), part) for part in parts])
    labels, groups = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("track_labels", "track_groups")
    )
    return familiarity_out_of_fold(TrackEmbeddings(values, labels), groups, refuse_above=refuse_above)


def familiarity_from_held_out(
    train: TrackEmbeddings, held_out: TrackEmbeddings, *, refuse_above: float | None = None
) -> Familiarity:
    """Set the threshold with tracks that neither the network nor the prototypes were fitted on.

    For a network that was fitted on the training tracks: their own embeddings are closer to each other than those of
    other tracks.

    Parameters
    ----------
    train : TrackEmbeddings
        Of which the prototypes are.
    held_out : TrackEmbeddings
        Of other artists: validation.
    refuse_above : float in [0, 2] or None
        Given threshold; None: `genreflow.evaluation.familiarity.refusal_threshold`.

    Returns
    -------
    Familiarity
    """
    prototypes = _prototypes(train.values, train.labels)
    return _reference(prototypes, unfamiliarity(held_out.values, prototypes), refuse_above)


def familiarity_out_of_fold(
    tracks: TrackEmbeddings, groups: np.ndarray, *, folds: int = 10, seed: int = 0, refuse_above: float | None = None
) -> Familiarity:
    """Set the threshold with all tracks, each compared with prototypes of the other artists.

    For an embedder that was fitted on none of the tracks.

    Parameters
    ----------
    tracks : TrackEmbeddings
        Of which the prototypes are.
    groups : np.ndarray [shape=(n_tracks,)]
        Artists; at least two.
    folds : int >= 2
        Parts that the artists are divided into; as many as there are artists if these are fewer.
    seed : int >= 0
    refuse_above : float in [0, 2] or None
        As in `familiarity_from_held_out`.

    Returns
    -------
    Familiarity

    Raises
    ------
    ParameterError
        There are fewer than two artists.
    """
    artists, artist = np.unique(groups, return_inverse=True)
    if len(artists) < 2:
        raise ParameterError(f"groups must have at least two artists; got {len(artists)}.")
    fold = np.random.default_rng(seed).permutation(len(artists))[artist] % min(folds, len(artists))
    distances = np.zeros(len(tracks.values))
    for number in np.unique(fold):
        held_out = fold == number
        prototypes = _prototypes(tracks.values[~held_out], tracks.labels[~held_out])
        distances[held_out] = unfamiliarity(tracks.values[held_out], prototypes)
    return _reference(_prototypes(tracks.values, tracks.labels), distances, refuse_above)


def _prototypes(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Fit prototypes and round them as a bundle stores them."""
    return fit_prototypes(values, labels).astype(np.float16)


def _reference(prototypes: np.ndarray, distances: np.ndarray, refuse_above: float | None) -> Familiarity:
    if refuse_above is None:
        scale = 10**_DECIMALS
        refuse_above = math.ceil(refusal_threshold(distances) * scale) / scale
    share = float(np.mean(distances > refuse_above))
    return Familiarity(prototypes=prototypes, refuse_above=refuse_above, tracks=len(distances), share=share)
