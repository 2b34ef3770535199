"""Properties of an audio file: what its header declares, and what decoding all of it shows.

Silence raises no exception here: `inspect` returns peak and RMS, and its callers decide what is too soft to classify.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from genreflow.audio.blocks import transposed
from genreflow.audio.decode import iter_native
from genreflow.audio.headers import read_header
from genreflow.audio.input_file import Source, source_name
from genreflow.audio.levels import Levels
from genreflow.audio.readers import open_file, open_reader

# Three consecutive samples at this level are not the peak of a wave, but a clipped one.
CLIPPED_LEVEL = 0.999


@dataclass(frozen=True)
class AudioFacts:
    """Properties of a file that was decoded completely.

    Parameters
    ----------
    sample_rate : int in [1, 768000] [Hz]
    channels : int > 0
        Both at the beginning: joined files may have several.
    declared : float >= 0 [s]
        Duration in the header, 0 if it does not declare one or may only estimate it. Much more than `duration`
        indicates a truncated file.
    duration : float > 0 [s]
        Decoded duration.
    peak : float >= 0
        Largest absolute sample of all channels; 1 is full scale.
    rms : float >= 0
        Root mean square of the samples of all channels.
    clipped : float in [0, 1]
        Share of the samples in runs of at least three, within a channel, of 0.999 or more. Runs are not continued from
        one block of 256 kB to the next.
    cancelled_db : float > 0 or None [dB]
        How far the mean of the channels is below that of unrelated channels of the same levels, if they cancel each
        other so that the loudest one is used; None for others.
    constant_offset : float or None
        Level of a file that is a constant offset, without sound.
    damaged : float in [0, 1]
        Share of the file that could not be decoded, and was left out.
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
    cancelled_db: float | None
    constant_offset: float | None
    damaged: float
    undeclared: float
    declared_sample_rate: int | None
    hash: str


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
    name = source_name(source)
    with open_file(source) as file:
        header = read_header(file)
    with open_reader(source) as reader:
        digest, kind, levels = hashlib.sha256(), None, Levels()
        seconds, samples, clipped = 0.0, 0, 0
        for (block, sample_rate), _ in iter_native(reader, levels, name=name, max_seconds=max_seconds):
            if kind != (kind := (sample_rate, len(block))):
                digest.update(f"{sample_rate} Hz {len(block)} ch\n".encode())
            digest.update(transposed(block).data)
            seconds += block.shape[1] / sample_rate
            samples += block.size
            if levels.block_peak >= CLIPPED_LEVEL:  # most blocks of most music need no count
                clipped += _count_clipped(block)
        return AudioFacts(
            sample_rate=reader.sample_rate,
            channels=reader.channels,
            declared=header.frames / reader.sample_rate or reader.declared,
            duration=seconds,
            peak=levels.peak,
            rms=levels.rms,
            clipped=clipped / samples,
            cancelled_db=levels.cancelled_db,
            constant_offset=levels.constant_offset,
            damaged=reader.damaged,
            undeclared=header.undeclared / reader.sample_rate,
            declared_sample_rate=header.sample_rate,
            hash=digest.hexdigest(),
        )


def _count_clipped(block: np.ndarray) -> int:
    """Count the samples in runs of at least three at full scale, channel by channel."""
    full = np.abs(block) >= CLIPPED_LEVEL
    middle = full[:, :-2] & full[:, 1:-1] & full[:, 2:]
    in_run = np.zeros_like(full)
    for shift in range(3):
        in_run[:, shift : shift + middle.shape[1]] |= middle
    return int(np.count_nonzero(in_run))
