"""Decoding: formats, sample rates, channels, limits, and damaged files."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr

from genreflow.audio.decode import iter_mono, load
from genreflow.audio.properties import inspect
from genreflow.errors import AudioError

FORMATS = {"wav": "PCM_16", "flac": "PCM_16", "aiff": "PCM_24", "ogg": "VORBIS", "mp3": "MPEG_LAYER_III"}


def tone(seconds: float, rate: int, *, channels: int = 1, hz: float = 440.0) -> np.ndarray:
    """Return a sine of amplitude 0.5, equal in all channels, int16 [shape=(n, channels)]."""
    wave = 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)
    return np.repeat(np.round(wave * 32767).astype(np.int16)[:, None], channels, axis=1)


def write(path: Path, samples: np.ndarray, rate: int, subtype: str | None = None) -> Path:
    if path.suffix == ".mp3":  # libsndfile 1.2 garbles stereo int16 when it encodes MP3
        samples = samples.astype(np.float32) / 32768
    sf.write(path, samples, rate, subtype=subtype or FORMATS[path.suffix[1:]])
    return path


def code_of(function, *args, **kwargs) -> str:
    with pytest.raises(AudioError) as caught:
        function(*args, **kwargs)
    return caught.value.code


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_preserves_a_tone(tmp_path, suffix, channels, rate):
    path = write(tmp_path / f"tone.{suffix}", tone(2.0, rate, channels=channels), rate)
    y, sample_rate = load(path, sample_rate=22050)
    assert sample_rate == 22050
    assert y.dtype == np.float32
    assert y.size == pytest.approx(2 * 22050, abs=0.06 * 22050)  # mp3 pads
    inner = y[4410:39690]
    spectrum = np.abs(np.fft.rfft(inner * np.hanning(inner.size)))
    assert spectrum.argmax() * 22050 / inner.size == pytest.approx(440, abs=1)
    assert np.sqrt(np.mean(inner**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.03)


@pytest.mark.parametrize(("rate", "channels"), [(8000, 3), (11025, 6), (22050, 1), (37800, 2), (96000, 2), (192000, 1)])
def test_unusual_sample_rates_and_channels_preserve_the_duration(tmp_path, rate, channels):
    path = write(tmp_path / "x.wav", tone(1.0, rate, channels=channels), rate)
    facts = inspect(path)
    assert (facts.sample_rate, facts.channels, facts.declared, facts.duration) == (rate, channels, 1.0, 1.0)
    assert load(path, sample_rate=22050)[0].size == pytest.approx(22050, abs=1)


def test_channels_are_averaged(tmp_path):
    rng = np.random.default_rng(0)
    samples = rng.integers(-9000, 9000, (5000, 3)).astype(np.int16)
    y, rate = load(write(tmp_path / "x.wav", samples, 22050))
    assert rate == 22050
    np.testing.assert_allclose(y, samples.mean(axis=1) / 32768, atol=1e-6)


@pytest.mark.parametrize("block_seconds", [0.37, 1.0, 100.0])
def test_blocks_have_the_given_duration_and_equal_resampling_in_one_call(tmp_path, block_seconds):
    samples = np.random.default_rng(1).integers(-9000, 9000, (44100 * 13 // 2, 2)).astype(np.int16)
    path = write(tmp_path / "x.flac", samples, 44100)
    blocks = list(iter_mono(path, sample_rate=22050, block_seconds=block_seconds))
    size = round(block_seconds * 22050)
    assert all(len(block) == size for block in blocks[:-1])
    assert 0 < len(blocks[-1]) <= size
    whole = soxr.resample(samples.mean(axis=1).astype(np.float32) / 32768, 44100, 22050, quality="HQ")
    np.testing.assert_allclose(np.concatenate(blocks), whole, atol=1e-5)


def test_a_file_object_is_read_from_its_start_like_its_path(tmp_path):
    path = write(tmp_path / "x.mp3", tone(1.0, 44100), 44100)
    stream = io.BytesIO(path.read_bytes())
    stream.seek(100)
    np.testing.assert_array_equal(load(stream)[0], load(path)[0])
    assert inspect(stream) == inspect(path)


def test_facts_and_hash(tmp_path):
    samples = tone(2.0, 22050, channels=2)
    facts = [inspect(write(tmp_path / f"x.{suffix}", samples, 22050)) for suffix in ("wav", "flac", "aiff")]
    assert facts[0] == facts[1] == facts[2]
    assert facts[0].duration == facts[0].declared == 2.0
    assert facts[0].peak == pytest.approx(0.5, abs=1e-3)
    assert facts[0].rms == pytest.approx(0.5 / np.sqrt(2), rel=1e-3)
    hashes = {
        facts[0].hash,
        inspect(write(tmp_path / "rate.wav", samples, 22051)).hash,
        inspect(write(tmp_path / "mono.wav", samples.reshape(-1, 1), 22050)).hash,
        inspect(write(tmp_path / "shorter.wav", samples[:-1], 22050)).hash,
    }
    assert len(hashes) == 4


def test_silence_is_no_error(tmp_path):
    facts = inspect(write(tmp_path / "x.wav", np.zeros((1000, 1), np.int16), 22050))
    assert facts.peak == facts.rms == 0


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_truncated_file_gives_what_it_holds(tmp_path, suffix):
    rng = np.random.default_rng(2)
    whole = write(tmp_path / f"x.{suffix}", rng.integers(-9000, 9000, (44100 * 4, 1)).astype(np.int16), 44100)
    truncated = tmp_path / f"truncated.{suffix}"
    truncated.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    y, _ = load(truncated)
    assert 1.5 < y.size / 44100 < 2.5
    np.testing.assert_allclose(y[:44100], load(whole)[0][:44100], atol=1e-6)
    assert inspect(truncated).duration == pytest.approx(y.size / 44100)


@pytest.mark.parametrize("suffix", FORMATS)
def test_max_seconds(tmp_path, suffix):
    path = write(tmp_path / f"x.{suffix}", tone(3.0, 16000), 16000)
    assert code_of(load, path, max_seconds=2.5) == "too_long"
    assert code_of(inspect, path, max_seconds=2.5) == "too_long"
    assert load(path, max_seconds=3.2)[1] == 16000


@pytest.mark.parametrize(("channels", "words"), [(1, "1 channel at 400000 Hz"), (2, "2 channels at 400000 Hz")])
def test_the_limit_for_many_samples_names_their_rate(tmp_path, channels, words):
    path = write(tmp_path / "x.wav", tone(1.5, 400_000, channels=channels), 400_000)
    with pytest.raises(AudioError, match=words) as caught:
        load(path, max_seconds=2.0)
    assert caught.value.code == "too_long"


def test_a_trusted_header_is_refused_before_the_file_is_read(tmp_path):
    path = write(tmp_path / "x.wav", tone(3.0, 16000), 16000)
    blocks = iter_mono(path, sample_rate=16000, block_seconds=0.1, max_seconds=2.0)
    assert code_of(next, blocks) == "too_long"


@pytest.mark.parametrize("content", [b"", b"not audio at all, " * 99, b"RIFF\x00\x00\x00\x00WAVE", bytes(5000)])
def test_content_that_is_no_audio_is_undecodable(tmp_path, content):
    path = tmp_path / "song.mp3"
    path.write_bytes(content)
    for function in (inspect, load):
        assert code_of(function, path) == "undecodable"
        assert code_of(function, io.BytesIO(content)) == "undecodable"
    with pytest.raises(AudioError, match=r"song\.mp3"):
        load(path)


def test_the_message_names_the_file_and_the_formats(tmp_path):
    path = tmp_path / "song.m4a"
    path.write_bytes(b"not at all")
    with pytest.raises(AudioError, match=r"song\.m4a.*wav, flac or mp3"):
        inspect(path)


@pytest.mark.parametrize("name", ["absent.wav", ".", "-"])
def test_a_path_without_file_is_undecodable(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert code_of(load, name) == "undecodable"


def test_a_file_may_be_named_like_standard_input(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "x.wav", tone(1.0, 8000), 8000).rename(tmp_path / "-")
    assert load("-")[0].size == 8000


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_samples_out_of_range_are_unusable(tmp_path, value):
    samples = np.zeros((3000, 2), np.float32)
    samples[2000, 1] = value
    path = write(tmp_path / "x.wav", samples, 22050, "FLOAT")
    assert code_of(inspect, path) == "unusable"
    assert code_of(load, path, sample_rate=16000) == "unusable"


def test_a_file_without_samples_is_unusable(tmp_path):
    path = write(tmp_path / "x.wav", np.zeros((0, 1), np.int16), 22050)
    assert code_of(load, path) == "unusable"
    assert code_of(inspect, path) == "unusable"


def test_wrong_lengths_in_headers_cost_neither_memory_nor_time(tmp_path):
    data = bytearray(write(tmp_path / "x.wav", tone(1.0, 8000), 8000).read_bytes())
    at = data.index(b"data")
    data[at + 4 : at + 8] = struct.pack("<I", 0xFFFFFFF0)
    data[4:8] = struct.pack("<I", 0xFFFFFFF0)
    assert load(io.BytesIO(bytes(data)), max_seconds=2)[0].size == 8000
    flac = bytearray(write(tmp_path / "x.flac", tone(1.0, 8000), 8000).read_bytes())
    # STREAMINFO: 36 bits of total samples end at byte 26.
    flac[21] |= 0x0F
    flac[22:26] = b"\xff" * 4
    y, _ = load(io.BytesIO(bytes(flac)))
    assert y.size == 8000


@pytest.mark.parametrize("rate", [768_001, 2_000_000_000])
def test_sample_rates_above_the_limit_are_undecodable(tmp_path, rate):
    path = write(tmp_path / "x.wav", tone(1.0, 8000), 8000)
    data = bytearray(path.read_bytes())
    data[24:28] = struct.pack("<I", rate)
    assert code_of(load, io.BytesIO(bytes(data)), sample_rate=22050) == "undecodable"


def test_a_sample_rate_of_one_hertz_is_resampled_in_bounded_chunks(tmp_path):
    data = bytearray(write(tmp_path / "x.wav", tone(1.0, 8000), 8000).read_bytes())
    data[24:28] = struct.pack("<I", 1)
    source = io.BytesIO(bytes(data))
    assert code_of(load, source, sample_rate=22050, max_seconds=600) == "too_long"
    blocks = iter_mono(source, sample_rate=22050, block_seconds=1)
    assert len(next(blocks)) == 22050
    blocks.close()
