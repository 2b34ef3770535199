"""K-fold experiments come together as one figure, and nothing comes together that does not belong."""

from dataclasses import replace

import pytest

from genreflow.errors import ParameterError
from genreflow.splits.folds import FoldResult, pool

GROUPS = {f"t{number}": f"artist {number // 2}" for number in range(12)}


def fold(number: int, *, wrong: int = 0, folds: int = 3) -> FoldResult:
    """Four tracks of two genres, of which the first `wrong` are taken for the other one."""
    test = [f"t{4 * number + i}" for i in range(4)]
    rows = [
        {"track": track, "actual": "ab"[i % 2], "predicted": "ba"[i % 2] if i < wrong else "ab"[i % 2]}
        for i, track in enumerate(test)
    ]
    split = {"method": "kfold", "folds": folds, "fold": number, "test": test, "groups": GROUPS, "groups_known": True}
    return FoldResult(experiment=f"exp-{number}", split=split, predictions=rows)


def test_every_track_counts_once():
    found = pool([fold(2, wrong=4), fold(0), fold(1, wrong=1)])
    assert (found["tracks"], found["accuracy"]) == (12, 7 / 12)
    assert [row["accuracy"] for row in found["folds"]] == [1, 0.75, 0]
    assert [row["experiment"] for row in found["folds"]] == ["exp-0", "exp-1", "exp-2"]
    assert found["accuracy_mean"] == pytest.approx(1.75 / 3)
    assert found["accuracy_std"] == pytest.approx(0.5204165)
    assert found["accuracy_low"] < 7 / 12 < found["accuracy_high"]
    # By hand: of six each, three of a are taken for b, and two of b for a.
    assert found["macro_f1"] == pytest.approx((2 * 3 / (2 * 3 + 2 + 3) + 2 * 4 / (2 * 4 + 3 + 2)) / 2)


def test_artists_are_drawn_whole():
    known = [fold(0), fold(1, wrong=2), fold(2, wrong=2)]
    unknown = [replace(one, split={**one.split, "groups_known": False}) for one in known]
    width = [found["accuracy_high"] - found["accuracy_low"] for found in (pool(known), pool(unknown))]
    assert width[0] > width[1]


@pytest.mark.parametrize(
    ("tested", "words"),
    [
        ([], "There is no k-fold experiment"),
        ([fold(0), fold(2)], "Of 3 folds 1 is missing"),
        ([fold(0), fold(1), fold(2), fold(1)], r"exp-1 \(fold 1 of 3\) and exp-1 are not of one series"),
        ([fold(0), fold(1, folds=4)], "not of one series"),
        ([fold(0), replace(fold(1), split={**fold(1).split, "method": "group"})], "exp-1 was split by group"),
        ([fold(0), fold(1), replace(fold(2), split={**fold(2).split, "test": ["t0"]})], r"split\.seed differ"),
    ],
)
def test_what_does_not_belong_together_is_refused(tested, words):
    with pytest.raises(ParameterError, match=words):
        pool(tested)
