"""The bundle: a directory with a trained model and everything that is needed to apply it to audio."""

from genreflow.bundle.bundle import WEIGHTS, Bundle
from genreflow.bundle.drift_reference import DriftReference
from genreflow.bundle.prototypes import Familiarity
from genreflow.bundle.write import add_reference, stamp, write_bundle
from genreflow.bundle_files import MODEL_NAME, REFERENCE_FILE, BundleError

__all__ = [
    "MODEL_NAME",
    "REFERENCE_FILE",
    "WEIGHTS",
    "Bundle",
    "BundleError",
    "DriftReference",
    "Familiarity",
    "add_reference",
    "stamp",
    "write_bundle",
]
