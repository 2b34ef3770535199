"""Find the label errors of a collection.

The labels of all usable tracks are used, those of validation and test tracks too: a wrong label there makes metrics
wrong. That is no leakage, since nothing of it reaches training, tuning or the choice of a model: only the page of the
audit shows it, and nothing is removed or relabelled automatically. Whoever corrects a label changes the manifest, so
that split, study and metrics are made anew. A label should be corrected because of what is heard: test tracks whose
labels follow a classifier are easier for classifiers of its kind.
"""

from collections.abc import Sequence

import numpy as np

from genreflow.audit.faults import Audit
from genreflow.baselines.summary_statistics import track_statistics
from genreflow.features.store import FeatureStore
from genreflow.label_errors.judge import judge_labels
from genreflow.label_errors.label_report import LabelReport
from genreflow.manifest.groups import merged_groups
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Track


def find_label_errors(manifest: Manifest, audit: Audit, store: FeatureStore) -> LabelReport:
    """List the tracks of a collection that probably have a wrong label.

    Tracks that the audit leaves out are not judged, and artists who share a recording count as one.

    Parameters
    ----------
    manifest : Manifest
    audit : Audit
        Of `manifest`.
    store : FeatureStore
        Base log-mel of the tracks.

    Returns
    -------
    LabelReport
    """
    left_out = audit.left_out
    tracks = [track for track in manifest.tracks if track.id not in left_out and (track.hash or "") in store]
    features, x = track_features(tracks, store)
    return judge_labels(
        tracks,
        x,
        merged_groups(manifest.tracks, audit.clusters),
        features=features,
        groups_known=manifest.groups_known,
    )


def track_features(tracks: Sequence[Track], store: FeatureStore) -> tuple[str, np.ndarray]:
    """Return the features by which tracks are judged.

    Returns
    -------
    name : str
    x : np.ndarray [shape=(n_tracks, n_features)]
    """
    rows = [track_statistics(store.pieces(track.hash or "")) for track in tracks]
    return "summary statistics of the log-mel", np.array(rows)
