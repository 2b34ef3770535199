"""Short excerpts of audio files for a page: mono MP3 as data URIs."""

import base64
import io
from pathlib import Path

import numpy as np
import soundfile

from genreflow.audio.decode import iter_mono
from genreflow.errors import AudioError

# A sample rate of MP3 at which an excerpt of 8 s takes 60 kB.
SAMPLE_RATE = 22050


def excerpt_uri(path: Path, *, duration: float, seconds: float) -> str | None:
    """Return the middle of an audio file.

    Parameters
    ----------
    path : Path
    duration : float >= 0 [s]
        Of the file.
    seconds : float > 0 [s]
        Of the excerpt.

    Returns
    -------
    str or None
        ``data:audio/mpeg;base64,…``; None if the file is missing or cannot be decoded.
    """
    start = round(max(0.0, duration - seconds) / 2 * SAMPLE_RATE)
    end = start + round(seconds * SAMPLE_RATE)
    parts, position = [], 0
    try:
        for block in iter_mono(path, sample_rate=SAMPLE_RATE, block_seconds=seconds):
            parts.append(block[max(0, start - position) : max(0, end - position)])
            position += len(block)
            if position >= end:
                break
    except (AudioError, OSError):
        return None
    y = np.concatenate(parts)
    file = io.BytesIO()
    soundfile.write(file, y / max(1.0, float(np.abs(y).max())), SAMPLE_RATE, format="MP3", subtype="MPEG_LAYER_III")
    return "data:audio/mpeg;base64," + base64.b64encode(file.getvalue()).decode()
