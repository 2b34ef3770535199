"""Fit options and segment parameters know their ranges, and take the rest from the architecture."""

import pytest
from pydantic import ValidationError

from genreflow.training.options import FitOptions
from genreflow.training.params import SegmentParams


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", 0), ("label_smoothing", 1.0), ("optimiser", "lion"), ("epoch", 3), ("gain", -0.1), ("seed", 2**32)],
)
def test_a_value_out_of_range_is_named(name, value):
    with pytest.raises(ValidationError) as caught:
        FitOptions(**{name: value})
    assert [error["loc"] for error in caught.value.errors()] == [(name,)]


def test_learning_rate_and_optimiser_default_to_those_of_the_architecture():
    assert FitOptions().resolve("cnn_gru").optimiser == "momentum"
    assert FitOptions(learning_rate=0.5).resolve("cnn_gru").learning_rate == 0.5
    assert FitOptions().resolve("not in the registry").learning_rate is None


def test_precision_follows_the_architecture_and_the_processor(monkeypatch):
    for has_tiles in (False, True):
        monkeypatch.setattr("genreflow.training.options.cpu_has_bfloat16_tiles", lambda value=has_tiles: value)
        assert FitOptions().resolve("vgg_large").precision == ("bfloat16" if has_tiles else "float32")
        assert FitOptions().resolve("parallel_cnn").precision == "float32"
        assert FitOptions(precision="bfloat16").resolve("parallel_cnn").precision == "bfloat16"


def test_unregularised_options_set_what_is_given_and_switch_off_the_rest():
    options = FitOptions.unregularised(epochs=3, noise=0.1)
    assert (options.epochs, options.noise) == (3, 0.1)
    assert (options.mixup, options.weight_decay, options.label_smoothing, options.schedule) == (0, 0, 0, "constant")
    assert options.batch_size == FitOptions().batch_size


def test_a_study_replaces_segment_parameters_and_keeps_the_overlap():
    segments = SegmentParams(seconds=4.0, hop_seconds=1.0, coefficients=20, image=(80, 80))
    assert segments.override({}) == segments
    changed = segments.override({"seconds": 8.0, "coefficients": None})
    assert changed == SegmentParams(seconds=8.0, hop_seconds=2.0, coefficients=None, image=(80, 80))
    # Without overlap, rounding must not make the hop longer than the segment.
    adjacent = SegmentParams(seconds=3.3, hop_seconds=3.3)
    for seconds in (0.7, 1.1, 2.3, 5.7):
        assert adjacent.override({"seconds": seconds}).hop_seconds == pytest.approx(seconds)
    with pytest.raises(ValidationError, match="seconds"):
        segments.override({"seconds": 900.0})


def test_a_hop_longer_than_the_segment_is_refused():
    with pytest.raises(ValidationError, match="hop_seconds"):
        SegmentParams(seconds=2.0, hop_seconds=3.0)
