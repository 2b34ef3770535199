"""Manifest, audit and features -> tracks whose label is probably wrong, for a person to listen to."""

import logging

from genreflow.audit.faults import Audit
from genreflow.features.store import FeatureStore
from genreflow.label_errors.find import find_label_errors
from genreflow.label_errors.label_report import format_label_report
from genreflow.manifest.manifest import Manifest
from genreflow.stages import AUDIT, FEATURES, LABEL_ERRORS, LABEL_ERRORS_CSV, MANIFEST

logger = logging.getLogger(__name__)


def main() -> None:
    manifest = Manifest.load(MANIFEST)
    report = find_label_errors(manifest, Audit.load(AUDIT, manifest), FeatureStore.open(FEATURES))
    report.save(LABEL_ERRORS, LABEL_ERRORS_CSV)
    logger.info(format_label_report(report, more=f"all are in {LABEL_ERRORS_CSV}"))
