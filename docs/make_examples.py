"""Compose the example clips of the page, in ``src/genreflow/serving/ui/static/examples``, again.

Their artists have another seed than those of ``data/demo.yaml``, so that no model of the demo was trained with them.
Equal bytes need the versions of ``requirements.lock`` and the same machine.
"""

from pathlib import Path

import numpy as np
import soundfile

from genreflow.datasets.demo.artists import artists_of
from genreflow.datasets.demo.genres import GENRES
from genreflow.datasets.demo.record import track
from genreflow.datasets.demo.settings import Settings
from genreflow.datasets.demo.voices import SAMPLE_RATE

DIRECTORY = Path(__file__).parents[1] / "src/genreflow/serving/ui/static/examples"
SETTINGS = Settings(
    seed=2, artists_per_genre=3, tracks_per_artist=1, seconds=10.0, artists_who_borrow=0, tracks_that_borrow=0
)
EXAMPLES = {"ragtime": ("ragtime",), "metal": ("metal",), "bossa-then-techno": ("bossa", "techno")}


def main() -> None:
    DIRECTORY.mkdir(exist_ok=True)
    for name, genres in EXAMPLES.items():
        y = np.concatenate([track(artists_of(GENRES[genre], SETTINGS)[0], 1, SETTINGS) for genre in genres])
        # MP3, which every browser decodes
        soundfile.write(DIRECTORY / f"{name}.mp3", y, SAMPLE_RATE, compression_level=0.75, bitrate_mode="CONSTANT")


if __name__ == "__main__":
    main()
