"""Base log-mel frames against librosa, and with `exact` against the published GTZAN spectrograms."""

import os
import subprocess
import sys

import librosa
import numpy as np
import pytest
import soundfile as sf

from genreflow.datasets.filterbank import load_or_make_filter_bank, make_filter_bank
from genreflow.errors import AudioError, ParameterError
from genreflow.features.logmel import LogMel, logmel_pieces
from genreflow.features.spec import FeatureSpec, FilterBank
from gtzan_excerpts import GTZAN, needs_gtzan

SPECS = {
    "default": FeatureSpec(),
    "small": FeatureSpec(n_fft=1024, n_mels=96, clip_seconds=4.0),
    "odd": FeatureSpec(
        sample_rate=16000, n_fft=1500, hop_length=333, n_mels=50, fmin=40.0, fmax=7000.0, top_db=60.0, clip_seconds=3.3
    ),
    "speech": FeatureSpec(sample_rate=8000, n_fft=400, hop_length=80, n_mels=40, fmax=4000.0, clip_seconds=1.0),
}


def logmel(spec: FeatureSpec) -> LogMel:
    return LogMel(spec, make_filter_bank(spec))


def music(spec: FeatureSpec, seconds: float, seed: int = 0) -> np.ndarray:
    """Return decaying notes over soft noise [shape=(n,)]: like music, it has a wide dynamic range."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * spec.sample_rate)) / spec.sample_rate
    y = 1e-3 * rng.standard_normal(t.size)
    for onset in np.arange(0, seconds, 0.25):
        hz = 110 * 2 ** (rng.integers(0, 36) / 12)
        y += 0.2 * np.where(t >= onset, np.exp(-6 * np.clip(t - onset, 0, None)), 0) * np.sin(2 * np.pi * hz * t)
    return y.astype(np.float32)


def librosa_logmel(spec: FeatureSpec, y: np.ndarray) -> np.ndarray:
    """Return what librosa computes, scaled to 0 to 255 [shape=(frames, n_mels)]."""
    power = librosa.feature.melspectrogram(
        y=y, sr=spec.sample_rate, n_fft=spec.n_fft, hop_length=spec.hop_length, n_mels=spec.n_mels,
        fmin=spec.fmin, fmax=spec.fmax,
    )  # fmt: skip
    db = librosa.power_to_db(power, ref=np.max, top_db=spec.top_db).T
    low = db.min() if spec.level_reference == "minmax" else -spec.top_db
    return np.round((db - low) / -low * 255)


def agreement(a: np.ndarray, b: np.ndarray) -> float:
    """Return the share of bins that differ by at most one step."""
    return float(np.mean(np.abs(a.astype(float) - b) <= 1))


@pytest.mark.parametrize("reference", ["max", "minmax"])
@pytest.mark.parametrize("name", SPECS)
def test_agrees_with_librosa(name, reference):
    spec = FeatureSpec(**SPECS[name].to_dict() | {"level_reference": reference})
    y = music(spec, 5.0)
    frames, expected = logmel(spec).clip(y), librosa_logmel(spec, y)
    assert frames.dtype == np.uint8
    assert frames.shape == expected.shape
    assert agreement(frames, expected) > 0.999
    assert frames.max() == 255
    assert len(np.unique(frames)) > 100


@pytest.mark.filterwarnings("ignore:n_fft=2048 is too large")
def test_short_audio_is_zero_padded():
    spec = FeatureSpec()
    for n in (1, 511, 512, 2047, 3000):
        y = music(spec, 1.0)[:n]
        frames = logmel(spec).clip(y)
        assert len(frames) == 1 + n // 512
        assert agreement(frames, librosa_logmel(spec, y)) > 0.99


def test_the_filter_bank_is_that_of_librosa(tmp_path):
    spec = SPECS["odd"]
    bank = make_filter_bank(spec)
    np.testing.assert_array_equal(
        bank.mel, librosa.filters.mel(sr=16000, n_fft=1500, n_mels=50, fmin=40, fmax=7000).astype(np.float32)
    )
    np.testing.assert_array_equal(bank.window, librosa.filters.get_window("hann", 1500).astype(np.float32))
    bank.save(tmp_path / "filters.npz")
    again = FilterBank.load(tmp_path / "filters.npz")
    y = music(spec, 2.0)
    np.testing.assert_array_equal(LogMel(spec, again).clip(y), LogMel(spec, bank).clip(y))


def test_the_filter_bank_of_another_spec_is_refused():
    with pytest.raises(ParameterError, match="filter bank"):
        LogMel(SPECS["default"], make_filter_bank(SPECS["small"]))


def test_only_full_scale_preserves_the_level():
    spec = SPECS["small"]
    y = music(spec, 2.0)
    assert agreement(logmel(spec).clip(y), logmel(spec).clip(y / 8)) == 1
    full = FeatureSpec(**spec.to_dict() | {"level_reference": "full_scale"})
    loud, soft = (logmel(full).clip(x).astype(int) for x in (y, y / 8))
    inner = (soft > 0) & (loud < 255)
    # 18.06 dB are 57.6 steps of 80 / 255 dB
    assert np.abs((loud - soft)[inner] - 57.6).max() <= 1


def test_a_full_scale_sine_has_the_reference_level_of_full_scale():
    spec = FeatureSpec(level_reference="full_scale", clip_seconds=2.0)
    bank = make_filter_bank(spec)
    gain = bank.mel[:, 1:-1] + (bank.mel[:, :-2] + bank.mel[:, 2:]) / 4
    best = (1 + np.unravel_index(gain.argmax(), gain.shape)[1]) * spec.sample_rate / spec.n_fft
    sine = np.sin(2 * np.pi * best * np.arange(40000) / spec.sample_rate).astype(np.float32)
    middle = LogMel(spec, bank).clip(sine)[5:-5]
    assert middle.max() in (254, 255)
    assert LogMel(spec, bank).clip(0.5 * sine)[5:-5].max() == pytest.approx(255 - 6.02 / 80 * 255, abs=1)


@pytest.mark.parametrize("reference", ["max", "minmax", "full_scale"])
def test_silence_is_zeros(reference):
    spec = FeatureSpec(level_reference=reference, clip_seconds=1.0)
    assert not logmel(spec).clip(np.zeros(22050, np.float32)).any()
    blocks = [np.zeros(22050, np.float32), music(spec, 1.0), np.zeros(9000, np.float32)]
    silent, loud, rest = logmel(spec).frames(blocks)
    assert not silent.any()
    assert loud.any()
    assert not rest.any()


def test_no_samples_are_unusable():
    with pytest.raises(AudioError) as caught:
        logmel(SPECS["small"]).clip(np.zeros(0, np.float32))
    assert caught.value.code == "unusable"


def test_the_largest_accepted_samples_do_not_overflow():
    y = np.full(30000, 1e6, np.float32) * np.resize([1, -1], 30000).astype(np.float32)
    frames = logmel(SPECS["small"]).clip(y)
    assert frames.max() == 255
    assert frames.min() == 0


@pytest.mark.parametrize("cut", [1000, 4410, 88200, 10**7])
def test_frames_do_not_depend_on_the_block_size(cut):
    spec = SPECS["small"]
    y = music(spec, 10.5)
    clips = list(logmel(spec).frames(y[i : i + cut] for i in range(0, y.size, cut)))
    assert [len(clip) for clip in clips] == [spec.frames_per_clip, spec.frames_per_clip, 1 + round(2.5 * 22050) // 512]
    n = spec.clip_samples
    for clip, part in zip(clips, (y[:n], y[n : 2 * n], y[2 * n :]), strict=True):
        np.testing.assert_array_equal(clip, logmel(spec).clip(part))


@pytest.mark.parametrize("reference", ["max", "minmax"])
def test_a_short_last_clip_shares_the_reference_level_of_the_previous_clip(reference):
    spec = FeatureSpec(level_reference=reference, clip_seconds=4.0)
    y = music(spec, 5.0)
    y[spec.clip_samples :] *= 0.01  # a fade-out, 40 dB softer
    whole, rest = logmel(spec).frames([y])
    assert whole.max() == 255
    assert 255 * 0.3 < rest.max() < 255 * 0.6
    assert logmel(spec).clip(y[spec.clip_samples :]).max() == 255
    # A longer last clip has its own reference level.
    y = music(spec, 6.1)
    y[spec.clip_samples :] *= 0.01
    assert list(logmel(spec).frames([y]))[1].max() == 255


def test_a_remainder_shorter_than_a_window_is_part_of_the_previous_clip():
    spec = SPECS["small"]
    y = music(spec, 5.0)
    assert len(list(logmel(spec).frames([y[: spec.clip_samples + 1023]]))) == 1
    assert len(list(logmel(spec).frames([y[: spec.clip_samples + 1024]]))) == 2
    assert [len(clip) for clip in logmel(spec).frames([y[:700]])] == [2]


@pytest.mark.parametrize("kept", [1, 7, 52, 172, 173])
def test_frames_kept(kept):
    spec = FeatureSpec(clip_seconds=4.0, frames_kept=kept)
    every = FeatureSpec(clip_seconds=4.0)
    assert every.frames_per_clip == 173
    y = music(spec, 9.0)
    full = list(logmel(every).frames([y]))
    some = list(logmel(spec).frames([y]))
    assert [len(clip) for clip in some] == [kept, kept, max(1, round(kept * len(full[2]) / 173))]
    for clip, frames in zip(some, full, strict=True):
        columns = [min(int((j + 0.05) * 173 / (kept + 0.5) + 1.5), len(frames) - 1) for j in range(len(clip))]
        np.testing.assert_array_equal(clip, frames[columns])


def test_exact_keeps_the_same_number_of_frames_of_audio_of_any_length():
    spec = FeatureSpec(level_reference="minmax", frames_kept=387)
    y = music(spec, 30.5)
    frames = logmel(FeatureSpec(level_reference="minmax")).clip(y)
    columns = np.floor((np.arange(387) + 0.05) * len(frames) / 387.5 + 1.5).astype(int)
    np.testing.assert_array_equal(logmel(spec).clip(y, exact=True), frames[columns])
    assert len(logmel(spec).clip(y[: 22050 * 20])) == 258


def test_values_do_not_depend_on_the_number_of_blas_threads():
    code = """
import hashlib
import numpy as np
from genreflow.features.spec import FeatureSpec, FilterBank
from genreflow.features.logmel import LogMel
spec = FeatureSpec()
rng = np.random.default_rng(0)
# All filters as wide as those of the highest bands: the largest products.
mel = np.zeros((128, 1025), np.float32)
for band in range(128):
    mel[band, 4 * band : 4 * band + 500] = rng.random(500)
logmel = LogMel(spec, FilterBank(mel=mel, window=np.hanning(2048).astype(np.float32)))
print(hashlib.sha256(logmel._mel_power(rng.standard_normal(200000).astype(np.float32))).hexdigest())
"""
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2", "4")
    }
    assert len(hashes) == 1


def test_a_stored_filter_bank_is_used_for_its_own_spec_only(tmp_path):
    path, other = tmp_path / "filters.npz", FeatureSpec(fmax=8000.0)
    bank = FilterBank(mel=np.ones((128, 1025), np.float32), window=np.ones(2048, np.float32))
    bank.save(path, spec=FeatureSpec())
    np.testing.assert_array_equal(load_or_make_filter_bank(FeatureSpec(), path).mel, bank.mel)
    np.testing.assert_array_equal(load_or_make_filter_bank(other, path).mel, make_filter_bank(other).mel)
    bank.save(path)
    np.testing.assert_array_equal(
        load_or_make_filter_bank(FeatureSpec(), path).mel, make_filter_bank(FeatureSpec()).mel
    )
    path.write_bytes(path.read_bytes()[:100])
    np.testing.assert_array_equal(load_or_make_filter_bank(other, path).mel, make_filter_bank(other).mel)


def test_features_of_a_file_are_one_piece(tmp_path):
    spec = SPECS["small"]
    y = music(spec, 9.0)
    sf.write(tmp_path / "x.wav", np.stack([y, y], axis=1), 22050, subtype="FLOAT")
    (piece,) = logmel_pieces(tmp_path / "x.wav", logmel(spec))
    np.testing.assert_array_equal(piece, np.concatenate(list(logmel(spec).frames([y]))))


@needs_gtzan
def test_exact_reproduces_published_spectrograms():
    spec = FeatureSpec(level_reference="minmax", frames_kept=387)
    transform = logmel(spec)
    with np.load(GTZAN / "logmel.npz") as arrays:
        imported = dict(zip(arrays["track"].tolist(), arrays["spectrogram"], strict=True))
    close = []
    for path in sorted((GTZAN / "audio").glob("*/*.flac")):
        y, rate = sf.read(path, dtype="float32")
        assert rate == spec.sample_rate
        frames = transform.clip(y, exact=True)
        close.append(np.abs(frames.astype(int) - imported[path.stem].T) <= 1)
    assert len(close) == 60
    assert np.mean(close) >= 0.99  # 0.9991 when this was written


@pytest.mark.parametrize("off", [-500, 0, 294, 1000])
def test_a_clip_of_almost_nominal_length_has_the_published_number_of_frames(off):
    """Published spectrograms have the same number of frames although the lengths of the clips differ a little."""
    spec = FeatureSpec(clip_seconds=4.0, frames_kept=51, level_reference="minmax")
    logmel = LogMel(spec, make_filter_bank(spec))
    y = np.random.default_rng(3).standard_normal(spec.clip_samples + off).astype(np.float32) * np.float32(0.1)
    size = spec.clip_samples
    (served,) = logmel.frames(block for block in (y[:size], y[size:]) if len(block))
    np.testing.assert_array_equal(served, logmel.clip(y, exact=True))
    assert len(served) == 51


def test_a_remainder_longer_than_a_window_is_a_clip():
    spec = FeatureSpec(clip_seconds=2.0)
    logmel = LogMel(spec, make_filter_bank(spec))
    y = np.random.default_rng(4).standard_normal(2 * spec.clip_samples + spec.n_fft).astype(np.float32)
    parts = list(logmel.frames(np.array_split(y, 7)))
    assert [len(part) for part in parts] == [spec.frames_per_clip, spec.frames_per_clip, 1 + spec.n_fft // 512]
    np.testing.assert_array_equal(parts[0], logmel.clip(y[: spec.clip_samples]))
