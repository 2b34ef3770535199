"""The embeddings of all tracks, kept like their features: one row for each segment."""

import hashlib
import json
from typing import ClassVar

from pydantic import Field

from genreflow.features.store import RowStore
from genreflow.frozen import FrozenModel

# Part of every key. Increase it if, and only if, the same spec gives other values than before.
EMBEDDING_VERSION = 1


class EmbeddingSpec(FrozenModel):
    """What the rows of an embedding store are: the values that an embedder gives for each segment of a track.

    They are stored as float16: the values of musicnn are of the order of 1 and change by at most a 2,000th.
    """

    stage: ClassVar[str] = "embed"
    row_type: ClassVar[str] = "<f2"

    embedder: str = Field(description="SHA-256 of the embedder's weights")
    feature_key: str = Field(description="of the feature spec")
    length: int = Field(gt=0, description="of a segment [frames]")
    hop: int = Field(gt=0, description="between the starts of two segments [frames]")
    size: int = Field(gt=0, description="values of a segment")

    @property
    def row_size(self) -> int:
        """Values of a segment."""
        return self.size

    def to_dict(self) -> dict[str, str | int]:
        """Return the parameters by name, ready for JSON."""
        return self.model_dump()

    @property
    def key(self) -> str:
        """Sixteen hex digits that identify this spec and `EMBEDDING_VERSION`."""
        text = json.dumps([EMBEDDING_VERSION, self.to_dict()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class EmbeddingStore(RowStore):
    """The embeddings of all tracks: float16 of shape (segments, size) for each piece of a track.

    The pieces and the order of the segments are those of `genreflow.features.segments.segment_starts`.
    """

    spec_type = EmbeddingSpec
    spec: EmbeddingSpec
