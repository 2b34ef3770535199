"""data/raw -> the feature store; only tracks that it does not have yet are computed."""

import logging
import os

from genreflow.datasets.featurize import update_features
from genreflow.datasets.filterbank import load_or_make_filter_bank
from genreflow.errors import GenreflowError, counted
from genreflow.features.kept import KeptStates
from genreflow.file_names import one_line
from genreflow.manifest.manifest import Manifest
from genreflow.models.default_architectures import default_spec, searched_architectures
from genreflow.params import load_params
from genreflow.stages import FEATURES, FILTERS, KEPT_FEATURES, MANIFEST, RAW
from genreflow.stages.dvc_cache import distrust_cached, remade

logger = logging.getLogger(__name__)


def main() -> None:
    params = load_params()
    manifest = Manifest.load(MANIFEST)
    names = searched_architectures(
        params.tune.architectures, source=manifest.source, own_embedder=params.embedding.file is not None
    )
    spec = params.features.resolve(default_spec(names, source=manifest.source)).replace(**manifest.spec_hints)
    bank = load_or_make_filter_bank(spec, FEATURES / FILTERS)
    # Dask's own environment variable.
    scheduler = params.compute.scheduler or os.environ.get("DASK_SCHEDULER_ADDRESS")
    report = update_features(
        FEATURES,
        manifest,
        RAW,
        spec,
        bank,
        n_jobs=params.compute.n_jobs,
        scheduler=scheduler,
        kept=KeptStates(KEPT_FEATURES, 1e9 * params.compute.kept_features_gb),
    )
    with remade(FEATURES / FILTERS):
        bank.save(FEATURES / FILTERS, spec=spec)
    if report.damaged:
        logger.warning(f"{counted(len(report.damaged), 'damaged file')} made anew: {', '.join(report.damaged)}")
        distrust_cached(FEATURES.iterdir())
    for message in report.failed.values():
        logger.warning(f"left out: {one_line(message)}")
    if not report.computed + report.reused:
        raise GenreflowError(f"{RAW}: at least one track must have features; got none, for the reasons above.")
    logger.info(
        f"{counted(report.computed, 'track')} computed, {report.reused} reused, {report.dropped} removed; "
        f"{report.kept} of other collections kept in {KEPT_FEATURES}"
    )
