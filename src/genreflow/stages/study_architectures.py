"""The architectures that the project's study searches, and the embeddings that some of them take."""

import logging
from collections.abc import Sequence

from genreflow.models.default_architectures import searched_architectures, without_embeddings
from genreflow.params import Params
from genreflow.stages.embeddings import Embeddings, why_unavailable
from genreflow.stages.inputs import Data

logger = logging.getLogger(__name__)


def searched(params: Params, data: Data) -> tuple[Sequence[str], Embeddings | None]:
    """Return the architectures that the study searches, and the embeddings that some of them take.

    Raises
    ------
    ParameterError
        All of them take embeddings, and there are none.
    """
    named = params.tune.architectures
    names = searched_architectures(named, source=data.manifest.source, own_embedder=params.embedding.file is not None)
    others = without_embeddings(names)
    if len(others) == len(names):
        return names, None
    if (reason := why_unavailable()) and others:
        logger.warning("%s The study goes on without %s.", reason, ", ".join(set(names) - set(others)))
        return others, None
    return names, Embeddings.load(data.store)
