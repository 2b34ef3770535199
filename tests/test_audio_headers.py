"""What headers declare, and clipped samples."""

import io
import struct

import numpy as np
import pytest
import soundfile as sf

from genreflow.audio.headers import HeaderInfo, read_header
from genreflow.audio.properties import inspect


def wav(frames: int = 8000, *, channels: int = 1, subtype: str = "PCM_16") -> bytearray:
    file = io.BytesIO()
    y = np.random.default_rng(0).uniform(-0.5, 0.5, (frames, channels))
    sf.write(file, y, 8000, subtype=subtype, format="WAV")
    return bytearray(file.getvalue())


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT", "ULAW"])
def test_an_intact_header_declares_the_samples_of_the_file(channels, subtype):
    assert read_header(io.BytesIO(wav(channels=channels, subtype=subtype))) == HeaderInfo(8000, 0, None)


def test_other_chunks_before_and_after_the_samples_are_no_samples():
    data = wav()
    listed = b"LIST" + struct.pack("<I", 5000) + bytes(5000)
    assert read_header(io.BytesIO(data[:36] + listed + data[36:] + listed)) == HeaderInfo(8000, 0, None)


def test_samples_after_the_declared_end_are_counted():
    data = wav()
    struct.pack_into("<I", data, 40, 2 * 3000)
    assert read_header(io.BytesIO(data)) == HeaderInfo(3000, 5000, None)


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_the_length_of_a_stream_is_unknown(size):
    data = wav()
    struct.pack_into("<I", data, 40, size)
    header = read_header(io.BytesIO(data))
    assert (header.frames, header.undeclared, bool(header.patches)) == (0, 0, True)


def test_bytes_per_second_may_imply_another_sample_rate():
    data = wav(channels=2)
    struct.pack_into("<I", data, 24, 44100)
    assert read_header(io.BytesIO(data)).sample_rate == 8000


def test_bytes_per_second_of_compressed_wav_imply_nothing():
    assert read_header(io.BytesIO(wav(subtype="MS_ADPCM"))) == HeaderInfo()


@pytest.mark.parametrize("cut", range(0, 44, 3))
def test_a_truncated_header_declares_no_length(cut):
    assert read_header(io.BytesIO(wav()[:cut])).frames == 0


def test_other_files_declare_nothing():
    assert read_header(io.BytesIO(b"no music, but enough of it to be a header")) == HeaderInfo()


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_runs_of_three_samples_within_a_channel_are_clipped(tmp_path, suffix):
    y = np.random.default_rng(0).uniform(-0.5, 0.5, (1000, 2))
    y[10:13, 0] = 1  # a run
    y[20:22] = 1  # two samples, in both channels
    y[30:37, 1] = -1  # a run
    y[40:60:2, 0] = 1  # single peaks
    sf.write(tmp_path / f"x.{suffix}", y, 8000)
    assert inspect(tmp_path / f"x.{suffix}").clipped == 10 / 2000


def test_the_facts_of_a_file_object_equal_those_of_its_path(tmp_path):
    data = wav()
    struct.pack_into("<I", data, 24, 44100)
    struct.pack_into("<I", data, 40, 2 * 3000)
    (tmp_path / "x.wav").write_bytes(data)
    facts = inspect(io.BytesIO(data))
    assert facts == inspect(tmp_path / "x.wav")
    assert (facts.sample_rate, facts.declared_sample_rate) == (44100, 8000)
    assert facts.undeclared == pytest.approx(5000 / 44100)
