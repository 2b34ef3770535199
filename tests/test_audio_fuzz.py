"""Invalid files: decoding gives audio or an `AudioError`, in bounded time and memory."""

import io
import re
import struct
import time
from functools import cache

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import encoded
from genreflow.audio.decode import OppositeChannels, iter_mono
from genreflow.audio.headers import read_header
from genreflow.audio.properties import inspect
from genreflow.errors import AudioError

resource = pytest.importorskip("resource", reason="needs Unix")

# Format, subtype, sample rate and channels of small files: one or more for each decoder of libsndfile.
SEEDS = [
    ("WAV", "PCM_16", 8000, 1),
    ("WAV", "PCM_24", 44100, 2),
    ("WAV", "FLOAT", 8000, 3),
    ("WAV", "ULAW", 8000, 1),
    ("WAV", "IMA_ADPCM", 8000, 1),
    ("WAV", "MS_ADPCM", 8000, 2),
    ("WAV", "GSM610", 8000, 1),
    ("WAVEX", "PCM_16", 8000, 6),
    ("RF64", "PCM_16", 8000, 1),
    ("W64", "PCM_16", 8000, 1),
    ("AIFF", "PCM_16", 8000, 2),
    ("AIFF", "IMA_ADPCM", 8000, 1),
    ("AU", "PCM_16", 8000, 1),
    ("CAF", "PCM_16", 8000, 1),
    ("CAF", "ALAC_16", 8000, 2),
    ("FLAC", "PCM_16", 8000, 1),
    ("FLAC", "PCM_24", 44100, 2),
    ("OGG", "VORBIS", 8000, 1),
    ("OGG", "VORBIS", 44100, 2),
    ("OGG", "OPUS", 48000, 1),
    ("MP3", "MPEG_LAYER_III", 8000, 1),
    ("MP3", "MPEG_LAYER_III", 44100, 2),
    ("VOC", "PCM_16", 8000, 1),
    ("NIST", "PCM_16", 8000, 1),
    ("SVX", "PCM_16", 8000, 1),
    ("PAF", "PCM_16", 8000, 1),
    ("IRCAM", "PCM_16", 8000, 1),
    ("AVR", "PCM_16", 8000, 1),
    ("PVF", "PCM_16", 8000, 1),
    ("HTK", "PCM_16", 8000, 1),
    ("SDS", "PCM_16", 8000, 1),
    ("MAT4", "PCM_16", 8000, 1),
    ("MAT5", "PCM_16", 8000, 1),
    ("WVE", "ALAW", 8000, 1),
    ("MPC2K", "PCM_16", 8000, 1),
]
# Kinds of `encoded`, which FFmpeg reads, and numbers of channels.
KINDS = [(kind, channels) for kind in encoded.KINDS for channels in (1, 2)]
KINDS += [(kind, channels) for kind in ("flac", "wavpack", "m4a") for channels in (6, 8)]
# Values that lengths, rates and counts are set to.
EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
SAMPLE_RATE, MAX_SECONDS = 8000, 60.0
# Limit of what a file adds to the peak memory of the process; Linux counts in KiB.
MAX_KIB = 200_000
# Far above what any file takes, even on a busy machine; an endless loop would exceed it.
MAX_WORK_SECONDS = 20


@cache
def seed(kind: tuple[str, str, int, int] | tuple[str, int]) -> bytes:
    if len(kind) == 2:
        rate = encoded.KINDS[kind[0]].sample_rate
        noise = np.random.default_rng(0).uniform(-0.3, 0.3, (kind[1], rate // 3))
        return encoded.encode(noise, rate, kind[0])
    format, subtype, rate, channels = kind
    time_axis = np.arange(rate // 4) / rate
    noise = np.random.default_rng(0).uniform(-0.05, 0.05, (len(time_axis), channels))
    file = io.BytesIO()
    samples = 0.3 * np.sin(2 * np.pi * 440 * time_axis)[:, None] + noise
    sf.write(file, samples.astype(np.float32), rate, format=format, subtype=subtype)
    return without_chance(file.getvalue())


def without_chance(data: bytes) -> bytes:
    """Return a file of libsndfile without the time and the random number in it, so that the faults are the same."""
    if data[:4] == b"OggS":
        return encoded.joined(data)
    if (at := data.find(b"PEAK")) >= 0:
        return data[: at + 12] + bytes(4) + data[at + 16 :]
    return re.sub(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", b"2026-01-01 00:00:00 UTC", data[:128]) + data[128:]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A small file with up to six faults, most of them in its header."""
    data = bytearray(seed(draw(st.sampled_from([*SEEDS, *KINDS]))))
    for _ in range(draw(st.integers(1, 6))):
        if not data:
            break
        # In the header, anywhere, or near the end, where mp4 has its index.
        at = draw(st.integers(0, min(len(data), draw(st.sampled_from([64, 512, 1 << 20]))) - 1))
        if draw(st.integers(0, 5)) == 0:
            at = len(data) - 1 - at
        fault = draw(st.sampled_from(["bits", "number", "cut", "remove", "repeat", "junk"]))
        if fault == "bits":
            data[at] ^= draw(st.integers(1, 255))
        elif fault == "number":
            layout = draw(st.sampled_from(["<H", ">H", "<I", ">I"]))
            value = draw(st.sampled_from(EDGES)) & ((1 << 8 * struct.calcsize(layout)) - 1)
            data[at : at + struct.calcsize(layout)] = struct.pack(layout, value)
        elif fault == "cut":
            del data[at:]
        else:
            length = draw(st.integers(1, 64))
            if fault == "remove":
                del data[at : at + length]
            elif fault == "repeat":
                data[at:at] = data[at : at + length] * draw(st.integers(1, 50))
            else:
                data[at:at] = draw(st.binary(min_size=1, max_size=64))
    return bytes(data)


def check(data: bytes) -> None:
    """Decode in all ways with the limits of a service; an `AudioError` is the only exception allowed."""
    begin, largest = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    header = read_header(io.BytesIO(data))
    assert header.frames >= 0
    assert header.undeclared >= 0
    for decode in (_inspect, _blocks):
        fault = None
        try:
            decode(data)
        except OppositeChannels:
            pass
        except AudioError as error:
            fault = error
        if fault:
            assert fault.code in ("undecodable", "unusable", "too_long")
            assert str(fault).endswith(".")
    assert time.process_time() - begin < MAX_WORK_SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - largest < MAX_KIB


def _inspect(data: bytes) -> None:
    facts = inspect(io.BytesIO(data), max_seconds=MAX_SECONDS)
    assert facts.duration > 0
    assert 0 <= facts.clipped <= 1
    assert np.isfinite([facts.peak, facts.rms]).all()


def _blocks(data: bytes) -> None:
    length = 0
    for block in iter_mono(io.BytesIO(data), sample_rate=SAMPLE_RATE, block_seconds=1.0, max_seconds=MAX_SECONDS):
        assert block.dtype == np.float32
        assert np.isfinite(block).all()
        length += len(block)
    assert length <= MAX_SECONDS * SAMPLE_RATE * 1.01 + SAMPLE_RATE


# An exception in a callback of libsndfile is lost, apart from a traceback on standard error.
pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
fuzz = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


@pytest.mark.parametrize("kind", [*SEEDS, *KINDS], ids=lambda kind: "-".join(map(str, kind)))
def test_the_small_files_are_valid(kind):
    blocks = list(iter_mono(io.BytesIO(seed(kind)), sample_rate=SAMPLE_RATE, max_seconds=MAX_SECONDS))
    assert sum(map(len, blocks)) >= SAMPLE_RATE // 8
    check(seed(kind))


@settings(fuzz, max_examples=500)
@given(mutated())
def test_a_mutated_file_gives_audio_or_an_audio_error(data):
    check(data)


@settings(fuzz, max_examples=300)
@given(
    st.binary(max_size=2000),
    st.sampled_from([seed(kind)[:length] for kind in [*SEEDS, *KINDS] for length in (4, 12, 40, 200)]),
)
def test_junk_after_a_header_gives_audio_or_an_audio_error(junk, head):
    check(head + junk)


@pytest.mark.parametrize("kind", [*SEEDS, *KINDS], ids=lambda kind: "-".join(map(str, kind)))
def test_a_truncated_file_gives_audio_or_an_audio_error(kind):
    data = seed(kind)
    for length in {*range(0, min(64, len(data)), 5), *np.linspace(0, len(data), 12, dtype=int).tolist()}:
        check(data[:length])


@pytest.mark.slow
@settings(fuzz, max_examples=5_000)
@given(mutated())
def test_many_mutated_files_give_audio_or_an_audio_error(data):
    check(data)
