"""A folder of music with one sub-folder per genre."""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from joblib import Parallel, delayed
from tinytag import TinyTag
from tqdm import tqdm

from genreflow.audio.formats import AUDIO_SUFFIXES
from genreflow.audio.properties import inspect
from genreflow.datasets.importing import import_file, require_folder
from genreflow.datasets.labels import artist_key, with_artist
from genreflow.datasets.layout import find_files, is_inside, tracks_from_paths
from genreflow.datasets.options import IngestOptions
from genreflow.datasets.selection import select_tracks
from genreflow.errors import AudioError, GenreflowError, ParameterError
from genreflow.files import is_resource_error, require_regular
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Track

LAYOUT = "one sub-folder per genre, as in <data.path>/<genre>/<track>.wav or <data.path>/<genre>/<artist>/<track>.wav"


def folder(path: Path, destination: Path, options: IngestOptions) -> Manifest:
    """Ingest a folder of music.

    Parameters
    ----------
    path : Path
        ``<genre>/.../<track>``, at any depth; see `LAYOUT`.
    destination : Path
        Empty folder for the raw data.
    options : IngestOptions

    Raises
    ------
    ParameterError
        The folder, its genres or tracks.csv are invalid, or no file can be decoded.
    """
    path = require_folder(path, layout=LAYOUT)
    tracks, notes = list_tracks(path, options)
    tracks = select_tracks(tracks, options, where=str(path))
    return Manifest.from_tracks("folder", import_tracks(tracks, path, destination, options), notes=notes)


def list_tracks(path: Path, options: IngestOptions) -> tuple[list[Track], list[str]]:
    """Return all tracks below `path`, not yet decoded, and messages for users."""
    found = find_files(path, AUDIO_SUFFIXES)
    if not (found.names or found.refused):
        raise ParameterError(f"data.path: must hold {LAYOUT}; got {path}, which has no audio files.")
    table, table_notes = options.table_or(path / "tracks.csv")
    tracks, track_notes = tracks_from_paths(found, table, root=path)
    if not tracks:
        raise ParameterError(f"data.path: must hold {LAYOUT}; got {path}, whose audio files are in no genre's folder.")
    return tracks, [*found.notes, *table_notes, *track_notes]


def import_tracks(tracks: Iterable[Track], path: Path, destination: Path, options: IngestOptions) -> list[Track]:
    """Copy the files of tracks from `path` to `destination` and measure them.

    A file that has not changed since a former ingest is not decoded again, and if it was the previous one not copied
    either. What does not decode,
    and links that leave `path`, are not kept.

    Returns
    -------
    list of Track
        The tracks with their measured fields, or with `error`.

    Raises
    ------
    ParameterError
        No file can be decoded.
    GenreflowError
        The disk is full.
    """
    jobs = [delayed(_import_track)(track, path, destination, options) for track in tracks]
    return _run(jobs, path, options)


def measure_tracks(tracks: Iterable[Track], path: Path, options: IngestOptions) -> list[Track]:
    """Measure tracks whose files stay below `path`; see `import_tracks`."""
    return _run([delayed(_measure)(track, path) for track in tracks], path, options)


def _run(jobs: list, path: Path, options: IngestOptions) -> list[Track]:
    # Threads: decoders, hashing and copying release the GIL, and processes would take longer to start.
    results = Parallel(n_jobs=options.n_jobs, prefer="threads", return_as="generator")(jobs)
    tracks: list[Track] = list(
        tqdm(results, total=len(jobs), desc="inspect", unit="track", disable=not options.progress)
    )
    errors = [track.error for track in tracks if track.error]
    if len(errors) == len(tracks):
        raise ParameterError(
            f"{path}: at least one file must be decodable; got none of {len(tracks)}. The first error is: "
            f"{errors[0]['message'] if errors else 'no files'}"
        )
    return tracks


def _import_track(track: Track, path: Path, destination: Path, options: IngestOptions) -> Track:
    original, copy = path / track.path, destination / track.path
    if refused := _refuse(track, path):
        return refused
    try:
        previous, facts = options.cache.lookup(track.path, original) or (None, None)
        reused = import_file(original, copy, previous=previous)
        if facts is not None and (reused or options.cache.is_unchanged(track.path)):
            return _with_tag_artist(replace(track, **facts), copy)
    except OSError as error:
        return _unreadable(track, error)
    measured = _measure(track, destination)
    if measured.error:
        copy.unlink()
    return measured


def _refuse(track: Track, folder: Path) -> Track | None:
    """Return a track with the reason why its file in `folder` must not be read; None if there is none."""
    if track.error:
        return track
    if not is_inside(folder / track.path, folder):
        message = f"{track.path}: must not be a link that leaves the folder; copy what it leads to."
        return replace(track, error={"code": "undecodable", "message": message})
    try:
        require_regular(folder / track.path)
    except OSError as error:
        return _unreadable(track, error)
    return None


def _unreadable(track: Track, error: OSError) -> Track:
    if is_resource_error(error):  # not the fault of this file
        raise GenreflowError(f"{track.path}: must be imported completely; got {error.strerror}.") from error
    message = f"{track.path}: must be readable; got {error.strerror or error}."
    return replace(track, error={"code": "undecodable", "message": message})


def _measure(track: Track, folder: Path) -> Track:
    if refused := _refuse(track, folder):
        return refused
    file = folder / track.path
    track = _with_tag_artist(track, file)
    try:
        facts = inspect(file)
    except AudioError as error:
        # Relative, so that the manifest does not depend on the location of the source.
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
        cancelled_db=None if facts.cancelled_db is None else round(facts.cancelled_db, 1),
        damaged=round(facts.damaged, 6) or None,
        constant_offset=None if facts.constant_offset is None else round(facts.constant_offset, 6),
    )


def _with_tag_artist(track: Track, file: Path) -> Track:
    """Group a track by the artist in its tags if neither tracks.csv nor its path gives one."""
    if track.group_source != "track":
        return track
    try:
        tags = TinyTag.get(os.fspath(file), duration=False)
    except Exception:  # whatever a damaged file makes the parser raise: the audio decides whether the file is usable
        return track
    return with_artist(track, tags.artist if artist_key(tags.artist) else tags.albumartist, "tag")
