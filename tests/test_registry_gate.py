"""The gate's rules, one by one, and the pointer it moves."""

import json
import os

import pytest

from genreflow.errors import GenreflowError, ParameterError
from genreflow.registry.gate import decide
from genreflow.registry.pointer import Champion, Pointer, read_pointer, write_pointer


def judged(right, wrong=0):
    """Answers to tracks: the first `right` of them right, the rest wrong."""
    return {f"track {i:03}": i < right for i in range(right + wrong)}


def test_a_better_candidate_is_promoted():
    report = decide(judged(80, 20), judged(60, 40), majority_accuracy=0.1)
    assert (report.promote, report.rule) == (True, "compared")
    assert report.probability_better > 0.99
    assert (report.candidate_accuracy, report.champion_accuracy, report.tracks) == (0.8, 0.6, 100)
    assert "80.0%" in report.reason
    assert "60.0%" in report.reason
    assert json.loads(json.dumps(report.to_dict())) == report.to_dict()


def test_neither_a_worse_nor_an_equal_candidate_is():
    for candidate in (judged(60, 40), judged(70, 30)):
        report = decide(candidate, judged(70, 30), majority_accuracy=0.1)
        assert (report.promote, report.rule) == (False, "compared")
        assert "not promoted" in report.reason


def test_how_sure_is_sure_enough_can_be_set():
    candidate, champion = judged(52, 48), judged(50, 50)
    probability = decide(candidate, champion, majority_accuracy=0.1).probability_better
    assert 0.8 < probability < 0.99
    assert decide(candidate, champion, majority_accuracy=0.1, min_probability=probability).promote
    assert not decide(candidate, champion, majority_accuracy=0.1, min_probability=0.99).promote


def test_tracks_are_paired_by_name_not_by_order():
    candidate = judged(80, 20)
    shuffled = dict(reversed(candidate.items()))
    assert decide(candidate, shuffled, majority_accuracy=0.1).probability_better == 0.5


def test_one_artist_alone_does_not_convince():
    candidate, champion = judged(100), judged(100) | {f"track {i:03}": False for i in range(5)}
    groups = {f"track {i:03}": "the one artist" for i in range(5)}
    assert decide(candidate, champion, majority_accuracy=0.1).probability_better > 0.99
    assert decide(candidate, champion, majority_accuracy=0.1, groups=groups).probability_better < 0.9


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"champion_correct": None}, "no champion"),
        ({"champion_correct": None, "same_labels": False}, "other genres"),
        ({"champion_correct": judged(99, 1), "test_in_champion_training": True}, "trained on some of the test tracks"),
        ({"champion_correct": judged(99, 1), "test_in_champion_training": None}, "not known"),
    ],
)
def test_without_a_comparison_the_majority_class_is_to_be_beaten(facts, words):
    better = decide(judged(30, 70), majority_accuracy=0.2, **facts)
    assert (better.promote, better.rule, better.probability_better) == (True, "new_line", None)
    assert words in better.reason
    equal = decide(judged(20, 80), majority_accuracy=0.2, **facts)
    assert (equal.promote, equal.rule) == (False, "new_line")


def test_the_champion_itself_changes_nothing():
    report = decide(judged(80, 20), judged(80, 20), majority_accuracy=0.1, same_bundle=True)
    assert (report.promote, report.rule) == (False, "unchanged")


def test_what_was_rolled_back_does_not_return_by_itself():
    report = decide(judged(99, 1), judged(10, 90), majority_accuracy=0.1, rolled_back=True)
    assert (report.promote, report.rule) == (False, "rolled_back")
    assert "genreflow registry promote" in report.reason


def test_a_worn_test_split_is_mentioned():
    assert "judged" not in decide(judged(5), None, majority_accuracy=0.1).reason
    report = decide(judged(5), None, majority_accuracy=0.1, times_test_split_used=7)
    assert "judged 7 candidates" in report.reason
    assert report.times_test_split_used == 7


def test_different_tracks_cannot_be_compared():
    with pytest.raises(ParameterError, match="track 009"):
        decide(judged(10), judged(9), majority_accuracy=0.1)
    with pytest.raises(ParameterError, match="no test tracks"):
        decide({}, None, majority_accuracy=0.1)


def champion(number):
    return Champion(version=str(number), bundle_hash=f"hash {number}", reason="it is better, à peu près")


def test_the_pointer_remembers_and_forgets_champions(tmp_path):
    path = tmp_path / "models" / "champion.json"
    assert read_pointer(path) is None
    first = Pointer(name="genre-classifier", champion=champion(1))
    write_pointer(first, path)
    text = path.read_text(encoding="utf-8")
    third = first.advance(champion(2)).advance(champion(3))
    write_pointer(third, path)
    assert read_pointer(path) == third
    assert json.loads(path.read_text(encoding="utf-8"))["version"] == "3"
    write_pointer(third.go_back().go_back(), path)
    assert path.read_text(encoding="utf-8") == text, "going back must give the very file of that day"
    with pytest.raises(GenreflowError, match="none to go back to"):
        first.go_back()


def test_a_pointer_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "champion.json"
    write_pointer(Pointer(name="genre-classifier", champion=champion(1)), path)

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        write_pointer(Pointer(name="genre-classifier", champion=champion(2)), path)
    assert read_pointer(path).champion.version == "1"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "{", "[]", "<<<<<<< HEAD", '{"name": "x", "previous": []}', '{"previous": 3}'])
def test_a_damaged_pointer_is_named(tmp_path, text):
    path = tmp_path / "champion.json"
    path.write_text(text)
    with pytest.raises(GenreflowError, match="no champion pointer"):
        read_pointer(path)
