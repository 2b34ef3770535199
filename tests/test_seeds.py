"""Every seed that params.yaml accepts is one that the library it goes to accepts."""

import pytest
import yaml

from genreflow.errors import ParameterError
from genreflow.manifest.track import Track
from genreflow.params import parse_params
from genreflow.splits.assign import assign_folds
from genreflow.splits.methods import METHODS
from genreflow.splits.params import SplitParams
from genreflow.splits.segment_parts import SegmentParts
from genreflow.training.fit import fit
from genreflow.training.options import FitOptions
from genreflow.tuning.params import TuneParams
from training_toy import OPTIONS, make_model, make_segments

MODELS = {"split": SplitParams, "tune": TuneParams, "train": FitOptions}


def ends(section: str) -> list[int]:
    schema = MODELS[section].model_json_schema()["properties"]["seed"]
    return [schema["minimum"], schema["maximum"]]


@pytest.mark.parametrize("section", MODELS)
def test_seeds_beyond_the_range_are_refused(root, section):
    low, high = ends(section)
    content = yaml.safe_load((root / "params.yaml").read_text())
    for seed in (low - 1, high + 1, 10**400, 1.5, None):
        content[section]["seed"] = seed
        with pytest.raises(ParameterError, match=rf"{section}\.seed"):
            parse_params(content)


@pytest.mark.parametrize("seed", ends("split"))
@pytest.mark.parametrize("method", ["group", "kfold", "segment", "track"])
def test_splits(seed, method):
    tracks = [
        Track(id=f"{genre}{n}", genre=genre, path=f"{genre}{n}.wav", group=f"{genre}{n}", group_source="folder")
        for genre in "ab"
        for n in range(9)
    ]
    groups = {track.id: track.group for track in tracks}
    parts = METHODS[method](tracks, groups, SplitParams(method=method, seed=seed), {}).parts
    assert all(parts.values())
    assert SegmentParts(fractions=(0.5, 0.25, 0.25), seed=seed).mask("train", "key", 100).sum() == 50
    assert len(set(assign_folds(list("abcdefgh"), ["x"] * 8, folds=4, seed=seed))) == 4


@pytest.mark.parametrize("seed", ends("train"))
def test_fits(seed):
    options = OPTIONS.model_copy(update={"seed": seed, "epochs": 1, "mixup": 0.2, "time_masks": 1})
    data = make_segments(12, 1)
    for name in ("efficient", "parallel_cnn"):
        assert fit(make_model(name, seed=seed), data, data, options).epochs == 1
