"""The bundle: a directory with a trained model and everything that is needed to apply it to audio."""

from genreflow.bundle.bundle import MODEL_NAME, WEIGHTS, Bundle
from genreflow.bundle.drift_reference import REFERENCE_FILE, DriftReference
from genreflow.bundle.metadata import BundleError
from genreflow.bundle.prototypes import Familiarity
from genreflow.bundle.write import add_reference, stamp, write_bundle

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
