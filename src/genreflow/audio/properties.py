"""Properties of an audio file: what its header declares, and what decoding all of it shows.

Silence raises no exception here: `inspect` returns peak and RMS, and its callers decide what is too soft to classify.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from genreflow.audio.decode import iter_native, peak_level
from genreflow.audio.headers import read_header
from genreflow.audio.readers import READ_SAMPLES, Source, open_reader, source_name

# Three consecutive samples at this level are not the peak of a wave, but a clipped one.
CLIPPED_LEVEL = 0.999


@dataclass(frozen=True)
class AudioInfo:
    """What the header of a file declares.

    Parameters
    ----------
    sample_rate : int in [1, 768000] [Hz]
    channels : int > 0
    frames : int >= 0
        Declared samples per channel, which may be wrong; 0 if the header does not declare them.
    duration : float >= 0 [s]
        ``frames / sample_rate``.
    format : str
        Container, in libsndfile's words ("WAV", "FLAC", "MP3"), or "FFMPEG".
    """

    sample_rate: int
    channels: int
    frames: int
    duration: float
    format: str


@dataclass(frozen=True)
class AudioFacts:
    """Properties of a file that was decoded completely.

    Parameters
    ----------
    sample_rate : int in [1, 768000] [Hz]
    channels : int > 0
    declared : float >= 0 [s]
        Duration in the header, 0 if it does not declare one. Much more than `duration` indicates a truncated file.
    duration : float > 0 [s]
        Decoded duration.
    peak : float >= 0
        Largest absolute sample of all channels; 1 is full scale.
    rms : float >= 0
        Root mean square of the samples of all channels.
    clipped : float in [0, 1]
        Share of the samples in runs of at least three, within a channel, of 0.999 or more. Runs are not continued from
        one block of 1 MB to the next.
    undeclared : float >= 0 [s]
        Duration of the samples after the declared end of a WAV or AU file; they are not decoded.
    declared_sample_rate : int > 0 [Hz] or None
        Sample rate that the bytes per second of a WAV header imply, if it differs from `sample_rate`.
    hash : str
        SHA-256, in hex, of sample rate, channels and float32 samples: equal for the same audio in any lossless format.
    """

    sample_rate: int
    channels: int
    declared: float
    duration: float
    peak: float
    rms: float
    clipped: float
    undeclared: float
    declared_sample_rate: int | None
    hash: str


def probe(source: Source) -> AudioInfo:
    """Read the header of a file.

    Parameters
    ----------
    source : path or binary file object

    Returns
    -------
    AudioInfo

    Raises
    ------
    AudioError
        Code ``undecodable``.
    """
    with open_reader(source) as reader:
        return AudioInfo(
            reader.sample_rate, reader.channels, reader.frames, reader.frames / reader.sample_rate, reader.format
        )


def inspect(source: Source, *, max_seconds: float | None = None) -> AudioFacts:
    """Decode a whole file at its native sample rate, in constant memory, and return its properties.

    Parameters
    ----------
    source : path or binary file object
    max_seconds : float > 0 [s], optional
        As in `genreflow.audio.decode.iter_mono`.

    Returns
    -------
    AudioFacts

    Raises
    ------
    AudioError
        As `genreflow.audio.decode.iter_mono`.
    """
    header = read_header(source)
    with open_reader(source) as reader:
        digest = hashlib.sha256(f"{reader.sample_rate} Hz {reader.channels} ch\n".encode())
        frames, peak, energy, clipped = 0, 0.0, 0.0, 0
        size = READ_SAMPLES // reader.channels
        for block in iter_native(reader, name=source_name(source), max_seconds=max_seconds, size=size):
            digest.update(block.data)
            flat = block.reshape(-1)
            frames += len(block)
            block_peak = peak_level(flat)
            peak = max(peak, block_peak)
            if block_peak >= CLIPPED_LEVEL:  # most blocks of most music need no count
                clipped += _count_clipped(block)
            energy += float(np.dot(flat, flat))
        return AudioFacts(
            sample_rate=reader.sample_rate,
            channels=reader.channels,
            declared=(header.frames or reader.frames) / reader.sample_rate,
            duration=frames / reader.sample_rate,
            peak=peak,
            rms=math.sqrt(energy / (frames * reader.channels)),
            clipped=clipped / (frames * reader.channels),
            undeclared=header.undeclared / reader.sample_rate,
            declared_sample_rate=header.sample_rate,
            hash=digest.hexdigest(),
        )


def _count_clipped(block: np.ndarray) -> int:
    """Count the samples in runs of at least three at full scale, channel by channel."""
    full = np.abs(block) >= CLIPPED_LEVEL
    middle = full[:-2] & full[1:-1] & full[2:]
    in_run = np.zeros_like(full)
    for shift in range(3):
        in_run[shift : shift + len(middle)] |= middle
    return int(np.count_nonzero(in_run))
