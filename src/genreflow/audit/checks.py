"""The audit: every check, and what they come to."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from genreflow.audit.duplicates import near_duplicates as find_near_duplicates
from genreflow.audit.faults import Audit, Fault
from genreflow.audit.kinds import KINDS
from genreflow.audit.published import published
from genreflow.audit.recordings import name_of, recording_faults, recordings
from genreflow.features.store import FeatureStore
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Track

# Headers of compressed files are rounded to frames, and pad their ends: up to some 0.1 s.
LENGTH_TOLERANCE = 0.25
# Half of what telephones use: music kept at less is a header gone wrong. [Hz]
LEAST_SAMPLE_RATE = 4000

# What damaged sound may look like.
_DAMAGE = frozenset({"undecodable", "unusable", "silent", "truncated", "declared_length", "declared_rate", "clipped"})


@dataclass(frozen=True)
class Limits:
    """What is still music, as in `audit`."""

    min_seconds: float
    silence_db: float
    clipped_share: float


def audit(
    manifest: Manifest,
    store: FeatureStore | None = None,
    *,
    min_seconds: float = 1.0,
    silence_db: float = -60.0,
    clipped_share: float = 0.001,
    near_duplicates: bool = True,
    fingerprints: Path | None = None,
    progress: bool = False,
) -> Audit:
    """Check every track of a manifest, from the facts that stand there and the features; no audio is decoded.

    What becomes of a track that has a fault stands in `genreflow.audit.kinds`:

    ====================  ==========  =============================================================
    code                  the track   found in
    ====================  ==========  =============================================================
    `undecodable`         left out    decoding
    `unusable`            left out    decoding
    `too_long`            left out    decoding
    `no_features`         left out    the feature store
    `silent`              left out    the peak
    `too_short`           left out    the length; of imported spectrograms, their frames
    `conflicting_labels`  left out    duplicates, exact and near
    `duplicate`           left out    the hash of samples or cells; one of equals is kept
    `near_duplicate`      noticed     fingerprints of the features
    `truncated`           noticed     the declared and the decoded length
    `declared_length`     noticed     the declared length and the size of the file
    `declared_rate`       noticed     the header
    `clipped`             noticed     decoding
    `artist_in_genres`    noticed     the groups
    ====================  ==========  =============================================================

    Parameters
    ----------
    manifest : Manifest
    store : FeatureStore or None
        Base log-mel of the tracks. Without it neither near-duplicates nor tracks without features are found.
    min_seconds : float >= 0 [s]
        Shorter tracks are left out.
    silence_db : float < 0 [dB of full scale]
        Tracks whose peak is lower are left out; at -60, five bits are left of sixteen.
    clipped_share : float in [0, 1]
        Tracks of which a larger share of samples is flat at full scale are noticed.
    near_duplicates : bool
        Whether to look for them.
    fingerprints : Path or None
        File that keeps what they are found by, so that only new tracks are fingerprinted.
    progress : bool
        Show a bar on stderr.
    """
    limits = Limits(min_seconds, silence_db, clipped_share)
    faults = [fault for check in CHECKS for fault in check(manifest.tracks, limits)]
    if store is not None:
        faults += _featureless(manifest.tracks, store)
        faults += _few_frames(manifest.tracks, store, limits)
    # Silence resembles silence, and a click a click: only what is music is compared.
    out = {fault.track for fault in faults if fault.leave_out}
    music = [track for track in manifest.tracks if track.id not in out and track.hash]
    compared = near_duplicates and store is not None
    pairs = []
    if compared:
        pairs = find_near_duplicates(_first_of_each(music), store, cache=fingerprints, progress=progress)
    clusters = recordings(music, pairs)
    faults += recording_faults(music, clusters, pairs)
    order = list(KINDS)
    faults.sort(key=lambda fault: (fault.track, order.index(fault.code), fault.message))
    out = {fault.track for fault in faults if fault.leave_out}
    usable = Counter(track.genre for track in manifest.tracks if track.id not in out)
    return Audit(
        faults=tuple(faults),
        counts=dict(sorted(Counter(fault.code for fault in faults).items())),
        genres={
            genre: {"tracks": tracks, "usable": usable[genre]} for genre, tracks in manifest.tracks_per_genre.items()
        },
        clusters=clusters,
        pairs=tuple(pairs),
        published=published(manifest.tracks, clusters, {fault.track for fault in faults if fault.code in _DAMAGE}),
        compared=compared,
    )


def _first_of_each(tracks: list[Track]) -> list[Track]:
    """Return one track of each hash: exact copies need no comparison."""
    first: dict[str, Track] = {}
    for track in tracks:
        first.setdefault(track.hash, track)
    return list(first.values())


def _fault(track: Track, code: str, message: str) -> Fault:
    return Fault(track.id, code, message, KINDS[code].leave_out)


def _unreadable(tracks: tuple[Track, ...], _: Limits) -> Iterator[Fault]:
    for track in tracks:
        if track.error:
            yield _fault(track, track.error["code"], track.error["message"])


def _silent(tracks: tuple[Track, ...], limits: Limits) -> Iterator[Fault]:
    for track in tracks:
        level = 20 * math.log10(max(track.peak, 1e-10)) if track.peak is not None else math.inf
        if level < limits.silence_db:
            peak = f"its peak is {level:.0f} dB" if track.peak else "all its samples are zero"
            message = f"{track.path} is silent: {peak}, and audit.silence_db is {limits.silence_db:g}."
            yield _fault(track, "silent", message)


def _too_short(tracks: tuple[Track, ...], limits: Limits) -> Iterator[Fault]:
    for track in tracks:
        if track.duration is not None and track.duration < limits.min_seconds:
            message = (
                f"{track.path} lasts {track.duration:.3g} s, less than audit.min_seconds = {limits.min_seconds:g}."
            )
            yield _fault(track, "too_short", message)


def _wrong_length(tracks: tuple[Track, ...], _: Limits) -> Iterator[Fault]:
    for track in tracks:
        if track.duration is None:
            continue
        missing = (track.declared_duration or 0) - track.duration  # ffmpeg's formats declare no length
        if missing > LENGTH_TOLERANCE:
            message = (
                f"{track.path} declares {track.declared_duration:.2f} s but decodes to {track.duration:.2f} s; "
                "what decodes is used."
            )
            yield _fault(track, "truncated", message)
        surplus = track.undeclared_duration or 0
        if surplus > LENGTH_TOLERANCE:
            message = (
                f"{track.path} declares {track.duration:.2f} s but holds {track.duration + surplus:.2f} s; "
                "what is declared is used."
            )
            yield _fault(track, "declared_length", message)


def _wrong_rate(tracks: tuple[Track, ...], _: Limits) -> Iterator[Fault]:
    for track in tracks:
        if track.declared_sample_rate:
            message = (
                f"{track.path} declares {track.sample_rate} Hz, but its bytes a second are those of "
                f"{track.declared_sample_rate} Hz; {track.sample_rate} Hz is used."
            )
            yield _fault(track, "declared_rate", message)
        elif track.sample_rate is not None and track.sample_rate < LEAST_SAMPLE_RATE:
            message = (
                f"{track.path} declares {track.sample_rate} Hz, at which no music is kept; "
                f"{LEAST_SAMPLE_RATE} Hz or more is right."
            )
            yield _fault(track, "declared_rate", message)


def _clipped(tracks: tuple[Track, ...], limits: Limits) -> Iterator[Fault]:
    for track in tracks:
        if track.clipped is not None and track.clipped > limits.clipped_share:
            message = (
                f"{track.path} is clipped: {100 * track.clipped:.2g} % of its samples are flat at full scale, and "
                f"audit.clipped_share is {limits.clipped_share:g}."
            )
            yield _fault(track, "clipped", message)


def _artist_in_genres(tracks: tuple[Track, ...], _: Limits) -> Iterator[Fault]:
    works = defaultdict(list)
    for track in tracks:
        if track.group_source != "track":
            works[track.group].append(track)
    for artist, of_artist in works.items():
        genres = Counter(track.genre for track in of_artist)
        if len(genres) > 1:
            shares = ", ".join(f"{genre} ({count})" for genre, count in sorted(genres.items()))
            message = f"The artist {artist} stands under {len(genres)} genres: {shares}; check that these are meant."
            yield _fault(of_artist[0], "artist_in_genres", message)


CHECKS: tuple[Callable[[tuple[Track, ...], Limits], Iterator[Fault]], ...] = (
    _unreadable,
    _silent,
    _too_short,
    _wrong_length,
    _wrong_rate,
    _clipped,
    _artist_in_genres,
)


def _featureless(tracks: tuple[Track, ...], store: FeatureStore) -> Iterator[Fault]:
    for track in tracks:
        if track.error is None and track.hash not in store:
            message = f"{name_of(track)} decodes, but no features could be computed; `dvc repro featurize` says why."
            yield _fault(track, "no_features", message)


def _few_frames(tracks: tuple[Track, ...], store: FeatureStore, limits: Limits) -> Iterator[Fault]:
    """Find imported spectrograms that are too short; how long a frame lasts, the feature spec says."""
    for track in tracks:
        if track.entries is None or track.error or track.hash not in store:
            continue
        frames = sum(store.lengths(track.hash))
        if store.spec.seconds(frames) < limits.min_seconds:
            message = (
                f"{track.id} has {frames} frames, which are {store.spec.seconds(frames):.3g} s, "
                f"less than audit.min_seconds = {limits.min_seconds:g}."
            )
            yield _fault(track, "too_short", message)
