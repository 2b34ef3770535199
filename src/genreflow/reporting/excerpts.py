"""Short excerpts of audio files for a page: mono MP3 as data URIs."""

import base64
import io
import os
from pathlib import Path
from urllib.parse import quote

import numpy as np
import soundfile

from genreflow.audio.decode import iter_mono
from genreflow.errors import AudioError
from genreflow.manifest.track import Track

# A sample rate of MP3 at which an excerpt of 8 s takes 60 kB.
SAMPLE_RATE = 22050


def audio_source(track: Track, raw: Path, page: Path, *, seconds: float) -> str | None:
    """Return what the player of a track on a page plays.

    Parameters
    ----------
    track : Track
    raw : Path
        Folder of the audio files.
    page : Path
        File of the page.
    seconds : float >= 0 [s]
        Length of the excerpt that the page holds; 0: the page has a link to the file.

    Returns
    -------
    str or None
        Address; None if there is no such file, it cannot be decoded, or the track has no audio.
    """
    file = raw / track.path
    if track.duration is None or not file.is_file():  # imported spectrograms have no audio
        return None
    if seconds:
        return excerpt_uri(file, duration=track.duration, seconds=seconds)
    return quote(os.path.relpath(file, page.parent))


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
