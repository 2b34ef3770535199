"""Precomputed log-mel spectrograms: ``.npz`` files, or greyscale PNGs."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from genreflow.datasets.importing import existing_folder
from genreflow.datasets.layout import walk
from genreflow.datasets.npz import TOP_DB, open_npz
from genreflow.datasets.png import open_png
from genreflow.datasets.request import Request
from genreflow.datasets.spectrogram_shards import Content, Opened, Shard
from genreflow.errors import ParameterError
from genreflow.features.spec import FeatureSpec
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Track

LAYOUT = (
    "an .npz file with the arrays spectrogram (entries, n_mels, frames), track and genre, a folder of such files, or a "
    "folder of greyscale pictures <genre>/<track>.png"
)


def spectrograms(path: Path, destination: Path, request: Request) -> Manifest:
    """Bring precomputed log-mel spectrograms, as bytes that can be memory-mapped.

    Entries of an ``.npz`` that share a name are pieces (segments) of one track.

    Parameters
    ----------
    path : Path
        As `LAYOUT` says. In an ``.npz``, low band first, levels as uint8, as whole numbers 0 to 255, as 0 to 1, or as
        decibels of which 0 is the loudest (80 dB are kept). In a picture, the low band at the bottom, white loudest.
    destination : Path
        Empty folder of raw data. It gets an ``.npy`` [shape=(rows, n_mels), dtype=uint8] for each ``.npz`` or, of
        pictures, each genre; `spectrogram_pieces` reads them.
    request : Request

    Raises
    ------
    ParameterError
        The files, their genres or tracks.csv are not as they should be, or no spectrogram can be used.
    """
    shards, notes = _open(path, request)
    tracks, widths, first = [], set(), None
    with tqdm(desc="import", unit="track", disable=not request.progress) as bar:
        for shard in shards:
            first = first or shard
            _check_alike(first, shard)
            tracks += _write(destination / f"{shard.name}.npy", shard.contents, shard.n_mels)
            widths.update(len(piece) for content in shard.contents for piece in content.pieces)
            bar.update(len(shard.contents))
    if all(track.error for track in tracks):
        message = tracks[0].error["message"]
        raise ParameterError(f"None of the {len(tracks)} spectrograms of {path} can be used: {message}")
    hints = {"n_mels": first.n_mels, "level_reference": first.level_reference}
    if len(widths) == 1 and max(widths) < FeatureSpec().frames_computed:
        hints["frames_kept"] = max(widths)
    if first.level_reference == "max":
        notes.append(f"Levels were taken as decibels, of which {TOP_DB:g} below each track's loudest cell are kept.")
    return Manifest.from_tracks("spectrograms", tracks, spec_hints=hints, notes=notes)


def spectrogram_pieces(track: Track, raw_dir: Path) -> list[np.ndarray]:
    """Return the pieces of an imported track: one of the whole, or its segments.

    Parameters
    ----------
    track : Track
        Of source ``spectrograms``, without error.
    raw_dir : Path
        Folder of raw data.

    Returns
    -------
    pieces : list of np.ndarray [shape=(frames, n_mels), dtype=uint8]
        Low band first, 255 loudest. Only these rows are read.
    """
    rows = np.load(Path(raw_dir) / track.path, mmap_mode="r")
    return [np.array(rows[start:stop]) for start, stop in track.entries]


def _open(path: Path, request: Request) -> Opened:
    if path.is_file():
        if path.suffix.lower() != ".npz":
            raise ParameterError(f"data.path names {path}, which is not an .npz file; expected is {LAYOUT}.")
        return open_npz([path], path.parent, request)
    existing_folder(path, layout=LAYOUT)
    files = sorted(file for file in path.glob("*.npz") if not file.name.startswith("."))
    names, ignored = walk(path, {".png"})
    if files and names:
        raise ParameterError(f"{path} holds .npz files and .png files; expected is one kind: {LAYOUT}.")
    if files:
        return open_npz(files, path, request)
    if not names:
        raise ParameterError(f"{path} holds no spectrograms; expected is {LAYOUT}.")
    shards, notes = open_png(names, path, request)
    return shards, [*ignored, *notes]


def _check_alike(first: Shard, shard: Shard) -> None:
    made, before = ((of.n_mels, of.level_reference) for of in (shard, first))
    if made != before:
        raise ParameterError(
            f"{shard.name} has {made[0]} bands with levels of kind {made[1]}, but {first.name} has {before[0]} of kind "
            f"{before[1]}; all files must be made alike."
        )


def _write(file: Path, contents: list[Content], n_mels: int) -> list[Track]:
    """Write the pieces of one shard below each other; return its tracks with their place in it."""
    total = sum(len(piece) for content in contents for piece in content.pieces)
    if total:
        rows = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=(total, n_mels))
    tracks, stop = [], 0
    for content in contents:
        digest, entries = hashlib.sha256(), []
        for piece in content.pieces:
            start, stop = stop, stop + len(piece)
            rows[start:stop] = piece
            entries.append((start, stop))
            digest.update(repr(piece.shape).encode())
            digest.update(rows[start:stop])
        track = replace(content.track, path=file.name)
        if content.wrong:
            message = f"{track.id} {content.wrong}."
            track = replace(track, error={"code": "unusable", "message": message})
        if entries:
            track = replace(track, entries=tuple(entries), hash=digest.hexdigest())
        tracks.append(track)
    return tracks
