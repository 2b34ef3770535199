"""Find the label errors of a collection.

The labels of all usable tracks are used, those of validation and test tracks too: a wrong label there makes metrics
wrong. That is no leakage, since nothing of it reaches training, tuning or the choice of a model: only the page of the
audit shows it, and nothing is removed or relabelled automatically. Whoever corrects a label changes the manifest, so
that split, study and metrics are made anew. A label should be corrected because of what is heard: test tracks whose
labels follow a classifier are easier for classifiers of its kind.
"""

import numpy as np

from genreflow.audit.faults import Audit
from genreflow.label_errors.judge import judge_labels
from genreflow.label_errors.label_report import LabelReport
from genreflow.label_errors.track_features import TrackFeatures
from genreflow.manifest.groups import merged_groups
from genreflow.manifest.manifest import Manifest


def find_label_errors(manifest: Manifest, audit: Audit, features: TrackFeatures) -> LabelReport:
    """List the tracks of a collection that probably have a wrong label.

    Tracks that the audit leaves out are not judged, and artists who share a recording count as one.

    Parameters
    ----------
    manifest : Manifest
    audit : Audit
        Of `manifest`.
    features : TrackFeatures

    Returns
    -------
    LabelReport
    """
    left_out = audit.left_out
    tracks = [track for track in manifest.tracks if track.id not in left_out and (track.hash or "") in features.store]
    return judge_labels(
        tracks,
        np.array([features.compute(track.hash or "") for track in tracks]),
        merged_groups(manifest.tracks, audit.clusters),
        features=features.name,
        groups_known=manifest.groups_known,
    )
