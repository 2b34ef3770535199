"""The audit: which tracks are faulty, and which of them are left out."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from genreflow.datasets import folder as folders
from genreflow.datasets.importing import existing_folder
from genreflow.datasets.manifest import Manifest
from genreflow.datasets.request import Request
from genreflow.datasets.track import Track
from genreflow.errors import ParameterError
from genreflow.files import write_json

# Headers of compressed files are rounded to frames, and pad their ends: up to some 0.1 s.
LENGTH_TOLERANCE = 0.25


@dataclass(frozen=True)
class Fault:
    """One thing wrong with one track.

    Parameters
    ----------
    track : str
        Its id.
    code : str
        Kind of fault: ``undecodable``, ``unusable``, ``too_long`` (as `AudioError`), ``silent``, ``too_short``,
        ``truncated``, ``declared_length``, ``duplicate``, ``conflicting_labels``, ``artist_in_genres``.
    message : str
        One sentence.
    leave_out : bool
        Whether the track takes part in nothing further.
    """

    track: str
    code: str
    message: str
    leave_out: bool


@dataclass(frozen=True)
class Audit:
    """The faults of a manifest's tracks.

    Parameters
    ----------
    faults : tuple of Fault
        Sorted by track.
    counts : dict of str to int
        Faults by code; empty when there are none.
    genres : dict
        By genre, ``{"tracks", "usable"}``.
    """

    faults: tuple[Fault, ...]
    counts: dict[str, int]
    genres: dict[str, dict[str, int]]

    @property
    def left_out(self) -> frozenset[str]:
        """Ids of the tracks that take part in nothing further."""
        return frozenset(fault.track for fault in self.faults if fault.leave_out)

    def to_dict(self) -> dict:
        tracks, usable = (sum(genre[key] for genre in self.genres.values()) for key in ("tracks", "usable"))
        return {
            "tracks": tracks,
            "usable": usable,
            "left_out": tracks - usable,
            "genres": self.genres,
            "counts": self.counts,
            "faults": [asdict(fault) for fault in self.faults],
        }

    def save(self, path: Path) -> None:
        write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: Path) -> "Audit":
        """Read what `save` wrote.

        Raises
        ------
        ParameterError
            If there is no such file, or it is no audit.
        """
        try:
            fields = json.loads(Path(path).read_text("utf-8"))
            return cls(tuple(Fault(**fault) for fault in fields["faults"]), fields["counts"], fields["genres"])
        except FileNotFoundError:
            raise ParameterError(f"There is no audit {path}; run `dvc repro audit`.") from None
        except (ValueError, KeyError, TypeError) as error:
            raise ParameterError(f"{path} is not an audit ({error!r}); run `dvc repro audit`.") from None


def audit(manifest: Manifest, *, min_seconds: float = 1.0, silence_db: float = -60.0) -> Audit:
    """Check every track of a manifest, from the facts that stand there.

    Parameters
    ----------
    manifest : Manifest
    min_seconds : float >= 0 [s]
        Shorter tracks are left out. Spectrograms, whose length in seconds is unknown, are not.
    silence_db : float < 0 [dB of full scale]
        Tracks whose peak is lower are left out; at -60, five bits are left of sixteen.
    """
    limits = Limits(min_seconds, silence_db)
    faults = [fault for check in CHECKS for fault in check(manifest.tracks, limits)]
    faults = tuple(sorted(faults, key=lambda fault: (fault.track, fault.code)))
    out = {fault.track for fault in faults if fault.leave_out}
    usable = Counter(track.genre for track in manifest.tracks if track.id not in out)
    return Audit(
        faults,
        counts=dict(sorted(Counter(fault.code for fault in faults).items())),
        genres={
            genre: {"tracks": tracks, "usable": usable[genre]} for genre, tracks in manifest.tracks_per_genre.items()
        },
    )


def audit_directory(
    path: Path,
    *,
    min_seconds: float = 1.0,
    silence_db: float = -60.0,
    tracks_csv: Path | None = None,
    n_jobs: int = -1,
    progress: bool = True,
) -> Audit:
    """Audit a folder of music where it lies; nothing is written.

    Unlike `ingest` it takes a single genre too, since more may be on the way.

    Raises
    ------
    ParameterError
        There is no such folder, no audio in it, or none that can be decoded.
    """
    path = existing_folder(Path(path), layout=folders.LAYOUT)
    request = Request.with_table(tracks_csv, n_jobs=n_jobs, progress=progress)
    tracks, _ = folders.placed(path, request)
    manifest = Manifest.of("folder", folders.measure(tracks, path, None, request))
    return audit(manifest, min_seconds=min_seconds, silence_db=silence_db)


@dataclass(frozen=True)
class Limits:
    """What is still music, as in `audit`."""

    min_seconds: float
    silence_db: float


def _unreadable(tracks: tuple[Track, ...], _: Limits) -> Iterator[Fault]:
    for track in tracks:
        if track.error:
            yield Fault(track.id, track.error["code"], track.error["message"], True)


def _silent(tracks: tuple[Track, ...], limits: Limits) -> Iterator[Fault]:
    for track in tracks:
        level = 20 * math.log10(max(track.peak, 1e-10)) if track.peak is not None else math.inf
        if level < limits.silence_db:
            message = f"{track.path} is silent: its peak is {level:.0f} dB, and audit.silence_db {limits.silence_db:g}."
            yield Fault(track.id, "silent", message, True)


def _too_short(tracks: tuple[Track, ...], limits: Limits) -> Iterator[Fault]:
    for track in tracks:
        if track.duration is not None and track.duration < limits.min_seconds:
            message = (
                f"{track.path} lasts {track.duration:.3g} s, less than audit.min_seconds = {limits.min_seconds:g}."
            )
            yield Fault(track.id, "too_short", message, True)


def _wrong_length(tracks: tuple[Track, ...], _: Limits) -> Iterator[Fault]:
    for track in tracks:
        if not track.declared_duration or track.duration is None:  # ffmpeg's formats declare none
            continue
        missing = track.declared_duration - track.duration
        if abs(missing) > LENGTH_TOLERANCE:
            code = "truncated" if missing > 0 else "declared_length"
            message = (
                f"{track.path} declares {track.declared_duration:.2f} s but decodes to {track.duration:.2f} s; "
                "what decodes is used."
            )
            yield Fault(track.id, code, message, False)


def _duplicates(tracks: tuple[Track, ...], _: Limits) -> Iterator[Fault]:
    same = defaultdict(list)
    for track in tracks:
        if track.hash and not track.error:
            same[track.hash].append(track)
    for twins in same.values():
        genres = sorted({track.genre for track in twins})
        if len(genres) > 1:
            ids = ", ".join(f"{track.id} ({track.genre})" for track in twins)
            for track in twins:
                message = f"The same recording has different genres: {ids}; which one is right cannot be told."
                yield Fault(track.id, "conflicting_labels", message, True)
        else:
            for track in twins[1:]:
                message = f"{track.path} is the same recording as {twins[0].path}, which is kept."
                yield Fault(track.id, "duplicate", message, True)


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
            yield Fault(of_artist[0].id, "artist_in_genres", message, False)


CHECKS: tuple[Callable[[tuple[Track, ...], Limits], Iterator[Fault]], ...] = (
    _unreadable,
    _silent,
    _too_short,
    _wrong_length,
    _duplicates,
    _artist_in_genres,
)
