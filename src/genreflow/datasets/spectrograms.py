"""Precomputed log-mel spectrograms, in ``.npz`` files or greyscale PNG images."""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from tqdm import tqdm

from genreflow.datasets.importing import require_folder
from genreflow.datasets.layout import find_files, is_inside
from genreflow.datasets.npz import TOP_DB, open_npz
from genreflow.datasets.options import IngestOptions
from genreflow.datasets.png import open_png
from genreflow.datasets.spectrogram_shards import Shard, ShardsAndNotes, Spectrogram
from genreflow.errors import ParameterError
from genreflow.features.spec import FeatureSpec
from genreflow.file_names import utf8_name
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Track

LAYOUT = (
    "an .npz file with the arrays spectrogram (entries, n_mels, frames), track and genre, a folder of such files, or a "
    "folder of greyscale images <genre>/<track>.png"
)


def spectrograms(path: Path, destination: Path, options: IngestOptions) -> Manifest:
    """Ingest precomputed log-mel spectrograms as memory-mappable uint8 arrays.

    Entries of an ``.npz`` with the same name are pieces (segments) of one track.

    Parameters
    ----------
    path : Path
        See `LAYOUT`. In an ``.npz`` the lowest band comes first; levels are uint8, whole numbers from 0 to 255, 0 to 1,
        or decibels with a maximum of 0 (of which 80 dB are kept). In an image the lowest band is at the bottom, and
        white is the highest level.
    destination : Path
        Empty folder for the raw data: one ``.npy`` [shape=(rows, n_mels), dtype=uint8] for each ``.npz``, or for each
        genre of images; `spectrogram_pieces` reads them.
    options : IngestOptions

    Raises
    ------
    ParameterError
        The files, their genres or tracks.csv are invalid, or no spectrogram is usable.
    """
    shards, notes = open_spectrograms(path, options)
    tracks: list[Track] = []
    widths: set[int] = set()
    first: Shard | None = None
    with tqdm(desc="import", unit="track", disable=not options.progress) as bar:
        for shard in shards:
            first = first or shard
            _check_compatible(first, shard)
            tracks += _write(destination / f"{shard.name}.npy", shard.spectrograms, shard.n_mels)
            widths.update(len(piece) for spectrogram in shard.spectrograms for piece in spectrogram.pieces)
            bar.update(len(shard.spectrograms))
    errors = [track.error for track in tracks if track.error]
    if first is None or len(errors) == len(tracks):
        raise ParameterError(
            f"{path}: at least one spectrogram must be usable; got none of {len(tracks)}. The first error is: "
            f"{errors[0]['message'] if errors else 'no spectrograms'}"
        )
    hints: dict[str, Any] = {"n_mels": first.n_mels, "level_reference": first.level_reference}
    if len(widths) == 1 and max(widths) < FeatureSpec().frames_computed:
        hints["frames_kept"] = max(widths)
    if first.level_reference == "max":
        notes.append(f"Levels were read as decibels; {TOP_DB:g} dB below the maximum of each track are kept.")
    return Manifest.from_tracks("spectrograms", tracks, spec_hints=hints, notes=notes)


def spectrogram_pieces(track: Track, raw_dir: Path) -> list[np.ndarray]:
    """Return the pieces of an imported track: the whole, or its segments.

    Parameters
    ----------
    track : Track
        Of source ``spectrograms``, without error.
    raw_dir : Path
        Folder of raw data.

    Returns
    -------
    pieces : list of np.ndarray [shape=(frames, n_mels), dtype=uint8]
        Lowest band first; 255 is the highest level. Only these rows are read.
    """
    rows = np.load(Path(raw_dir) / track.path, mmap_mode="r")
    return [np.array(rows[start:stop]) for start, stop in track.entries or ()]


def open_spectrograms(path: Path, options: IngestOptions) -> ShardsAndNotes:
    """Read names and genres; the spectrograms are read when the shards are iterated over. See `spectrograms`."""
    if path.is_file():
        if path.suffix.lower() != ".npz":
            raise ParameterError(f"data.path: must be {LAYOUT}; got {path}.")
        return open_npz([path], path.parent, options)
    require_folder(path, layout=LAYOUT)
    files = sorted(file for file in path.glob("*.npz") if not file.name.startswith("."))
    for file in files:
        if not is_inside(file, path):
            raise ParameterError(f"{file}: must not be a link that leaves the folder; copy the file into it.")
        if utf8_name(file.name) != file.name:
            raise ParameterError(f"{utf8_name(str(file))}: must have a name in UTF-8; rename it.")
    found_png = find_files(path, {".png"})
    if bool(files) == bool(found_png.names):
        found = "both .npz and .png files" if files else "no spectrograms"
        raise ParameterError(f"data.path: must be {LAYOUT}; got {path}, which has {found}.")
    if files:
        return open_npz(files, path, options)
    shards, notes = open_png(found_png, path, options)
    return shards, [*found_png.notes, *notes]


def _check_compatible(first: Shard, shard: Shard) -> None:
    if (shard.n_mels, shard.level_reference) != (first.n_mels, first.level_reference):
        raise ParameterError(
            f"{shard.name}: must have the same bands and levels as {first.name}, {first.n_mels} bands and levels "
            f"{first.level_reference}; got {shard.n_mels} bands and levels {shard.level_reference}."
        )


def _write(file: Path, spectrograms: list[Spectrogram], n_mels: int) -> list[Track]:
    """Write the pieces of a shard one after the other; return its tracks with their row ranges."""
    total = sum(len(piece) for spectrogram in spectrograms for piece in spectrogram.pieces)
    if not total:
        return list(_write_rows(io.BytesIO(), file.name, spectrograms))
    # Not a memory map, in which a full disk would be a bus error.
    with file.open("wb") as rows:
        header = {"descr": "|u1", "fortran_order": False, "shape": (total, n_mels)}
        np.lib.format.write_array_header_1_0(rows, header)
        return list(_write_rows(rows, file.name, spectrograms))


def _write_rows(rows: BinaryIO, name: str, spectrograms: list[Spectrogram]) -> Iterator[Track]:
    stop = 0
    for spectrogram in spectrograms:
        digest, entries = hashlib.sha256(), []
        for piece in spectrogram.pieces:
            start, stop = stop, stop + len(piece)
            data = np.ascontiguousarray(piece).data
            rows.write(data)
            entries.append((start, stop))
            digest.update(repr(piece.shape).encode())
            digest.update(data)
        track = replace(spectrogram.track, path=name)
        if spectrogram.error:
            track = replace(track, error={"code": "unusable", "message": f"{track.id}: {spectrogram.error}."})
        if entries:
            track = replace(track, entries=tuple(entries), hash=digest.hexdigest())
        yield track
