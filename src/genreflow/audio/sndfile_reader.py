"""libsndfile, for uncompressed audio."""

import numpy as np
import soundfile as sf

from genreflow.audio.blocks import Block, transposed
from genreflow.audio.input_file import InputFile

# Subtypes whose declared length libsndfile limits to the size of the file, so that it can be trusted.
_UNCOMPRESSED = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")

SNDFILE_ERRORS = (sf.SoundFileError, OSError, TypeError, ValueError)


class SndfileReader:
    """Reads a file with libsndfile.

    Raises
    ------
    soundfile.SoundFileError, OSError, TypeError, ValueError
        libsndfile does not read it.
    """

    damaged = 0.0

    def __init__(self, file: InputFile) -> None:
        file.rewind()
        self._file = sf.SoundFile(file)
        self.sample_rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.uncompressed: bool = self._file.subtype.startswith(_UNCOMPRESSED)
        # libsndfile returns the largest integer if the header does not declare a length.
        frames = self._file.frames if 0 < self._file.frames < 2**62 else 0
        self.declared = frames / self.sample_rate if self.uncompressed and self.sample_rate else 0.0
        self.trusted = True
        self._failed = False

    def read(self, frames: int) -> Block:
        block = np.full((frames, self.channels), np.nan, dtype=np.float32)
        if self._failed:
            return Block(block[:0].T, self.sample_rate)
        try:
            block = self._file.read(out=block)
        except (sf.SoundFileError, OSError):
            # Truncated or damaged: what was decoded before the error has replaced the NaN.
            self._failed = True
            missing = np.isnan(block[:, 0])
            block = block[: int(missing.argmax()) if missing.any() else frames]
        return Block(transposed(block), self.sample_rate)

    def close(self) -> None:
        self._file.close()
