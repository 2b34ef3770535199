"""A small FMA with the layout of the published one: tables with three header lines, and folders of mp3 clips."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import soundfile as sf

# Like the published table, with unused columns before, between and after those that are read.
_COLUMNS = (
    ("album", "comments"), ("album", "title"), ("artist", "bio"), ("artist", "id"), ("artist", "name"),
    ("set", "split"), ("set", "subset"), ("track", "bit_rate"), ("track", "genre_top"), ("track", "genres"),
    ("track", "genres_all"), ("track", "title"),
)  # fmt: skip
# (genre_id, parent, title): a part of the published genre tree.
GENRES = (
    (2, 0, "International"), (3, 0, "Blues"), (4, 0, "Jazz"), (5, 0, "Classical"), (9, 0, "Country"), (10, 0, "Pop"),
    (11, 14, "Disco"), (12, 0, "Rock"), (14, 0, "Soul-RnB"), (21, 0, "Hip-Hop"), (25, 12, "Punk"), (31, 12, "Metal"),
    (79, 2, "Reggae - Dub"), (167, 31, "Black-Metal"),
)  # fmt: skip
_TOP = {"Metal": "Rock", "Black-Metal": "Rock", "Punk": "Rock", "Disco": "Soul-RnB", "Reggae - Dub": "International"}
_ID = {title: genre for genre, _, title in GENRES}


def row(number: int, *genres: str, artist: str = "", artist_id: int = 0, subset="small", split="training") -> dict:
    """Return a row of tracks.csv."""
    tops = {_TOP.get(genre, genre) for genre in genres}
    return {
        "track_id": number,
        ("artist", "bio"): f'<p>"Born"\nin {number}, and then</p>',
        ("artist", "id"): artist_id or number,
        ("artist", "name"): artist or f"Artist {number}",
        ("set", "split"): split,
        ("set", "subset"): subset,
        ("track", "genre_top"): tops.pop() if len(tops) == 1 else "",
        ("track", "genres"): str([_ID[genre] for genre in genres]),
        ("track", "genres_all"): str([_ID[genre] for genre in genres]),
        ("track", "title"): "Title, with a comma",
    }


def write_tables(folder: Path, rows: Iterable[Mapping]) -> None:
    """Write tracks.csv with the given rows, and genres.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "tracks.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["", *(group for group, _ in _COLUMNS)])
        writer.writerow(["", *(name for _, name in _COLUMNS)])
        writer.writerow(["track_id", *("" for _ in _COLUMNS)])
        for cells in rows:
            writer.writerow([cells["track_id"], *(cells.get(column, 0) for column in _COLUMNS)])
    with open(folder / "genres.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["genre_id", "#tracks", "parent", "title", "top_level"])
        writer.writerows((genre, 1, parent, title, parent or genre) for genre, parent, title in GENRES)


def write_clip(folder: Path, number: int, *, seconds: float = 1.2) -> Path:
    """Write noise as the clip of a track."""
    file = folder / f"{number // 1000:03d}" / f"{number:06d}.mp3"
    file.parent.mkdir(parents=True, exist_ok=True)
    y = np.random.default_rng(number).uniform(-0.3, 0.3, round(8000 * seconds))
    sf.write(file, y, 8000, format="MP3")
    return file


def write_fma(path: Path, rows: Iterable[Mapping], *, clips: str = "fma_small", without: Iterable[int] = ()) -> Path:
    """Write the tables, and a clip for each row except the tracks in `without`."""
    rows = list(rows)
    write_tables(path / "fma_metadata", rows)
    for cells in rows:
        if cells["track_id"] not in without:
            write_clip(path / clips, cells["track_id"])
    return path
