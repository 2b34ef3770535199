"""How channels are mixed to mono, and what has no sound."""

import io

import numpy as np
import pytest
import soundfile as sf

from encoded import KINDS, encode
from genreflow.audio.decode import OppositeChannels, decode_mono, iter_mono, load
from genreflow.audio.levels import CANCELLED_DB, Levels
from genreflow.audio.properties import inspect

RATE = 44100


def melody(seed: int, seconds: float = 4.0) -> np.ndarray:
    """Return decaying notes."""
    rng, t = np.random.default_rng(seed), np.arange(round(0.25 * RATE)) / RATE
    notes = [
        np.sin(2 * np.pi * 110 * 2 ** (rng.integers(36) / 12) * t) * np.exp(-6 * t) for _ in range(round(4 * seconds))
    ]
    return 0.4 * np.concatenate(notes)


A, B = melody(1), melody(2)
NOISE = np.random.default_rng(0).standard_normal(A.size)


def noise(db: float) -> np.ndarray:
    """Return noise at a level relative to that of `A`."""
    return NOISE * A.std() * 10 ** (db / 20)


def wav(*channels: np.ndarray, subtype: str = "PCM_16") -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, np.stack(channels, axis=1), RATE, format="WAV", subtype=subtype)
    return buffer.getvalue()


def mono(data: bytes, sample_rate: int | None = None) -> np.ndarray:
    return load(io.BytesIO(data), sample_rate=sample_rate)[0]


CANCEL = {
    "opposite": (A, -A),
    "nearly the same level": (A, -0.9 * A),
    "noise between them": (A, -A + noise(-20)),
    "more noise": (A, -A + noise(-12)),
    "a sample apart": (A, -np.roll(A, 1)),
    "something else in the middle": (A + 0.2 * B, -A + 0.2 * B),
    "with offsets": (A + 0.2, -A + 0.1),
    "a third channel is silent": (A, -A, 0 * A),
    "two pairs": (A, -A, A, -A),
    "the third is soft": (A, -A, 0.2 * B),
    "three that add up to nothing": (A, -0.5 * A + 0.8 * B, -0.5 * A - 0.8 * B),
    "six channels": (A, -A, 0 * A, 0.1 * B, 0 * A, 0 * A),
}
DO_NOT = {
    "equal": (A, A),
    "unrelated": (A, B),
    "one silent": (A, 0 * A),
    "opposite, but half as loud": (A, -0.5 * A),
    "wide": (A + 0.5 * B, -A + 0.5 * B),
    "opposite offsets": (A + 0.3, A - 0.3),
    "only the centre of six": (0 * A, 0 * A, A, 0 * A, 0 * A, 0 * A),
    "one of 32": (A, *[0 * A] * 31),
    "mono": (A,),
    "silence": (0 * A, 0 * A),
}


@pytest.mark.parametrize("name", CANCEL)
def test_where_channels_cancel_each_other_the_loudest_is_used(name):
    channels = np.stack(CANCEL[name])
    data = wav(*channels / 1.5)
    found = inspect(io.BytesIO(data))
    assert found.cancelled_db > CANCELLED_DB
    power = channels.var(axis=1)
    loudest = channels[np.argmax(power >= 0.98 * power.max())] / 1.5
    np.testing.assert_allclose(mono(data), loudest, atol=1e-4)


@pytest.mark.parametrize("name", DO_NOT)
def test_otherwise_the_mean_is_used(name):
    channels = np.stack(DO_NOT[name]) / 1.5
    data = wav(*channels)
    assert inspect(io.BytesIO(data)).cancelled_db is None
    np.testing.assert_allclose(mono(data), channels.mean(axis=0), atol=1e-4)


@pytest.mark.parametrize("kind", ["mp3", "mp3-vbr", "m4a", "flac", "wma"])
def test_what_a_codec_leaves_of_opposite_channels_is_not_used(kind):
    y = mono(encode(np.stack([A, -A]), RATE, kind))
    assert y.std() > 0.5 * A.std()
    spectra = [np.abs(np.fft.rfft(x[: A.size // 2])) for x in (y, A)]
    assert np.corrcoef(*spectra)[0, 1] > 0.9


def test_the_rule_is_one_of_the_file_not_of_its_blocks():
    """The beginning is in phase; the mean would lose all that follows."""
    beginning, rest = 0.1 * A[: RATE // 2], A
    left, right = np.r_[beginning, rest, rest, rest], np.r_[beginning, -rest, -rest, -rest]
    data = wav(left, right)
    np.testing.assert_allclose(mono(data), left, atol=1e-4)
    blocks: list[np.ndarray] = []

    def consume(iterator):
        blocks.clear()
        blocks.extend(iterator)
        return sum(map(len, blocks))

    count, levels = decode_mono(io.BytesIO(data), consume, sample_rate=RATE, block_seconds=0.5)
    assert count == len(left)
    assert levels.loudest == 0
    np.testing.assert_allclose(np.concatenate(blocks), left, atol=1e-4)
    with pytest.raises(OppositeChannels):
        list(iter_mono(io.BytesIO(data), sample_rate=RATE))


def test_a_joined_file_may_have_mono_and_opposite_parts():
    data = encode(A[None], RATE, "aac") + encode(np.stack([A, -A]), RATE, "aac")
    y = mono(data)
    assert len(y) == pytest.approx(2 * A.size, abs=5000)
    assert y[: A.size].std() == pytest.approx(A.std(), rel=0.1)


def test_levels_do_not_depend_on_the_blocks():
    samples = np.stack([A, -0.3 * B]).astype(np.float32)
    whole, pieces = Levels(), Levels()
    whole.add(samples)
    for begin in range(0, samples.shape[1], 1000):
        pieces.add(samples[:, begin : begin + 1000])
    for name in ("frames", "peak", "rms", "loudest", "sound_peak"):
        assert getattr(whole, name) == pytest.approx(getattr(pieces, name), rel=1e-5), name


@pytest.mark.parametrize(
    "channels",
    [
        (np.full(RATE, 0.3),),
        (np.full(RATE, -0.02),),
        (np.full(RATE, 0.3), np.full(RATE, -0.3)),
        (np.full(RATE, 0.3) + 3e-5 * NOISE[:RATE],),
        (np.full(RATE, 0.5), np.zeros(RATE)),
    ],
)
def test_an_offset_without_sound_is_found(channels):
    found = inspect(io.BytesIO(wav(*channels)))
    loudest = max((channel.mean() for channel in channels), key=abs)
    assert abs(found.constant_offset) == pytest.approx(abs(loudest), abs=1e-3)
    assert found.cancelled_db is None


@pytest.mark.parametrize("kind", ["flac", "mp3", "tta"])
def test_so_it_is_in_a_compressed_file(kind):
    data = encode(np.full((1, 10 * KINDS[kind].sample_rate), 0.3), KINDS[kind].sample_rate, kind)
    assert inspect(io.BytesIO(data)).constant_offset == pytest.approx(0.3, rel=0.1)


@pytest.mark.parametrize("channels", [(A + 0.3,), (0.3 + 0.05 * A,), (A, np.full(A.size, 0.5)), (0 * A,), (A,)])
def test_sound_with_an_offset_and_silence_are_not_a_constant_offset(channels):
    assert inspect(io.BytesIO(wav(*channels))).constant_offset is None
