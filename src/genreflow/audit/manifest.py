"""The audit of a manifest."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from genreflow.audit.checks import CHECKS, check_features, check_frames
from genreflow.audit.duplicates import NearDuplicate, find_near_duplicates
from genreflow.audit.faults import Audit, Fault
from genreflow.audit.kinds import KINDS
from genreflow.audit.params import AuditParams
from genreflow.audit.published import check_published_faults
from genreflow.audit.recordings import (
    known_recording_faults,
    known_recordings,
    recording_clusters,
    recording_faults,
)
from genreflow.audit.shares import dominant_faults, largest_tracks
from genreflow.features.store import FeatureStore
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Track

# Codes that damaged audio may have.
_DAMAGE = frozenset(
    {"undecodable", "unusable", "silent", "truncated", "damaged", "declared_length", "declared_rate", "clipped"}
)


def audit_manifest(
    manifest: Manifest,
    store: FeatureStore | None,
    params: AuditParams,
    *,
    fingerprints: Path | None = None,
    progress: bool = False,
) -> Audit:
    """Check every track of a manifest, based on the manifest and the features; no audio is decoded.

    ====================  =============================================================
    code                  based on
    ====================  =============================================================
    `undecodable`         decoding
    `unusable`            decoding
    `too_long`            decoding
    `no_features`         the feature store
    `silent`              the peak
    `constant_offset`     the samples, without their mean
    `too_short`           the duration; for imported spectrograms, the number of frames
    `known_recording`     exact and near-duplicates of corrections
    `conflicting_labels`  exact and near-duplicates
    `duplicate`           the hash of samples or spectrogram; one copy is kept
    `near_duplicate`      fingerprints of the features
    `opposite_phase`      the levels of the channels and of their mean
    `truncated`           the declared and the decoded duration
    `damaged`             decoding
    `declared_length`     the declared duration and the size of the file
    `declared_rate`       the header
    `clipped`             decoding
    `dominant`            the durations of the usable tracks of a genre
    `artist_in_genres`    the groups
    ====================  =============================================================

    `genreflow.audit.kinds` defines which of them leave a track out and which only flag it.

    Parameters
    ----------
    manifest : Manifest
    store : FeatureStore or None
        Base log-mel of the tracks. Without it, near-duplicates and tracks without features are not searched for.
    params : AuditParams
    fingerprints : Path or None
        Cache file, see `find_near_duplicates`.
    progress : bool
        Show a progress bar on stderr.
    """
    faults = [fault for check in CHECKS for fault in check(manifest.tracks, params)]
    if store is not None:
        faults += check_features(manifest.tracks, store)
        faults += check_frames(manifest.tracks, store, params)
    # Silent or damaged tracks are alike without being copies, so they are not compared.
    left_out = {fault.track for fault in faults if fault.leave_out}
    compared_tracks = [track for track in manifest.tracks if track.id not in left_out and track.hash]
    pairs: list[NearDuplicate] = []
    if store is not None and params.near_duplicates:
        pairs = find_near_duplicates(_unique_by_hash(compared_tracks), store, cache=fingerprints, progress=progress)
    known = known_recordings(compared_tracks, pairs)
    faults += known_recording_faults(known, manifest.by_id)
    # Left out, they must not connect tracks of the data, or contradict their genres.
    compared_tracks = [track for track in compared_tracks if track.id not in known]
    pairs = [pair for pair in pairs if not {pair.first, pair.second} & known.keys()]
    clusters = recording_clusters(compared_tracks, pairs)
    faults += recording_faults(compared_tracks, clusters, pairs)
    left_out = {fault.track for fault in faults if fault.leave_out}
    largest = largest_tracks((track for track in manifest.tracks if track.id not in left_out), store)
    faults += dominant_faults(largest, manifest.by_id, params)
    order = list(KINDS)
    faults.sort(key=lambda fault: (fault.track, order.index(fault.code), fault.message))
    damaged = {fault.track for fault in faults if fault.code in _DAMAGE}
    return Audit(
        faults=tuple(faults),
        counts=dict(sorted(Counter(fault.code for fault in faults).items())),
        genres=_count_genres(manifest, faults),
        clusters=clusters,
        pairs=tuple(pairs),
        published=check_published_faults(manifest.tracks, clusters, damaged),
        compared=store is not None and params.near_duplicates,
        largest_tracks=largest,
        notes=manifest.notes,
    )


def _unique_by_hash(tracks: Iterable[Track]) -> list[Track]:
    """Return the first track of each hash, a correction last: exact duplicates need no comparison."""
    first: dict[str | None, Track] = {}
    for track in sorted(tracks, key=lambda track: track.train_only is True):
        first.setdefault(track.hash, track)
    return list(first.values())


def _count_genres(manifest: Manifest, faults: Iterable[Fault]) -> dict[str, dict[str, int]]:
    left_out = {fault.track for fault in faults if fault.leave_out}
    usable = Counter(track.genre for track in manifest.tracks if track.id not in left_out)
    return {genre: {"tracks": tracks, "usable": usable[genre]} for genre, tracks in manifest.tracks_per_genre.items()}
