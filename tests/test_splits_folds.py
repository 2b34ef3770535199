"""Experiments of a k-fold split are pooled; those of different splits are refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from genreflow.errors import ParameterError
from genreflow.splits.folds import FoldResult, pool, read_folds

GROUPS = {f"t{number}": f"artist {number // 2}" for number in range(12)}


def make_fold(number: int, *, wrong: int = 0, folds: int = 3) -> FoldResult:
    """Return a fold with four tracks of two genres, of which the first `wrong` are misclassified."""
    test = [f"t{4 * number + i}" for i in range(4)]
    rows = [
        {"track": track, "actual": "ab"[i % 2], "predicted": "ba"[i % 2] if i < wrong else "ab"[i % 2]}
        for i, track in enumerate(test)
    ]
    split = {"method": "kfold", "folds": folds, "fold": number, "test": test, "groups": GROUPS, "groups_known": True}
    return FoldResult(experiment=f"exp-{number}", split=split, predictions=rows)


def changed(fold: FoldResult, **fields) -> FoldResult:
    return replace(fold, split={**fold.split, **fields})


def test_every_track_counts_once():
    pooled = pool([make_fold(2, wrong=4), make_fold(0), make_fold(1, wrong=1)])
    assert (pooled["tracks"], pooled["accuracy"]) == (12, 7 / 12)
    assert [row["accuracy"] for row in pooled["folds"]] == [1, 0.75, 0]
    assert [row["experiment"] for row in pooled["folds"]] == ["exp-0", "exp-1", "exp-2"]
    assert pooled["accuracy_mean"] == pytest.approx(1.75 / 3)
    assert pooled["accuracy_std"] == pytest.approx(0.5204165)
    assert pooled["accuracy_low"] < 7 / 12 < pooled["accuracy_high"]
    # Six tracks of each genre: three of a are classified as b, two of b as a.
    assert pooled["macro_f1"] == pytest.approx((2 * 3 / (2 * 3 + 2 + 3) + 2 * 4 / (2 * 4 + 3 + 2)) / 2)


def test_the_interval_is_wider_if_tracks_are_grouped_by_artist():
    known = [make_fold(0), make_fold(1, wrong=2), make_fold(2, wrong=2)]
    unknown = [changed(fold, groups_known=False) for fold in known]
    widths = [pooled["accuracy_high"] - pooled["accuracy_low"] for pooled in (pool(known), pool(unknown))]
    assert widths[0] > widths[1]


@pytest.mark.parametrize(
    ("folds", "named"),
    [
        ([], "split.method=kfold"),
        ([make_fold(0), make_fold(2)], "missing 1"),
        ([make_fold(0), make_fold(1), make_fold(2), make_fold(1)], r"exp-1: .* as exp-1; got fold 1 of 3"),
        ([make_fold(0), make_fold(1, folds=4)], "exp-1: .* as exp-0; got fold 1 of 4"),
        ([make_fold(0), changed(make_fold(1), method="group")], r"exp-1: split\.method must be kfold; got group"),
        ([make_fold(0), make_fold(1), changed(make_fold(2), test=["t0"])], r"split\.seed"),
    ],
)
def test_experiments_that_are_not_folds_of_one_split_are_refused(folds, named):
    with pytest.raises(ParameterError, match=named):
        pool(folds)


@pytest.mark.parametrize("damaged", ["split.json", "predictions.json"])
@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "null", "3", "[1]", "[{}]", "{}", '"text"'])
def test_damaged_files_of_an_experiment_are_refused(monkeypatch, damaged, text):
    import dvc.api

    fold = make_fold(0)
    content = {"split.json": json.dumps(fold.split), "predictions.json": json.dumps(fold.predictions)} | {damaged: text}
    monkeypatch.setattr(dvc.api, "exp_show", lambda **_: [])
    monkeypatch.setattr(dvc.api, "read", lambda path, **_: content[path])
    with pytest.raises(ParameterError, match=f"exp-0: {damaged} must be"):
        read_folds(".", ["exp-0"], split=Path("split.json"), predictions=Path("predictions.json"))
