"""The search space of a study: its dimensions come from params.yaml, its name from space and data."""

from dataclasses import replace
from itertools import pairwise

import pytest
import yaml

from genreflow.errors import ParameterError
from genreflow.models import MODELS, Choice, Float, Int
from genreflow.params import Params, parse_params
from genreflow.tuning.params import TuneParams
from genreflow.tuning.sampling import published_parameters
from genreflow.tuning.search_space import SearchSpace, searched_dimensions, study_name

TUNE = TuneParams(architectures=("efficient", "parallel_cnn"))
SPACE = SearchSpace(TUNE.architectures, learning_rate=None, fixed={}, dimensions={})
MIXUP = Float(low=0.0, high=0.4, default=0.2)


@pytest.fixture
def params(root) -> Params:
    content = yaml.safe_load((root / "params.yaml").read_text())
    content["train"] |= {"mixup": 0.2, "band_shift": 2, "batch_size": 32, "schedule": "cosine"}
    content["segments"] |= {"seconds": 4.0, "hop_seconds": 2.0, "coefficients": None}
    return parse_params(content)


def dimensions(params, search):
    tune = TuneParams(architectures=("efficient",), search=search)
    return searched_dimensions(tune, params.train, params.segments)


def test_searched_parameters_become_dimensions_whose_defaults_are_the_values_of_params_yaml(params):
    search = {
        "train.mixup": {"low": 0.3, "high": 0.4},
        "train.band_shift": {"low": 0, "high": 4},
        "train.batch_size": {"low": 8, "high": 64, "log": True},
        "train.schedule": ["constant", "step"],
        "segments.seconds": [1.0, 4.0],
        "segments.coefficients": [None, 20],
    }
    assert dimensions(params, search) == {
        "train.mixup": Float(low=0.3, high=0.4, default=0.3),
        "train.band_shift": Int(low=0, high=4, default=2),
        "train.batch_size": Int(low=8, high=64, default=32, log=True),
        "train.schedule": Choice(values=("constant", "step"), default="constant"),
        "segments.seconds": Choice(values=(1.0, 4.0), default=4.0),
        "segments.coefficients": Choice(values=(None, 20), default=None),
    }


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("train.epochs", [1, 2]),
        ("train.no_such_parameter", [1, 2]),
        ("segments.hop_seconds", [1.0, 2.0]),
        ("mixup", [0.1, 0.2]),
        ("train.mixup", [0.1, -3]),
        ("train.mixup", {"low": 0.0, "high": 99.0}),
        ("train.optimiser", []),
        ("train.optimiser", ["adagrad"]),
        ("segments.seconds", [4.0, 900.0]),
    ],
)
def test_a_parameter_that_cannot_be_searched_or_a_value_out_of_its_range_is_named(params, name, values):
    with pytest.raises(ParameterError, match=name):
        dimensions(params, {name: values})


def test_a_study_is_named_after_data_and_space_but_not_after_its_budget():
    name = study_name(SPACE, TUNE, "manifest", "split")
    budget = TUNE.model_copy(update={"trials": 100, "hours": 60.0, "seed": 9})
    assert name == study_name(SPACE, budget, "manifest", "split")
    spaces = [
        replace(SPACE, architectures=("efficient",)),
        replace(SPACE, learning_rate=(1e-4, 1e-2)),
        replace(SPACE, fixed={"efficient": {"width": 8}}),
        replace(SPACE, dimensions={"train.mixup": MIXUP}),
        replace(SPACE, dimensions={"train.mixup": replace(MIXUP, high=0.5)}),
    ]
    names = [name, study_name(SPACE, TUNE, "other manifest", "split")]
    names += [study_name(SPACE, TUNE.model_copy(update={"epochs": 11}), "manifest", "split")]
    names += [study_name(space, TUNE, "manifest", "split") for space in spaces]
    assert len(set(names)) == len(names)
    assert all(a != b for a, b in pairwise(names))
    # The default of a dimension changes the first trials, not what can be searched.
    spaces = [replace(SPACE, dimensions={"train.mixup": replace(MIXUP, default=at)}) for at in (0.1, 0.2)]
    assert spaces[0].hash == spaces[1].hash


def test_the_first_configuration_of_an_architecture_is_the_published_one():
    space = replace(
        SPACE,
        dimensions={
            "train.batch_size": Choice(values=(16, 128), default=16),
            "train.mixup": MIXUP,
            "train.band_shift": Int(low=0, high=4, default=2),
            "segments.seconds": Choice(values=(2.0, 4.0), default=4.0),
        },
    )
    ours, published = (published_parameters(name, space) for name in SPACE.architectures)
    assert MODELS["efficient"].protocol.options["band_shift"] == ours["train.band_shift"] == 4
    assert (ours["train.mixup"], ours["train.batch_size"], ours["segments.seconds"]) == (0.3, 16, 4.0)
    assert (published["train.mixup"], published["train.band_shift"], published["train.batch_size"]) == (0.0, 0, 128)
    # A published value outside the range is replaced by that of params.yaml.
    narrow = replace(space, dimensions={"train.mixup": Float(low=0.35, high=0.4, default=0.35)})
    assert published_parameters("efficient", narrow)["train.mixup"] == 0.35
