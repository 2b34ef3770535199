"""What headers claim, and the samples at full scale."""

import io
import struct

import numpy as np
import pytest
import soundfile as sf

from genreflow.audio.decode import inspect
from genreflow.audio.headers import Claims, read_claims


def wav(frames: int = 8000, *, channels: int = 1, subtype: str = "PCM_16") -> bytearray:
    file = io.BytesIO()
    y = np.random.default_rng(0).uniform(-0.5, 0.5, (frames, channels))
    sf.write(file, y, 8000, subtype=subtype, format="WAV")
    return bytearray(file.getvalue())


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT", "ULAW"])
def test_a_sound_header_claims_what_the_file_holds(channels, subtype):
    assert read_claims(io.BytesIO(wav(channels=channels, subtype=subtype))) == Claims(8000, 0, None)


def test_chunks_before_and_behind_the_samples_are_no_samples():
    data = wav()
    listed = b"LIST" + struct.pack("<I", 5000) + bytes(5000)
    assert read_claims(io.BytesIO(data[:36] + listed + data[36:] + listed)) == Claims(8000, 0, None)


def test_samples_behind_the_declared_end_are_counted():
    data = wav()
    struct.pack_into("<I", data, 40, 2 * 3000)
    assert read_claims(io.BytesIO(data)) == Claims(3000, 5000, None)


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_the_length_of_a_stream_is_open(size):
    data = wav()
    struct.pack_into("<I", data, 40, size)
    assert read_claims(io.BytesIO(data)) == Claims()


def test_bytes_a_second_may_tell_another_rate():
    data = wav(channels=2)
    struct.pack_into("<I", data, 24, 44100)
    assert read_claims(io.BytesIO(data)).sample_rate == 8000


def test_compressed_wav_has_bytes_a_second_of_its_own():
    assert read_claims(io.BytesIO(wav(subtype="MS_ADPCM"))) == Claims()


@pytest.mark.parametrize("cut", range(0, 44, 3))
def test_a_header_that_breaks_off_claims_no_length(cut):
    assert read_claims(io.BytesIO(wav()[:cut])).frames == 0


def test_other_files_claim_nothing(tmp_path):
    (tmp_path / "text").write_text("no music, but enough of it to be a header")
    assert read_claims(tmp_path / "text") == read_claims(tmp_path / "none") == Claims()


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_clipped_are_runs_of_three_within_a_channel(tmp_path, suffix):
    y = np.random.default_rng(0).uniform(-0.5, 0.5, (1000, 2))
    y[10:13, 0] = 1  # a run
    y[20:22] = 1  # in both channels, but two samples
    y[30:37, 1] = -1  # a run
    y[40:60:2, 0] = 1  # single peaks
    sf.write(tmp_path / f"x.{suffix}", y, 8000)
    assert inspect(tmp_path / f"x.{suffix}").clipped == 10 / 2000


def test_the_facts_of_a_file_object_are_those_of_the_path(tmp_path):
    data = wav()
    struct.pack_into("<I", data, 24, 44100)
    struct.pack_into("<I", data, 40, 2 * 3000)
    (tmp_path / "x.wav").write_bytes(data)
    facts = inspect(io.BytesIO(data))
    assert facts == inspect(tmp_path / "x.wav")
    assert (facts.sample_rate, facts.declared_sample_rate) == (44100, 8000)
    assert facts.undeclared == pytest.approx(5000 / 44100)
