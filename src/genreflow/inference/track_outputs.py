"""What a model says of a track, added up while the track is decoded."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from genreflow.inference.input_summary import SummarySums


@dataclass
class TrackOutputs:
    """What the model says of the segments of a track, which are added batch by batch.

    Parameters
    ----------
    summary : SummarySums, optional
        Where the sound is summarised as well.

    Attributes
    ----------
    starts : list of np.ndarray [shape=(n,), dtype=int]
        First frames of the segments, by batch.
    probabilities : list of np.ndarray [shape=(n, n_classes)]
        By batch.
    samples : int >= 0
        Duration of the track so far.
    short : bool
        Whether the track is shorter than a segment.
    """

    summary: SummarySums | None = None
    starts: list[np.ndarray] = field(default_factory=list)
    probabilities: list[np.ndarray] = field(default_factory=list)
    samples: int = 0
    short: bool = False
    _embedding: np.ndarray | None = None  # sum over the segments: those of an hour would take megabytes
    _segments: int = 0

    def count(self, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """Count the samples of a stream of blocks."""
        for block in blocks if self.summary is None else self.summary.blocks(blocks):
            self.samples += len(block)
            yield block

    def add(self, starts: np.ndarray, probabilities: np.ndarray, embeddings: np.ndarray | None) -> None:
        """Add a batch; `embeddings` [shape=(n, size)] is None if the bundle has no prototypes."""
        self.starts.append(starts)
        self.probabilities.append(probabilities)
        self._segments += len(probabilities)
        if embeddings is not None:
            total = embeddings.sum(axis=0, dtype=np.float64)
            self._embedding = total if self._embedding is None else self._embedding + total

    @property
    def mean_embedding(self) -> np.ndarray | None:
        """Mean over the segments [shape=(1, size)]."""
        return None if self._embedding is None else self._embedding[None] / self._segments
