"""The embeddings of the project, and the segments that trials are fitted to."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from genreflow.embedding.embedder import Embedder
from genreflow.embedding.store import EmbeddingStore
from genreflow.errors import ParameterError
from genreflow.features.store import FeatureStore
from genreflow.files import read_json
from genreflow.stages import EMBEDDER, EMBEDDINGS, UNAVAILABLE
from genreflow.stages.inputs import Data
from genreflow.training.params import SegmentParams

if TYPE_CHECKING:
    from genreflow.training.data import TrainingData


@dataclass(frozen=True)
class Embeddings:
    """The embeddings of the project's tracks, and the network that computed them."""

    store: EmbeddingStore
    embedder: Embedder

    @classmethod
    def load(cls, features: FeatureStore) -> Self:
        """Read and verify what the stage `embed` wrote.

        Parameters
        ----------
        features : FeatureStore
            What the embeddings must have been computed from.

        Raises
        ------
        ParameterError
            It is missing or damaged, or of other features.
        """
        if reason := why_unavailable():
            raise ParameterError(reason)
        store = EmbeddingStore.open(EMBEDDINGS)
        missing = next((key for key in features if key not in store), None)
        if store.spec.feature_key != features.spec.key or missing:
            raise ParameterError(
                f"{EMBEDDINGS}: must hold the embeddings of all tracks with features; got those of other features. Run "
                "`dvc repro embed`."
            )
        store.verify()
        return cls(store, Embedder(EMBEDDINGS / EMBEDDER))


def why_unavailable() -> str | None:
    """Return why the project has no embeddings; None if it has."""
    try:
        return str(read_json(EMBEDDINGS / UNAVAILABLE)["reason"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return f"{EMBEDDINGS / UNAVAILABLE}: must be what the stage embed wrote. Run `dvc repro --force embed`."


def load_segments(data: Data, segments: SegmentParams, embeddings: Embeddings | None) -> "TrainingData":
    """Open the segments of the training and validation tracks, or their embeddings.

    Parameters
    ----------
    data : Data
    segments : SegmentParams
    embeddings : Embeddings or None
        None: segments of log-mel spectrograms.
    """
    from genreflow.training.data import load_embedding_data, load_training_data

    if embeddings is None:
        return load_training_data(data.store, data.manifest, data.split, segments)
    return load_embedding_data(
        data.store,
        embeddings.store,
        embeddings.embedder,
        data.manifest,
        data.split,
        track_cap=segments.track_cap,
    )
