"""Which decoder reads a file: libsndfile what is uncompressed, FFmpeg everything else."""

import contextlib
import os
from collections.abc import Iterator

from genreflow.audio.blocks import MAX_SAMPLE_RATE, Reader
from genreflow.audio.ffmpeg_reader import FFMPEG_ERRORS, FfmpegReader
from genreflow.audio.headers import read_header
from genreflow.audio.input_file import InputFile, Source, source_name
from genreflow.audio.ogg_chain import ChainReader, find_links
from genreflow.audio.refusals import cannot_be_opened, empty_file
from genreflow.audio.sndfile_reader import SNDFILE_ERRORS, SndfileReader
from genreflow.errors import AudioError, counted

# How flac and ogg begin, and damaged tags of mp3, whose frames begin with eleven bits that are set. libsndfile would
# decode all of these, and its mp3 decoder prints on standard error.
_COMPRESSED = (b"fLaC", b"OggS", b"ID3")
_HEAD = 16  # bytes that show the format


@contextlib.contextmanager
def open_file(source: Source) -> Iterator[InputFile]:
    """Open a source for reading.

    Parameters
    ----------
    source : path or binary file object
        A file object must be seekable and is read from its start; it is not closed.

    Yields
    ------
    InputFile

    Raises
    ------
    AudioError
        Code ``undecodable``: it is not a regular file.
    OSError
        It cannot be read.
    """
    name = source_name(source)
    if not isinstance(source, str | os.PathLike):
        yield InputFile(source)
        return
    if not os.path.isfile(source):
        raise AudioError("undecodable", f"{name}: must be an audio file; got no file.")
    if os.path.getsize(source) == 0:
        raise empty_file(name)
    with open(source, "rb") as file:
        yield InputFile(file)


@contextlib.contextmanager
def open_reader(source: Source, *, name: str | None = None) -> Iterator[Reader]:
    """Open a source with the decoder that reads it.

    Parameters
    ----------
    source : path or binary file object
        A file object must be seekable and is read from its start; it is not closed.
    name : str, optional
        Name of the source in error messages; by default its path or the name of the file object.

    Yields
    ------
    Reader

    Raises
    ------
    AudioError
        Code ``undecodable``: no decoder reads it, or its sample rate or number of channels is invalid.
    OSError
        The source cannot be read.
    """
    name = name or source_name(source)
    with open_file(source) as file:
        reader = _open_any(file, name)
        try:
            if not (1 <= reader.sample_rate <= MAX_SAMPLE_RATE and reader.channels >= 1):
                raise AudioError(
                    "undecodable",
                    f"{name}: must have a sample rate between 1 and {MAX_SAMPLE_RATE} Hz and at least one channel; got "
                    f"{reader.sample_rate} Hz and {counted(reader.channels, 'channel')}.",
                )
            yield reader
            file.check()
        finally:
            reader.close()


def _open_any(file: InputFile, name: str) -> Reader:
    if not file.size():
        raise empty_file(name)
    file.patch(read_header(file).patches)
    uncompressed = _open_uncompressed(file)
    if uncompressed is not None and uncompressed.uncompressed:
        return uncompressed
    try:
        reader = _open_compressed(file, name)
    except FFMPEG_ERRORS as error:
        file.check()
        if uncompressed is not None:  # a codec of libsndfile alone, as Dialogic ADPCM
            return uncompressed
        raise cannot_be_opened(name, file.head(_HEAD), error) from error
    if uncompressed is not None:
        uncompressed.close()
    return reader


def _open_compressed(file: InputFile, name: str) -> Reader:
    links = find_links(file) if file.head(4) == b"OggS" else []
    return ChainReader(links, name) if len(links) > 1 else FfmpegReader(file, name)


def _open_uncompressed(file: InputFile) -> SndfileReader | None:
    """Return libsndfile's reader, also of compressed audio in a container such as WAV; None if it does not read it."""
    head = file.head(4)
    if head.startswith(_COMPRESSED) or (head[:1] == b"\xff" and head[1:2] >= b"\xe0"):
        return None
    try:
        return SndfileReader(file)
    except SNDFILE_ERRORS:  # TypeError: a headerless file that is named *.raw
        file.check()
        return None
