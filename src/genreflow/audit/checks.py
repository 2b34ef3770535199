"""The checks of the audit, each a function from tracks to faults; no audio is decoded."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator

from genreflow.audit.faults import Fault
from genreflow.audit.kinds import KINDS
from genreflow.audit.params import AuditParams
from genreflow.audit.recordings import display_name
from genreflow.features.store import FeatureStore
from genreflow.manifest.track import Track

# Tolerance of declared lengths [s]: headers of compressed files are rounded to frames and include padding, up to 0.1 s.
LENGTH_TOLERANCE = 0.25
# Share of a file that may be undecodable: a tag between joined files is, too.
MAX_DAMAGED = 0.01
# Lowest plausible sample rate of music [Hz]: half of that of telephones.
MIN_SAMPLE_RATE = 4000


def _fault(track: Track, code: str, message: str) -> Fault:
    return Fault(track.id, code, message, KINDS[code].leave_out)


def _check_readable(tracks: Iterable[Track], _: AuditParams) -> Iterator[Fault]:
    for track in tracks:
        if track.error:
            yield _fault(track, track.error["code"], track.error["message"])


def _check_silence(tracks: Iterable[Track], params: AuditParams) -> Iterator[Fault]:
    for track in tracks:
        if track.peak is None:
            continue
        level = 20 * math.log10(max(track.peak, 1e-10))
        if level < params.silence_db:
            peak = f"{level:.0f} dBFS" if track.peak else "zero"
            message = f"{track.path}: peak must be >= audit.silence_db = {params.silence_db:g} dBFS; got {peak}."
            yield _fault(track, "silent", message)


def _check_offset(tracks: Iterable[Track], params: AuditParams) -> Iterator[Fault]:
    for track in tracks:
        offset = track.constant_offset
        if offset is not None and 20 * math.log10(abs(offset)) >= params.silence_db:  # a smaller one is silence
            message = f"{track.path}: must contain sound; got a constant offset of {offset:.3g}."
            yield _fault(track, "constant_offset", message)


def _check_phase(tracks: Iterable[Track], _: AuditParams) -> Iterator[Fault]:
    for track in tracks:
        if track.cancelled_db is not None:
            message = (
                f"{track.path}: channels must not cancel each other; got a mean {track.cancelled_db:.0f} dB below "
                "that of unrelated channels, so the loudest one is used."
            )
            yield _fault(track, "opposite_phase", message)


def _check_duration(tracks: Iterable[Track], params: AuditParams) -> Iterator[Fault]:
    for track in tracks:
        if track.duration is not None and track.duration < params.min_seconds:
            yield _fault(track, "too_short", _too_short(track.path, track.duration, params))


def _too_short(name: str, seconds: float, params: AuditParams) -> str:
    return f"{name}: duration must be >= audit.min_seconds = {params.min_seconds:g} s; got {seconds:.3g} s."


def _check_damage(tracks: Iterable[Track], _: AuditParams) -> Iterator[Fault]:
    for track in tracks:
        if (track.damaged or 0) > MAX_DAMAGED:
            message = (
                f"{track.path}: must be decodable completely; got {track.damaged:.0%} that is not and is left out."
            )
            yield _fault(track, "damaged", message)


def _check_declared_length(tracks: Iterable[Track], _: AuditParams) -> Iterator[Fault]:
    for track in tracks:
        if track.duration is None:
            continue
        declared = track.declared_duration or 0  # most compressed formats declare none, or an estimate
        if declared - track.duration > LENGTH_TOLERANCE:
            message = f"{track.path}: declares {declared:.2f} s but decodes to {track.duration:.2f} s, which are used."
            yield _fault(track, "truncated", message)
        surplus = track.undeclared_duration or 0
        if surplus > LENGTH_TOLERANCE:
            message = (
                f"{track.path}: holds {track.duration + surplus:.2f} s but declares {track.duration:.2f} s, which are "
                "used."
            )
            yield _fault(track, "declared_length", message)


def _check_sample_rate(tracks: Iterable[Track], _: AuditParams) -> Iterator[Fault]:
    for track in tracks:
        if track.declared_sample_rate:
            message = (
                f"{track.path}: declares {track.sample_rate} Hz, which is used, but its byte rate implies "
                f"{track.declared_sample_rate} Hz."
            )
            yield _fault(track, "declared_rate", message)
        elif track.sample_rate is not None and track.sample_rate < MIN_SAMPLE_RATE:
            message = (
                f"{track.path}: sample rate must be >= {MIN_SAMPLE_RATE} Hz for music; got {track.sample_rate} Hz."
            )
            yield _fault(track, "declared_rate", message)


def _check_clipping(tracks: Iterable[Track], params: AuditParams) -> Iterator[Fault]:
    for track in tracks:
        if track.clipped is not None and track.clipped > params.clipped_share:
            message = (
                f"{track.path}: share of clipped samples must be <= audit.clipped_share = {params.clipped_share:g}; "
                f"got {track.clipped:.2g}."
            )
            yield _fault(track, "clipped", message)


def _check_artist_genres(tracks: Iterable[Track], _: AuditParams) -> Iterator[Fault]:
    by_artist = defaultdict(list)
    for track in tracks:
        if track.group_source != "track":
            by_artist[track.group].append(track)
    for artist, own in by_artist.items():
        genres = Counter(track.genre for track in own)
        if len(genres) > 1:
            counts = ", ".join(f"{genre} ({count})" for genre, count in sorted(genres.items()))
            message = f"Artist {artist} has tracks in {len(genres)} genres: {counts}."
            yield _fault(own[0], "artist_in_genres", message)


CHECKS: tuple[Callable[[Iterable[Track], AuditParams], Iterator[Fault]], ...] = (
    _check_readable,
    _check_silence,
    _check_offset,
    _check_duration,
    _check_phase,
    _check_damage,
    _check_declared_length,
    _check_sample_rate,
    _check_clipping,
    _check_artist_genres,
)


def check_features(tracks: Iterable[Track], store: FeatureStore) -> Iterator[Fault]:
    """Yield a fault for each readable track without features."""
    for track in tracks:
        if track.error is None and not (track.hash and track.hash in store):
            message = f"{display_name(track)}: decodes, but no features could be computed; see `dvc repro featurize`."
            yield _fault(track, "no_features", message)


def check_frames(tracks: Iterable[Track], store: FeatureStore, params: AuditParams) -> Iterator[Fault]:
    """Yield a fault for each imported spectrogram that is too short; the feature spec defines the frame rate."""
    for track in tracks:
        if track.entries is None or track.error or not (track.hash and track.hash in store):
            continue
        seconds = store.spec.seconds(sum(store.lengths(track.hash)))
        if seconds < params.min_seconds:
            yield _fault(track, "too_short", _too_short(track.id, seconds, params))
