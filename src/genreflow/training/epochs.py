"""The training batches of one epoch after the other, and the thread that makes them."""

import queue
import sys
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from genreflow.training.batches import SegmentSet
from genreflow.training.options import FitOptions

# Batches that lie ready; more would only be memory.
AHEAD = 2
# References to a buffer that nobody else uses: the list's, and that of the call which counts.
_OWN_REFERENCES = 2


class TrainingBatches:
    """Shuffled and augmented batches.

    All chance comes from (seed, pass through the segments, batch), so that it does not matter which thread makes a
    batch, or when.

    Parameters
    ----------
    data : SegmentSet
    options : FitOptions
    classes : int >= 2
    """

    def __init__(self, data: SegmentSet, options: FitOptions, *, classes: int) -> None:
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
        self._buffers: list[np.ndarray] = []

    @property
    def segments(self) -> int:
        """Segments of an epoch."""
        return self._an_epoch * self.size

    def _shuffled(self, turn: int) -> np.ndarray:
        return np.random.default_rng([self._options.seed, turn]).permutation(self._data.n_segments)

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self._an_epoch

    def batch(self, epoch: int, index: int) -> tuple[np.ndarray, ...]:
        """Segments, labels as probabilities, and with class weights the weight of each segment.

        The memory of the segments is used again as soon as nobody holds a reference to it.
        """
        turn, batch = divmod(epoch * self._an_epoch + index, self._a_pass)
        chosen = self._order(turn)[batch * self.size : (batch + 1) * self.size]
        rng = np.random.default_rng([self._options.seed, turn, batch])
        x, y = self._data.batch(chosen, rng, self._options, self._classes, out=self._buffer())
        # By the labels as they are after mixup: a mixed segment weighs as its parts do.
        return (x, y, y @ self._weights) if self._options.class_weights else (x, y)

    def _buffer(self) -> np.ndarray:
        # New memory of this size costs more to get than to fill. A tensor may be a view of it, and then refers to it.
        for i in range(len(self._buffers)):
            if sys.getrefcount(self._buffers[i]) <= _OWN_REFERENCES:
                return self._buffers[i]
        self._buffers.append(np.empty((self.size, self._data.length, self._data.n_mels), "float32"))
        return self._buffers[-1]

    def epoch(self, number: int, *, ready: Callable[[tuple[np.ndarray, ...]], Any]) -> Iterator[Any]:
        """The batches of an epoch, made in a thread beside whatever is done with them.

        Parameters
        ----------
        number : int >= 0
        ready : callable
            What else the thread does with a batch: make tensors of it.
        """
        made: queue.Queue = queue.Queue(AHEAD)
        over = threading.Event()

        def make() -> None:
            try:
                for index in range(len(self)):
                    if over.is_set():
                        return
                    made.put(ready(self.batch(number, index)))
            except BaseException as error:  # raised where the batch is asked for
                made.put(error)

        thread = threading.Thread(target=make, name="batches", daemon=True)
        thread.start()
        try:
            for _ in range(len(self)):
                batch = made.get()
                if isinstance(batch, BaseException):
                    raise batch
                yield batch
        finally:
            over.set()
            while thread.is_alive():  # it may wait for a place
                try:
                    made.get(timeout=0.05)
                except queue.Empty:
                    continue
