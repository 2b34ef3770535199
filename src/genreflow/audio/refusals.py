"""Why a file cannot be decoded, as one sentence that says what to do; the same one for files and uploads."""

import re

from genreflow.audio.formats import describe_formats
from genreflow.errors import AudioError

# How files of the formats that are read begin; of AAC and MP3 without tags, the first frame does.
_BEGINNINGS = re.compile(
    rb"(?:RIFF|RF64)....WAVE|riff|FORM....AIF|fLaC|OggS|ID3|\xff[\xe2\xe3\xf0-\xfd]|....ftyp|\x1a\x45\xdf\xa3"
    rb"|\x30\x26\xb2\x75|caff|\.snd|wvpk|TTA1|MAC |MP\+|MPCK|\x0b\x77|\x7f\xfe\x80\x01|#!AMR|DSD |Creative Voice"
    rb"|NIST_1A",
    re.DOTALL,
)


class NoAudioStreamError(ValueError):
    """A container holds video or text only."""


class UnsupportedCodecError(ValueError):
    """A container is read, but not what encodes the audio in it."""


def empty_file(name: str) -> AudioError:
    """Return the error of a file without content.

    Parameters
    ----------
    name : str
        Of the file.
    """
    return AudioError("undecodable", f"{name}: must be an audio file; got an empty file.")


def unknown_format(name: str) -> AudioError:
    """Return the error of a file in a format that is not read, or that is no audio at all.

    Parameters
    ----------
    name : str
        Of the file.
    """
    return AudioError(
        "undecodable",
        f"{name}: must be audio such as {describe_formats(3)}; got another format: if it is audio, convert it, for "
        "example with `ffmpeg -i FILE song.wav`.",
    )


def cannot_be_opened(name: str, head: bytes, error: Exception) -> AudioError:
    """Return the error of a file that no decoder opens.

    Parameters
    ----------
    name : str
        Of the file.
    head : bytes
        Its first 16 bytes or more, behind ID3 tags.
    error : Exception
        What the decoder raised.
    """
    if isinstance(error, NoAudioStreamError):
        return AudioError("undecodable", f"{name}: must contain audio; got a file without an audio stream.")
    if _BEGINNINGS.match(head) and not isinstance(error, UnsupportedCodecError):
        # To convert what was cut or damaged would not bring the audio back.
        return AudioError("undecodable", f"{name}: must be complete; got a damaged or truncated file.")
    return unknown_format(name)
