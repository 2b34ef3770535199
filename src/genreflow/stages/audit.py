"""Manifest and features -> the faults of the tracks."""

import logging

from genreflow.audit.manifest import audit_manifest
from genreflow.audit.summary import format_audit
from genreflow.features.store import FeatureStore
from genreflow.manifest.manifest import Manifest
from genreflow.params import load_params
from genreflow.stages import AUDIT, FEATURES, FINGERPRINTS, MANIFEST
from genreflow.stages.dvc_cache import remade

logger = logging.getLogger(__name__)


def main() -> None:
    params = load_params().audit
    report = audit_manifest(
        Manifest.load(MANIFEST), FeatureStore.open(FEATURES), params, fingerprints=FINGERPRINTS, progress=True
    )
    with remade(AUDIT):
        report.save(AUDIT)
    logger.info(format_audit(report, more=f"all are in {AUDIT}"))
