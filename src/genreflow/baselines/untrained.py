"""Values of the penultimate layer of a network with its initial weights.

What a linear classifier reaches on them is due to the architecture and its input. Only what a trained network adds to
it is due to training (Pons and Serra 2019).

References
----------
Pons, Serra: Randomly Weighted CNNs for (Music) Audio Classification. ICASSP 2019.
"""

from typing import TYPE_CHECKING

import numpy as np

from genreflow.training.segment_set import SegmentSet

if TYPE_CHECKING:
    import keras

# Segments per call of the network: it bounds the memory.
BATCH = 64


def penultimate_model(model: "keras.Model") -> "keras.Model":
    """Return the part of a model in front of the dense layers that compute the logits.

    Parameters
    ----------
    model : keras.Model
        From `genreflow.models.build_model`.

    Returns
    -------
    keras.Model
        From float32 (batch, frames, n_mels) to float32 (batch, n_features).
    """
    import keras

    body = model.get_layer("body")
    last = next(layer for layer in body.layers if layer.output is body.output)
    # An ensemble averages the logits of several dense layers.
    members = last.input if isinstance(last.input, list) else [last.output]
    dense = [next(layer for layer in body.layers if layer.output is member) for member in members]
    values = [keras.layers.Flatten()(layer.input) for layer in dense]
    penultimate = keras.layers.Concatenate()(values) if len(values) > 1 else values[0]
    image = model.operations[model.operations.index(body) - 1].output  # `body.input` is within the body
    return keras.Model(model.input, keras.Model(body.input, penultimate)(image))


def mean_over_segments(model: "keras.Model", segments: SegmentSet) -> np.ndarray:
    """Average the output of a model over the segments of each track.

    Parameters
    ----------
    model : keras.Model
        With an output of shape (batch, n_features).
    segments : SegmentSet

    Returns
    -------
    np.ndarray [shape=(n_tracks, n_features), dtype=float64]
    """
    sums = np.zeros((segments.n_tracks, model.output.shape[-1]))
    for first in range(0, segments.n_segments, BATCH):
        indices = np.arange(first, min(first + BATCH, segments.n_segments))
        features = model.predict_on_batch(segments.segments(indices))
        np.add.at(sums, segments.track[indices], features)
    return sums / np.bincount(segments.track, minlength=segments.n_tracks)[:, None]
