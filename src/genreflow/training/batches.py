"""The training batches of each epoch, prepared by a thread beside the updates."""

import queue
import threading
from collections.abc import Callable, Generator
from functools import lru_cache
from typing import TypeVar

import numpy as np

from genreflow.training.labelled_segments import TrainableSegments
from genreflow.training.options import FitOptions

# Batches prepared ahead; more would only take memory.
PREFETCH = 2

Batch = tuple[np.ndarray, ...]
T = TypeVar("T")


class TrainingBatches:
    """Shuffled and augmented batches.

    A pass has the segments that `LabelledSegments.draw` draws. Random numbers depend on (seed, pass, batch) alone, not
    on the thread that makes a batch.

    Parameters
    ----------
    data : TrainableSegments
    options : FitOptions
    classes : int >= 2

    Attributes
    ----------
    size : int > 0
        Segments of a batch.
    """

    def __init__(self, data: TrainableSegments, options: FitOptions, *, classes: int) -> None:
        self._data, self._options, self._classes = data, options, classes
        self.size = min(options.batch_size, data.n_drawn)
        # A remainder smaller than a batch is left out; each pass is shuffled, so it is another one each time.
        self._batches_per_pass = data.n_drawn // self.size
        wanted = (options.segments_per_epoch or data.n_drawn) // self.size
        self._batches_per_epoch = max(1, min(wanted, self._batches_per_pass))
        counts = np.bincount(data.track_labels, weights=data.drawn_per_track, minlength=classes)
        # n_samples / (n_classes * count), as scikit-learn's class_weight="balanced", over the genres that occur.
        self._class_weights = (data.n_drawn / (np.maximum(counts, 1) * (counts > 0).sum())).astype("float32")
        self._order = lru_cache(maxsize=2)(self._drawn)

    @property
    def segments_per_epoch(self) -> int:
        """Segments of an epoch."""
        return self._batches_per_epoch * self.size

    def _drawn(self, pass_number: int) -> np.ndarray:
        return self._data.draw(np.random.default_rng([self._options.seed, pass_number]))

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self._batches_per_epoch

    def batch(self, epoch: int, index: int, *, out: np.ndarray | None = None) -> Batch:
        """Make one batch.

        Parameters
        ----------
        epoch, index : int >= 0
            Epoch, and batch within it.
        out : np.ndarray [shape=(size, *segment_shape), dtype=float32], optional
            Array to write the segments to; a new one by default.

        Returns
        -------
        x : np.ndarray [shape=(size, *segment_shape), dtype=float32]
        y : np.ndarray [shape=(size, classes), dtype=float32]
            Labels as probabilities.
        sample_weight : np.ndarray [shape=(size,), dtype=float32]
            Only with ``class_weights``.
        """
        pass_number, batch = divmod(epoch * self._batches_per_epoch + index, self._batches_per_pass)
        chosen = self._order(pass_number)[batch * self.size : (batch + 1) * self.size]
        rng = np.random.default_rng([self._options.seed, pass_number, batch])
        x, y = self._data.augmented_batch(chosen, rng, self._options, self._classes, out=out)
        # By the labels after mixup: the weight of a mixture is the mixture of the weights.
        return (x, y, y @ self._class_weights) if self._options.class_weights else (x, y)

    def epoch(self, number: int, *, convert: Callable[[Batch], T]) -> Generator[T, None, None]:
        """The batches of an epoch, each made by a thread while the caller works with those before.

        A batch is valid until the next one is asked for. Its memory is then used again: getting new memory takes longer
        than filling it.

        Parameters
        ----------
        number : int >= 0
        convert : callable
            From a batch to what is yielded; called in the thread, and free to return views of the batch.

        Yields
        ------
        object
            What `convert` returns.
        """
        # A buffer goes from `free` to the thread, through `ready` to the caller, and back. None ends the thread. The
        # buffer that was freed last is used first, since it is still in the cache.
        free: queue.LifoQueue[np.ndarray | None] = queue.LifoQueue()
        ready: queue.SimpleQueue[tuple[np.ndarray, T] | BaseException] = queue.SimpleQueue()
        for _ in range(PREFETCH + 2):  # one with the thread, one with the caller
            free.put(np.empty((self.size, *self._data.segment_shape), "float32"))

        def make_batches() -> None:
            try:
                for index in range(len(self)):
                    if (buffer := free.get()) is None:
                        return
                    ready.put((buffer, convert(self.batch(number, index, out=buffer))))
            except BaseException as error:  # raised in the caller's thread
                ready.put(error)

        thread = threading.Thread(target=make_batches, name="training batches", daemon=True)
        thread.start()
        try:
            for _ in range(len(self)):
                item = ready.get()
                if isinstance(item, BaseException):
                    raise item
                buffer, batch = item
                yield batch
                free.put(buffer)
        finally:
            free.put(None)
            thread.join()
