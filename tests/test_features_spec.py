"""The parameters of a spectrogram: their checks, the durations that follow from them, and their key."""

import json

import pytest
from pydantic import ValidationError

from genreflow.errors import ParameterError
from genreflow.features import spec as module
from genreflow.features.spec import FeatureSpec

# Of the default parameters. With another key, all features would be computed again.
KEY = "32c47b030d23e602"


def test_replace_validates_the_new_values():
    spec = FeatureSpec().replace(frames_kept=387, level_reference="minmax")
    assert (spec.frames_kept, spec.level_reference, spec.n_mels) == (387, "minmax", 128)
    for name, value in {"frames_kept": 387, "hop_length": 4096, "n_mels": 0, "unknown": 1}.items():
        with pytest.raises(ParameterError, match=name):
            FeatureSpec(clip_seconds=1.0).replace(**{name: value})


def test_a_spec_is_immutable():
    with pytest.raises(ValidationError):
        FeatureSpec().n_mels = 64


def test_frames_and_seconds():
    spec = FeatureSpec()
    assert (spec.clip_samples, spec.frames_computed, spec.frames_per_clip) == (661500, 1292, 1292)
    assert spec.frames(4.0) == 172
    assert spec.seconds(spec.frames_per_clip) == pytest.approx(spec.clip_seconds)
    assert spec.frames(0.0) == 1
    kept = spec.replace(frames_kept=387)
    assert kept.frames_per_clip == 387
    assert kept.frames(30.0) == 387


def test_the_key_identifies_spec_and_feature_version(monkeypatch):
    spec = FeatureSpec()
    assert spec.key == KEY
    assert FeatureSpec(**json.loads(json.dumps(spec.to_dict()))).key == spec.key
    assert FeatureSpec(clip_seconds=30).key == spec.key
    assert spec.replace(n_mels=64).key != spec.key
    monkeypatch.setattr(module, "FEATURE_VERSION", module.FEATURE_VERSION + 1)
    assert FeatureSpec().key != KEY
