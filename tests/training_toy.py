"""Small data sets that a network learns in a few epochs, and networks for them."""

import keras
import numpy as np

from genreflow.models import build_model
from genreflow.training.options import FitOptions
from genreflow.training.segment_set import SegmentSet

LENGTH, BANDS, CLASSES = 24, 20, 3
OPTIONS = FitOptions.unregularised(
    epochs=6, batch_size=16, patience=6, weight_decay=0.01, label_smoothing=0.1, schedule="cosine", random_crop=True
)


def make_segments(n_tracks: int, seed: int, *, learnable: bool = True) -> SegmentSet:
    """Tracks of noise; each genre is louder in bands of its own, or the labels are random."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n_tracks) % CLASSES
    pieces = []
    for label in labels:
        piece = rng.normal(110, 35, (60, BANDS))
        if learnable:
            piece[:, 6 * label : 6 * label + 6] += 45
        pieces.append(np.clip(piece, 0, 255).astype("uint8"))
    if not learnable:
        labels = rng.permutation(labels)
    return SegmentSet(pieces, labels, range(n_tracks), LENGTH, LENGTH // 2)


def make_model(name: str = "efficient", *, seed: int = 5) -> keras.Model:
    mean, variance = make_segments(24, 1).band_statistics()
    return build_model(name, input_shape=(LENGTH, BANDS), classes=CLASSES, mean=mean, variance=variance, seed=seed)
