"""Audit and label errors -> a page with plots, spectrograms of the faults, and tracks to listen to."""

import logging

from genreflow.audit.faults import Audit
from genreflow.errors import ParameterError, counted
from genreflow.features.store import FeatureStore
from genreflow.file_names import one_line
from genreflow.label_errors.label_report import LabelReport
from genreflow.manifest.manifest import Manifest
from genreflow.params import load_params
from genreflow.reporting.audit.page import LabelErrors, write_page
from genreflow.stages import AUDIT, AUDIT_PAGE, FEATURES, LABEL_ERRORS, MANIFEST, RAW
from genreflow.stages.stage_results import read_result

logger = logging.getLogger(__name__)


def main() -> None:
    manifest = Manifest.load(MANIFEST)
    audit = Audit.load(AUDIT, manifest)
    label_errors = LabelErrors(load_label_report(manifest), RAW, load_params().report.excerpt_seconds)
    write_page(AUDIT_PAGE, audit, manifest, FeatureStore.open(FEATURES), label_errors)
    found = counted(len(label_errors.report.label_errors), "possible label error")
    logger.info(f"{counted(len(audit.faults), 'fault')} and {found} shown in {AUDIT_PAGE}")


def load_label_report(manifest: Manifest) -> LabelReport:
    """Read the label errors of a manifest.

    Raises
    ------
    ParameterError
        The file is missing or damaged, or names other tracks.
    """
    report = read_result(LABEL_ERRORS, LabelReport, stage="label-errors")
    if unknown := {row.track for row in report.label_errors} - manifest.by_id.keys():
        raise ParameterError(
            f"{LABEL_ERRORS}: must be of tracks of {MANIFEST}; got {one_line(min(unknown))}. Run "
            "`dvc repro label-errors`."
        )
    return report
