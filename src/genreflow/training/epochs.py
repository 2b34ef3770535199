"""The training batches of one epoch after the other."""

from functools import lru_cache

import keras
import numpy as np

from genreflow.training.batches import SegmentSet
from genreflow.training.options import FitOptions


class TrainingBatches(keras.utils.PyDataset):
    """What Keras is fed with: shuffled, augmented, and made in a thread beside the updates.

    All chance comes from (seed, pass through the segments, batch), so that it does not matter which thread makes a
    batch, or when.

    Parameters
    ----------
    data : SegmentSet
    options : FitOptions
    classes : int >= 2
    """

    def __init__(self, data: SegmentSet, options: FitOptions, *, classes: int) -> None:
        # More than a few batches ahead would only be memory.
        super().__init__(workers=1, use_multiprocessing=False, max_queue_size=4)
        self._data, self._options, self._classes = data, options, classes
        self.size = min(options.batch_size, data.n_segments)
        # A rest smaller than a batch sits this pass out: the order changes, so that it is another one each time.
        self._a_pass = data.n_segments // self.size
        wanted = (options.segments_per_epoch or data.n_segments) // self.size
        self._an_epoch = max(1, min(wanted, self._a_pass))
        counts = np.bincount(data.label, minlength=classes)
        # Each genre that is there weighs the same in all, and a segment 1 on average.
        self._weights = (data.n_segments / (np.maximum(counts, 1) * (counts > 0).sum())).astype("float32")
        self._order = lru_cache(maxsize=2)(self._shuffled)
        self._epoch = 0

    @property
    def segments(self) -> int:
        """Segments of an epoch."""
        return self._an_epoch * self.size

    def _shuffled(self, turn: int) -> np.ndarray:
        return np.random.default_rng([self._options.seed, turn]).permutation(self._data.n_segments)

    def on_epoch_end(self) -> None:
        self._epoch += 1

    def __len__(self) -> int:
        return self._an_epoch

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        turn, batch = divmod(self._epoch * self._an_epoch + index, self._a_pass)
        chosen = self._order(turn)[batch * self.size : (batch + 1) * self.size]
        rng = np.random.default_rng([self._options.seed, turn, batch])
        x, y = self._data.batch(chosen, rng, self._options, self._classes)
        # By the labels as they are after mixup: a mixed segment weighs as its parts do.
        return (x, y, y @ self._weights) if self._options.class_weights else (x, y)
