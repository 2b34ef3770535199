"""Audit -> a page with plots and spectrograms of the faults."""

import logging

from genreflow.audit.faults import Audit
from genreflow.errors import counted
from genreflow.features.store import FeatureStore
from genreflow.manifest.manifest import Manifest
from genreflow.reporting.audit.page import write_page
from genreflow.stages import AUDIT, AUDIT_PAGE, FEATURES, MANIFEST

logger = logging.getLogger(__name__)


def main() -> None:
    manifest = Manifest.load(MANIFEST)
    audit = Audit.load(AUDIT, manifest)
    write_page(AUDIT_PAGE, audit, manifest, FeatureStore.open(FEATURES))
    logger.info(f"{counted(len(audit.faults), 'fault')} shown in {AUDIT_PAGE}")
