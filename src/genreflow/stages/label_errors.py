"""Audit, and embeddings or features -> tracks whose label is probably wrong, for a person to listen to."""

import logging

from genreflow.audit.faults import Audit
from genreflow.features.store import FeatureStore
from genreflow.label_errors.find import find_label_errors
from genreflow.label_errors.label_report import format_label_report
from genreflow.label_errors.track_features import TrackFeatures, embedding_features, summary_features
from genreflow.manifest.manifest import Manifest
from genreflow.stages import AUDIT, FEATURES, LABEL_ERRORS, LABEL_ERRORS_CSV, MANIFEST
from genreflow.stages.embeddings import Embeddings, why_unavailable

logger = logging.getLogger(__name__)


def main() -> None:
    manifest = Manifest.load(MANIFEST)
    audit = Audit.load(AUDIT, manifest)
    report = find_label_errors(manifest, audit, load_features(FeatureStore.open(FEATURES)))
    report.save(LABEL_ERRORS, LABEL_ERRORS_CSV)
    logger.info(format_label_report(report, more=f"all are in {LABEL_ERRORS_CSV}"))


def load_features(store: FeatureStore) -> TrackFeatures:
    """Return the embeddings, which find more label errors, or summary statistics where there are none."""
    if why_unavailable():
        return summary_features(store)
    embeddings = Embeddings.load(store)
    return embedding_features(embeddings.store, embeddings.embedder)
