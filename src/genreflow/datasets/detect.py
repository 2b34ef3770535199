"""Which source a folder or file belongs to, and whether that source can read it, before anything is copied."""

import os
from collections import Counter
from pathlib import Path

from genreflow.audio.formats import AUDIO_SUFFIXES
from genreflow.datasets import folder as folders
from genreflow.datasets import spectrograms
from genreflow.datasets.fma.source import is_fma
from genreflow.datasets.fma.source import locate as locate_fma
from genreflow.datasets.gtzan.source import check_download_folder, find_copy
from genreflow.datasets.importing import require_folder
from genreflow.datasets.layout import find_files
from genreflow.datasets.options import IngestOptions
from genreflow.datasets.selection import select_tracks
from genreflow.errors import ParameterError

# Sources of which a folder can be a copy; a combination is described in params.yaml, and the demo music is synthesised.
DETECTED = ("folder", "spectrograms", "gtzan", "fma")
DOWNLOADED = ("gtzan", "fma")  # into an empty or missing folder
_EXPECTED = "a folder of music, a folder of spectrograms, or an .npz of them"


def detect_source(path: Path) -> str:
    """Return the source that reads a folder or file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str
        One of `DETECTED`. A folder is a copy of GTZAN only if all its audio files are GTZAN's.

    Raises
    ------
    ParameterError
        `path` is neither a folder nor an ``.npz``.
    """
    if not path.is_dir():
        if path.is_file() and path.suffix.lower() == ".npz":
            return "spectrograms"
        found = "a file" if path.exists() else "nothing there"
        raise ParameterError(f"{path}: must be {_EXPECTED}; got {found}.")
    try:
        os.listdir(path)
    except OSError as error:
        raise ParameterError(f"{path}: must be readable; got {error.strerror}.") from None
    if is_fma(path):
        return "fma"
    audio = len(find_files(path, AUDIO_SUFFIXES).names)
    if (copy := find_copy(path)) and len(copy) == audio:
        return "gtzan"
    if not audio and (any(path.glob("*.npz")) or find_files(path, {".png"}).names):
        return "spectrograms"
    return "folder"


def check_source(source: str, path: Path, options: IngestOptions) -> dict[str, int]:
    """Check that a source can read a path, without decoding anything.

    Parameters
    ----------
    source : str
        One of `DETECTED`.
    path : Path
    options : IngestOptions

    Returns
    -------
    dict of str to int > 0
        Number of tracks by genre; empty where finding out would mean to read the data.

    Raises
    ------
    ParameterError
        As the source itself: no tracks, no genres, or only one, among others.
    """
    if source in DOWNLOADED and not (path.exists() and os.listdir(require_folder(path, layout="a published dataset"))):
        return {}
    if source == "folder":
        tracks, _ = folders.list_tracks(require_folder(path, layout=folders.LAYOUT), options)
        selected = select_tracks(tracks, options, where=str(path))
        return dict(sorted(Counter(track.genre for track in selected if not track.error).items()))
    if source == "gtzan":
        if (copy := find_copy(path)) is None:
            check_download_folder(path)
        return dict(sorted(Counter(track_id.partition(".")[0] for track_id in copy or ()).items()))
    if source == "fma":
        locate_fma(path, options.subset)
    else:
        spectrograms.open_spectrograms(path, options)
    return {}
