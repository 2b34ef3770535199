"""The embeddings of the segments of a set of tracks."""

from collections.abc import Sequence

import numpy as np

from genreflow.training.augment import draw_mixup, mixed_labels
from genreflow.training.labelled_segments import LabelledSegments
from genreflow.training.options import FitOptions

# Lower bound of the standard deviation of a value, as a share of the largest one: values that hardly vary in training,
# such as constants of a pruned network, would otherwise be scaled up to noise.
MIN_RELATIVE_DEVIATION = 1e-2


class EmbeddingSet(LabelledSegments):
    """Embeddings with labels, in memory; a fit takes them as it takes the segments of a `SegmentSet`.

    Of the augmentations only mixup applies: the others change spectrograms, whose embeddings were computed before.

    Parameters
    ----------
    values : np.ndarray [shape=(n_segments, size), dtype=float16 or float32]
    label, track, track_cap
        As in `LabelledSegments`.
    track_groups : np.ndarray [shape=(n_tracks,)] or None
        Group of each track, see `genreflow.splits.split.Split`; None: each is one of its own.

    Raises
    ------
    GenreflowError
        As `LabelledSegments`.
    """

    def __init__(
        self,
        values: np.ndarray,
        label: np.ndarray,
        track: np.ndarray,
        *,
        track_cap: float | None = None,
        track_groups: np.ndarray | None = None,
    ) -> None:
        super().__init__(np.asarray(label, "int64"), np.asarray(track, "int64"), track_cap=track_cap)
        self._values = values
        self.track_groups = np.arange(self.n_tracks) if track_groups is None else track_groups

    @property
    def segment_shape(self) -> tuple[int]:
        """Shape of an embedding: its size."""
        return (self._values.shape[1],)

    def segments(self, indices: Sequence[int] | np.ndarray | slice) -> np.ndarray:
        """Return embeddings as model input [shape=(n, size), dtype=float32].

        Parameters
        ----------
        indices : sequence of int [shape=(n,)] or slice
        """
        return self._values[indices].astype("float32")

    def band_statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of each value; use those of the training set only.

        A track counts as much as it contributes to a pass.

        Returns
        -------
        mean, variance : np.ndarray [shape=(size,), dtype=float64]
            The standard deviation is at least `MIN_RELATIVE_DEVIATION` of the largest one.
        """
        weight = self.track_weights[self.track]
        values = self._values.astype("float64")
        mean = np.average(values, axis=0, weights=weight)
        variance = np.average((values - mean) ** 2, axis=0, weights=weight)
        return mean, np.maximum(variance, max(variance.max(), 1e-12) * MIN_RELATIVE_DEVIATION**2)

    def augmented_batch(
        self,
        indices: Sequence[int] | np.ndarray,
        rng: np.random.Generator,
        options: FitOptions,
        classes: int,
        *,
        out: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return embeddings, mixed by mixup, with their labels as probabilities.

        Parameters
        ----------
        indices : sequence of int [shape=(n,)]
        rng : np.random.Generator
            The only source of randomness: the same state gives the same batch.
        options : FitOptions
        classes : int >= 2
        out : np.ndarray [shape=(n, size), dtype=float32], optional
            Array to write the embeddings to; a new one by default.

        Returns
        -------
        x : np.ndarray [shape=(n, size), dtype=float32]
        y : np.ndarray [shape=(n, classes), dtype=float32]
        """
        weight, partner = draw_mixup(rng, options, len(indices))
        values = self.segments(indices)
        x = np.empty_like(values) if out is None else out
        np.multiply(values, weight[:, None], out=x)
        x += (1 - weight[:, None]) * values[partner]
        return x, mixed_labels(self.label[indices], classes, weight, partner)
