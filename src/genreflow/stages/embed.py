"""Features -> the embeddings of all segments, which a pretrained network computes; only new tracks are computed."""

import logging
from pathlib import Path

from genreflow.embedding.checkpoint import CHECKPOINTS
from genreflow.embedding.compute import update_embeddings
from genreflow.embedding.conversion import check_patch_spec
from genreflow.embedding.embedder import Embedder
from genreflow.embedding.params import EmbeddingParams
from genreflow.errors import GenreflowError, counted
from genreflow.features.spec import FeatureSpec
from genreflow.features.store import FeatureStore
from genreflow.files import atomic_directory, write_json
from genreflow.manifest.manifest import Manifest
from genreflow.models.default_architectures import searched_architectures, without_embeddings
from genreflow.models.keras_import import import_keras
from genreflow.params import load_params
from genreflow.stages import EMBEDDER, EMBEDDINGS, FEATURES, MANIFEST, UNAVAILABLE
from genreflow.stages.dvc_cache import distrust_cached

logger = logging.getLogger(__name__)


def main() -> None:
    params, manifest, features = load_params(), Manifest.load(MANIFEST), FeatureStore.open(FEATURES)
    names = searched_architectures(
        params.tune.architectures, source=manifest.source, own_embedder=params.embedding.file is not None
    )
    others = without_embeddings(names)
    if len(others) == len(names):
        write_unavailable("params.yaml: no architecture of tune.architectures takes embeddings.")
        return
    try:
        check_patch_spec(features.spec)
        write_embedder(EMBEDDINGS / EMBEDDER, params.embedding, features.spec)
    except GenreflowError as error:
        if not others:
            raise
        # DVC sees a change of parameters, not that weights were installed.
        logger.warning(
            "%s The study will go on without %s. Once weights are installed: dvc repro --force --single-item embed",
            error,
            ", ".join(set(names) - set(others)),
        )
        write_unavailable(str(error))
        return
    features.verify()
    report = update_embeddings(EMBEDDINGS, features, EMBEDDINGS / EMBEDDER, n_jobs=params.compute.n_jobs)
    if report.damaged:
        logger.warning(f"{counted(len(report.damaged), 'damaged file')} made anew: {', '.join(report.damaged)}")
        distrust_cached(EMBEDDINGS.iterdir())
    (EMBEDDINGS / UNAVAILABLE).unlink(missing_ok=True)
    logger.info(f"{counted(report.computed, 'track')} computed, {report.reused} reused, {report.dropped} removed")


def write_unavailable(reason: str) -> None:
    """Replace the embeddings by the reason why there are none."""
    with atomic_directory(EMBEDDINGS) as temporary:
        write_json(temporary / UNAVAILABLE, {"reason": reason})


def write_embedder(path: Path, params: EmbeddingParams, spec: FeatureSpec) -> None:
    """Write the network that computes embeddings from segments, unless it is there.

    Parameters
    ----------
    path : Path
    params : EmbeddingParams
    spec : FeatureSpec
        Of the segments.

    Raises
    ------
    GenreflowError
        The weights are not installed or not readable, or ``embedding.file`` is no such network.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if params.file is not None:
        from genreflow.export.embedder_graph import import_embedder

        import_embedder(Path(params.file), path, licence=str(params.licence), output=params.output, spec=spec)
        return
    from genreflow.embedding.checkpoint import read_weights
    from genreflow.embedding.zero_filters import prune

    known = params.weights in CHECKPOINTS
    import_keras()
    weights = prune(read_weights(params.weights, None if known else Path(params.weights)))
    from genreflow.export.export_embedder import export_embedder, weights_sha256

    # The exporter gives a file of other bytes each time: one that is there stays, and what depends on it as well.
    if path.exists():
        present = Embedder(path)
        if (present.description["sha256"], present.feature_key) == (weights_sha256(weights), spec.key):
            return
    name = params.weights if known else Path(params.weights).name
    export_embedder(path, weights, name=name, spec=spec)
