"""From files to predictions, with a real model in ONNX Runtime."""

import io
import json
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import onnx
import pytest
import soundfile as sf

from encoded import encode
from genreflow.bundle import Bundle, Familiarity, stamp, write_bundle
from genreflow.errors import AudioError, GenreflowError
from genreflow.features.logmel import LogMel, logmel_pieces
from genreflow.features.segments import segment_starts
from genreflow.inference.predictor import Predictor
from serving_toy import LABELS, SPEC, TONES, tone, write_tone, write_toy_bundle


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    directory = tmp_path_factory.mktemp("toy") / "bundle"
    write_toy_bundle(directory)
    return Predictor(directory)


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize(
    ("suffix", "rate", "channels"),
    [("wav", 8000, 1), ("wav", 44100, 2), ("flac", 22050, 1), ("mp3", 32000, 2), ("ogg", 48000, 1), ("aiff", 16000, 6)],
)
def test_formats_sample_rates_and_channels(predictor, tmp_path, label, suffix, rate, channels):
    path = write_tone(tmp_path / f"tone.{suffix}", label, 5.0, rate=rate, channels=channels)
    prediction = predictor.classify(path)
    assert prediction.genre == label
    assert prediction.confidence == max(prediction.probabilities.values()) > 0.6
    assert prediction.duration == pytest.approx(5.0, abs=0.1)
    assert not prediction.short


def test_probabilities_are_the_mean_over_segments_in_descending_order(predictor, tmp_path):
    path = write_tone(tmp_path / "a.wav", "drone", 4.0)
    prediction = predictor.classify(path)
    values = list(prediction.probabilities.values())
    assert values == sorted(values, reverse=True)
    assert sum(values) == pytest.approx(1.0, abs=1e-9)
    assert set(prediction.probabilities) == set(LABELS)
    assert prediction.confidence == pytest.approx(np.mean([s.confidence for s in prediction.segments]), abs=1e-9)


def test_segments_have_their_own_predictions(predictor, tmp_path):
    sf.write(tmp_path / "medley.wav", np.concatenate([tone("bass", 6.0), tone("whistle", 6.0)]), SPEC.sample_rate)
    prediction = predictor.classify(tmp_path / "medley.wav")
    assert prediction.segments[0].start == 0.0
    assert prediction.segments[-1].end == pytest.approx(12.0, abs=0.1)
    starts = [segment.start for segment in prediction.segments]
    assert starts == sorted(starts)
    assert np.diff(starts)[:-1] == pytest.approx(1.0, abs=0.05)
    for segment in prediction.segments:
        assert segment.end - segment.start == pytest.approx(2.0, abs=0.05)
        if segment.end < 5.9:
            assert segment.genre == "bass"
        if segment.start > 6.1:
            assert segment.genre == "whistle"


def test_short_audio_is_padded_and_flagged(predictor, tmp_path):
    prediction = predictor.classify(write_tone(tmp_path / "blip.wav", "whistle", 0.5))
    assert prediction.short
    assert len(prediction.segments) == 1
    assert prediction.segments[0].end == prediction.duration == pytest.approx(0.5)


def test_the_temperature_changes_the_confidence_and_the_threshold_abstains(tmp_path):
    path = write_tone(tmp_path / "a.wav", "bass", 4.0)
    write_toy_bundle(tmp_path / "cold", temperature=0.5)
    write_toy_bundle(tmp_path / "hot", temperature=20.0, abstain_below=0.9)
    cold, hot = Predictor(tmp_path / "cold").classify(path), Predictor(tmp_path / "hot").classify(path)
    assert cold.confidence > hot.confidence
    assert cold.genre == "bass"
    assert hot.genre is None
    assert next(iter(hot.probabilities)) == "bass"
    assert hot.segments[0].genre == "bass"


def test_the_reason_for_an_abstention(tmp_path):
    """Of two tones at once the embedding is far from those of single tones, and the confidence is 0.69."""
    sf.write(tmp_path / "both.wav", tone("bass", 5.0) + tone("whistle", 5.0), SPEC.sample_rate)
    write_tone(tmp_path / "bass.wav", "bass")
    found = {}
    for name, bounds in {
        "neither": {"refuse_above": 2.0, "abstain_below": 0.5},
        "uncertain": {"refuse_above": 2.0, "abstain_below": 0.8},
        "unfamiliar": {"refuse_above": 0.2, "abstain_below": 0.5},
        "both": {"refuse_above": 0.2, "abstain_below": 0.8},
        "without": {"refuse_above": None, "abstain_below": 0.8},
    }.items():
        predictor = Predictor(write_toy_bundle(tmp_path / name, **bounds).directory)
        known, unknown = (predictor.classify(tmp_path / file) for file in ("bass.wav", "both.wav"))
        assert (known.genre, known.reason) == ("bass", None)
        assert (unknown.genre is None) == (unknown.reason is not None)
        found[name] = unknown.reason
        if name != "without":
            assert known.unfamiliarity < 0.01 < 0.2 < unknown.unfamiliarity < 0.5
        else:
            assert (known.unfamiliarity, unknown.unfamiliarity) == (None, None)
    assert found.pop("neither") is None
    assert found == {name: name for name in ("uncertain", "unfamiliar")} | {
        "both": "unfamiliar",
        "without": "uncertain",
    }


def test_the_unfamiliarity_is_that_of_the_mean_embedding_of_all_segments(tmp_path):
    """More segments than one batch of the model has."""
    predictor = Predictor(write_toy_bundle(tmp_path / "bundle", refuse_above=1.0).directory)
    medley = np.concatenate([tone("bass", 15.0), tone("whistle", 3.0)])
    sf.write(tmp_path / "medley.wav", medley, SPEC.sample_rate)
    logmel, bundle = LogMel(SPEC, predictor.bundle.bank), predictor.bundle
    frames = np.concatenate(logmel_pieces(tmp_path / "medley.wav", logmel)) / 255
    starts = segment_starts(len(frames), bundle.segment_frames, bundle.segment_hop)
    mean = np.mean([frames[start : start + bundle.segment_frames].mean(axis=0) for start in starts], axis=0)
    expected = bundle.familiarity.unfamiliarity(mean[None])[0]
    prediction = predictor.classify(tmp_path / "medley.wav")
    assert len(prediction.segments) == len(starts) > 8
    assert prediction.unfamiliarity == pytest.approx(expected, abs=1e-5)


def test_a_file_object_gives_the_same_prediction_as_its_path(predictor, tmp_path):
    path = write_tone(tmp_path / "a.flac", "drone", 9.0, rate=44100)
    assert predictor.classify(io.BytesIO(path.read_bytes())) == predictor.classify(path)


def test_the_dictionary_is_json_with_the_documented_keys(predictor, tmp_path):
    result = predictor.classify(write_tone(tmp_path / "a.wav", "bass", 3.0)).to_dict(predictor.model)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    decision = ["genre", "reason", "confidence", "unfamiliarity"]
    assert list(result) == [*decision, "probabilities", "segments", "duration", "short", "model"]
    assert (result["reason"], result["unfamiliarity"]) == (None, None), "this bundle has no prototypes"
    assert list(result["segments"][0]) == ["start", "end", "genre", "confidence"]
    assert result["model"] == {"name": "genre-classifier", "version": None}


@pytest.mark.parametrize(
    ("samples", "code"),
    [
        (np.zeros((0, 1)), "unusable"),
        (np.zeros((16000, 1)), "unusable"),
        (np.full((16000, 1), np.nan), "unusable"),
        (np.full((16000, 1), np.inf), "unusable"),
        (np.full((16000, 1), 0.3), "unusable"),
        (np.tile([0.3, -0.3], (16000, 1)), "unusable"),
        (6e-5 * np.random.default_rng(0).uniform(-1, 1, (16000, 2)), "unusable"),  # the dither of 16 bits
    ],
)
def test_audio_without_sound_is_refused(predictor, tmp_path, samples, code):
    sf.write(tmp_path / "a.wav", samples, 8000, subtype="FLOAT")
    with pytest.raises(AudioError) as caught:
        predictor.classify(tmp_path / "a.wav")
    assert caught.value.code == code


@pytest.mark.parametrize("kind", ["wav", "mp3", "m4a", "ogg-flac", "webm"])
def test_training_and_service_compute_the_same_features_from_paths_and_uploads(predictor, tmp_path, kind, monkeypatch):
    """Also of channels that cancel each other, of which nothing but the loudest one is left."""
    left = np.concatenate([tone("bass", 4.0, rate=48000), tone("whistle", 9.0, rate=48000)])[:, 0]
    path = tmp_path / f"song.{kind}"
    if kind == "wav":
        sf.write(path, np.stack([left, -left], axis=1), 48000, format="WAV")
    else:
        path.write_bytes(encode(np.stack([left, -left]), 48000, kind))
    # What training stores, and what the model of the service gets.
    [stored] = logmel_pieces(path, LogMel(predictor.bundle.spec, predictor.bundle.bank))
    given = []

    def record(segments):
        given.append(segments.copy())
        return np.zeros((len(segments), 3), np.float32), None

    monkeypatch.setattr(predictor, "run", record)
    count = len(predictor.classify(io.BytesIO(path.read_bytes())).segments)
    monkeypatch.undo()
    hop = predictor.bundle.segment_hop
    segments = np.concatenate(given)[-count:]  # those of the second decoding
    for number, segment in enumerate(segments[:-1]):
        expected = stored[number * hop : number * hop + len(segment)]
        np.testing.assert_array_equal(np.round(segment * 255), expected)
    prediction = predictor.classify(path)
    assert prediction == predictor.classify(io.BytesIO(path.read_bytes()))
    assert prediction.segments[0].genre == "bass"
    assert prediction.segments[-1].genre == "whistle"


def test_too_long_and_undecodable_are_refused(predictor, tmp_path):
    with pytest.raises(AudioError) as caught:
        predictor.classify(write_tone(tmp_path / "a.wav", "bass", 5.0), max_seconds=4.0)
    assert caught.value.code == "too_long"
    (tmp_path / "b.mp3").write_text("these are words")
    with pytest.raises(AudioError) as caught:
        predictor.classify(tmp_path / "b.mp3")
    assert caught.value.code == "undecodable"


def test_memory_hardly_depends_on_the_duration(predictor, tmp_path):
    def peak(seconds):
        path = tmp_path / f"{seconds}.wav"
        with sf.SoundFile(path, "w", 8000, 1) as file:
            for _ in range(seconds // 60):
                file.write(tone("bass", 60.0))
        tracemalloc.start()
        try:
            prediction = predictor.classify(path)
            return tracemalloc.get_traced_memory()[1], prediction
        finally:
            tracemalloc.stop()

    minutes, _ = peak(120)
    hour, prediction = peak(3600)
    assert prediction.duration == 3600.0
    assert len(prediction.segments) > 3500
    # Only the prediction grows: a thousand segments take a quarter of a megabyte.
    assert hour < minutes + 3_000_000


def test_a_model_that_does_not_match_its_labels_or_prototypes_is_refused(predictor, tmp_path):
    source = predictor.bundle
    common = {
        "spec": source.spec,
        "bank": source.bank,
        "segment_frames": source.segment_frames,
        "segment_hop": source.segment_hop,
        "temperature": 1.0,
        "abstain_below": 0.0,
        "architecture": "toy",
        "lineage": {},
    }
    write_bundle(tmp_path / "four", onnx=source.onnx_path, labels=["a", "b", "c", "d"], **common)
    with pytest.raises(GenreflowError, match="labels"):
        Predictor(tmp_path / "four")
    other_size = Familiarity(prototypes=np.ones((5, 7), np.float16), refuse_above=0.5, tracks=9, share=0.0)
    write_bundle(tmp_path / "size", onnx=source.onnx_path, labels=LABELS, familiarity=other_size, **common)
    with pytest.raises(GenreflowError, match="prototypes"):
        Predictor(tmp_path / "size")
    proto = onnx.load(source.onnx_path)
    del proto.graph.output[1]
    one_output = proto.SerializeToString()
    write_bundle(tmp_path / "one_output", onnx=one_output, labels=LABELS, familiarity=other_size, **common)
    with pytest.raises(GenreflowError, match="got no embeddings"):
        Predictor(tmp_path / "one_output")
    write_bundle(tmp_path / "plain", onnx=one_output, labels=LABELS, **common)
    assert Predictor(tmp_path / "plain").bundle.familiarity is None
    write_bundle(tmp_path / "broken", onnx=b"no model", labels=["a", "b", "c"], **common)
    with pytest.raises(GenreflowError, match="ONNX Runtime"):
        Predictor(tmp_path / "broken")


def test_the_toy_bundle_has_a_tone_for_each_label(predictor):
    assert isinstance(predictor.bundle, Bundle)
    assert set(TONES) == set(predictor.bundle.labels)


# Replaces the bundle once for each line that it reads: so many seconds after it.
REPLACE = """
import sys, time
from pathlib import Path
from genreflow.bundle import stamp
target, *sources = map(Path, sys.argv[1:])
for number, line in enumerate(sys.stdin):
    time.sleep(float(line))
    stamp(sources[number % 2], target, version=str(number), metrics={})
    print(number, flush=True)
"""


def test_a_bundle_that_is_replaced_meanwhile_is_loaded_as_a_whole(tmp_path):
    """A mixture of two bundles would fail its hashes, or answer wrongly."""
    for name, temperature in (("one", 1.0), ("two", 2.0)):
        write_toy_bundle(tmp_path / name, temperature=temperature)
    target = tmp_path / "champion"
    stamp(tmp_path / "one", target, version="-1", metrics={})
    command = [sys.executable, "-c", REPLACE, target, tmp_path / "one", tmp_path / "two"]
    rng, seen, seconds = np.random.default_rng(0), [], 0.02
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        for number in range(40):
            # At any time of a load, however long it takes, and once: a load gives up if each attempt is disturbed.
            process.stdin.write(f"{rng.uniform(0, seconds)}\n")
            begin = time.monotonic()
            seen.append(int(Predictor(target).bundle.version))
            seconds = time.monotonic() - begin
            assert process.stdout.readline() == f"{number}\n"
        process.stdin.close()
    assert process.returncode == 0
    # Each load gives the bundle before or after its replacement; -1 is the first one.
    assert all(version in (number - 1, number) for number, version in enumerate(seen))
    assert len(set(seen)) > 5
    assert Predictor(target).bundle.version == "39"
