"""A folder of music, one sub-folder a genre."""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from joblib import Parallel, delayed
from tinytag import TinyTag, TinyTagException
from tqdm import tqdm

from genreflow.audio.decode import inspect
from genreflow.audio.readers import AUDIO_SUFFIXES
from genreflow.datasets.choice import choose
from genreflow.datasets.importing import bring, existing_folder
from genreflow.datasets.labels import with_artist
from genreflow.datasets.layout import place_tracks, walk
from genreflow.datasets.request import Request
from genreflow.errors import AudioError, ParameterError
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Track

LAYOUT = "one sub-folder a genre, as in <data.path>/<genre>/<track>.wav or <data.path>/<genre>/<artist>/<track>.wav"


def folder(path: Path, destination: Path, request: Request) -> Manifest:
    """Bring a folder of music.

    Parameters
    ----------
    path : Path
        ``<genre>/.../<track>``, at any depth; `LAYOUT`.
    destination : Path
        Empty folder of raw data.
    request : Request

    Raises
    ------
    ParameterError
        The folder, its genres or tracks.csv are not as they should be, or none of its files is music.
    """
    path = existing_folder(path, layout=LAYOUT)
    tracks, notes = find(path, request)
    measured = measure(tracks, path, destination, request)
    return Manifest.from_tracks("folder", measured, notes=notes)


def find(path: Path, request: Request) -> tuple[list[Track], list[str]]:
    """Return the tracks of the genres asked for below `path`, not yet decoded, and notes."""
    tracks, notes = placed(path, request)
    return choose(tracks, request, where=str(path)), notes


def placed(path: Path, request: Request) -> tuple[list[Track], list[str]]:
    """Return all tracks below `path`, not yet decoded, and notes."""
    names, notes = walk(path, AUDIO_SUFFIXES)
    if not names:
        raise ParameterError(f"{path} holds no audio files; expected is {LAYOUT}.")
    table, table_notes = request.table_near(path / "tracks.csv")
    tracks, place_notes = place_tracks(names, table, root=path)
    if not tracks:
        raise ParameterError(f"The {len(names)} audio files of {path} lie in no genre's folder; expected is {LAYOUT}.")
    return tracks, [*notes, *table_notes, *place_notes]


def measure(tracks: Iterable[Track], path: Path, destination: Path | None, request: Request) -> list[Track]:
    """Bring each track's file to `destination`, unless that is None, and decode it; return the tracks with their facts.

    A file that an earlier run brought and that has not changed since is neither copied nor decoded again.

    Raises
    ------
    ParameterError
        None can be decoded.
    """
    tracks = list(tracks)
    # Threads do: libsndfile, hashing and copying leave Python's lock, and a process would cost more to start.
    jobs = Parallel(n_jobs=request.n_jobs, prefer="threads", return_as="generator")(
        delayed(_measure_one)(track, path, destination, request) for track in tracks
    )
    measured = list(tqdm(jobs, total=len(tracks), desc="inspect", unit="track", disable=not request.progress))
    if all(track.error for track in measured):
        raise ParameterError(
            f"None of the {len(measured)} files of {path} can be decoded: {measured[0].error['message']}"
        )
    return measured


def _measure_one(track: Track, path: Path, destination: Path | None, request: Request) -> Track:
    original, file = path / track.path, path / track.path
    try:
        if destination is not None:
            file = destination / track.path
            known = request.facts_of(track.path, original)
            earlier = request.earlier / track.path if known else None
            if bring(original, file, earlier=earlier):
                return _tagged(replace(track, **known), file)
    except OSError as error:
        message = f"{track.path} cannot be read: {error.strerror or error}."
        return replace(track, error={"code": "undecodable", "message": message})
    track = _tagged(track, file)
    try:
        facts = inspect(file)
    except AudioError as error:
        # The manifest is the same wherever the source lies.
        message = str(error).replace(str(file), track.path)
        return replace(track, error={"code": error.code, "message": message})
    return replace(
        track,
        duration=round(facts.duration, 6),
        declared_duration=round(facts.declared, 6),
        undeclared_duration=round(facts.undeclared, 6) or None,
        hash=facts.hash,
        sample_rate=facts.sample_rate,
        declared_sample_rate=facts.declared_sample_rate,
        channels=facts.channels,
        peak=round(facts.peak, 6),
        rms=round(facts.rms, 6),
        clipped=round(facts.clipped, 6),
    )


def _tagged(track: Track, file: Path) -> Track:
    """Group a track whose artist neither tracks.csv nor its place names by the artist in its tags."""
    if track.group_source != "track":
        return track
    try:
        tags = TinyTag.get(os.fspath(file), duration=False)
    except (TinyTagException, OSError, ValueError):
        return track
    return with_artist(track, tags.artist or tags.albumartist, "tag")
