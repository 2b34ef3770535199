"""A folder of GTZAN excerpts that some tests measure on. GTZAN may not be redistributed, so that no clone holds it."""

import os
from pathlib import Path

import pytest

VARIABLE = "GENREFLOW_GTZAN"
# audio/GENRE/TRACK.flac, tracks.csv (track, genre, artist, part) and logmel.npz (published spectrograms).
GTZAN = Path(os.environ.get(VARIABLE) or "gtzan-is-not-set").absolute()


def _missing() -> str:
    if not os.environ.get(VARIABLE):
        return f"{VARIABLE} is not set to a folder of GTZAN excerpts"
    for name in ("audio", "tracks.csv", "logmel.npz"):
        if not (GTZAN / name).exists():
            return f"{VARIABLE}: {GTZAN} must contain audio/, tracks.csv and logmel.npz; {name} is missing"
    return ""


needs_gtzan = pytest.mark.skipif(bool(_missing()), reason=_missing())
