"""The rules of the gate, one by one and in their order, and the champion pointer."""

import json
import os

import pytest

from genreflow.errors import GenreflowError, ParameterError
from genreflow.registry.gate import (
    RULES,
    Evidence,
    decide,
    leaking_split,
    majority_baseline,
    paired_comparison,
    rolled_back,
    unchanged,
)
from genreflow.registry.params import GateParams
from genreflow.registry.pointer import Champion, Pointer, read_pointer, write_pointer


def results(correct: int, wrong: int = 0) -> dict[str, bool]:
    """Return whether each of some test tracks is classified correctly: the first `correct` of them are."""
    return {f"track {i:03}": i < correct for i in range(correct + wrong)}


def make_evidence(candidate=None, champion=None, **facts) -> Evidence:
    """Return evidence that only `paired_comparison` decides on, unless changed by `facts`."""
    defaults = {
        "candidate_correct": results(80, 20) if candidate is None else candidate,
        "champion_correct": results(60, 40) if champion is None else champion,
        "majority_accuracy": 0.1,
        "min_probability": GateParams().min_probability,
    }
    return Evidence(**defaults | facts)


def test_the_champion_remains_champion():
    assert unchanged(make_evidence()) is None
    decision = unchanged(make_evidence(same_bundle=True))
    assert (decision.promote, decision.rule) == (False, "unchanged")


def test_a_candidate_of_a_leaking_split_is_never_promoted():
    assert leaking_split(make_evidence()) is None
    decision = leaking_split(make_evidence(champion_correct=None, leaking=True))
    assert (decision.promote, decision.rule) == (False, "leaking")


def test_a_version_that_was_rolled_back_is_not_promoted():
    assert rolled_back(make_evidence()) is None
    decision = rolled_back(make_evidence(rolled_back=True))
    assert (decision.promote, decision.rule) == (False, "rolled_back")
    assert "genreflow registry promote" in decision.reason


@pytest.mark.parametrize(
    "obstacle",
    [
        {"champion_correct": None},
        {"champion_correct": None, "same_labels": False},
        {"same_labels": False},
        {"test_in_champion_training": True},
        {"test_in_champion_training": None},
    ],
)
def test_without_a_comparable_champion_a_candidate_must_beat_the_majority_baseline(obstacle):
    better = majority_baseline(make_evidence(majority_accuracy=0.79, **obstacle))
    assert (better.promote, better.rule) == (True, "baseline")
    assert better.probability_better is better.champion_accuracy is None
    equal = majority_baseline(make_evidence(majority_accuracy=0.8, **obstacle))
    assert (equal.promote, equal.rule) == (False, "baseline")
    assert better.reason != equal.reason


def test_with_a_comparable_champion_the_baseline_does_not_decide():
    assert majority_baseline(make_evidence()) is None


def test_a_better_candidate_is_promoted():
    decision = paired_comparison(make_evidence())
    assert (decision.promote, decision.rule, decision.champion_accuracy) == (True, "compared", 0.6)
    assert decision.probability_better > 0.99


@pytest.mark.parametrize("candidate", [results(60, 40), results(70, 30)])
def test_a_worse_or_equal_candidate_is_not_promoted(candidate):
    decision = paired_comparison(make_evidence(candidate, results(70, 30)))
    assert (decision.promote, decision.rule) == (False, "compared")


def test_the_probability_that_suffices_is_a_parameter():
    candidate, champion = results(52, 48), results(50, 50)
    probability = paired_comparison(make_evidence(candidate, champion)).probability_better
    assert 0.8 < probability < 0.99
    assert paired_comparison(make_evidence(candidate, champion, min_probability=probability)).promote
    assert not paired_comparison(make_evidence(candidate, champion, min_probability=0.99)).promote


def test_predictions_are_paired_by_track_and_not_by_order():
    candidate = results(80, 20)
    decision = paired_comparison(make_evidence(candidate, dict(reversed(candidate.items()))))
    assert decision.probability_better == 0.5


def test_tracks_of_one_group_count_as_one_observation():
    candidate, champion = results(100), results(100) | {f"track {i:03}": False for i in range(5)}
    groups = {f"track {i:03}": "one artist" for i in range(5)}
    assert paired_comparison(make_evidence(candidate, champion)).probability_better > 0.99
    assert paired_comparison(make_evidence(candidate, champion, groups=groups)).probability_better < 0.9


def test_the_first_rule_that_decides_decides():
    """Evidence on which all rules decide, then one after the other no longer does."""
    facts = {"same_bundle": True, "leaking": True, "rolled_back": True, "same_labels": False}
    order = []
    while True:
        order.append(decide(make_evidence(**facts)).rule)
        if not facts:
            break
        facts.pop(next(iter(facts)))
    assert order == ["unchanged", "leaking", "rolled_back", "baseline", "compared"]
    assert len(RULES) == len(order)


def test_the_report_has_the_figures_and_is_valid_json():
    report = decide(make_evidence())
    assert (report.promote, report.rule, report.tracks) == (True, "compared", 100)
    assert (report.candidate_accuracy, report.champion_accuracy, report.majority_accuracy) == (0.8, 0.6, 0.1)
    assert json.loads(json.dumps(report.to_dict())) == report.to_dict()


def test_the_report_says_how_often_the_test_split_was_used():
    once, often = (decide(make_evidence(times_test_split_used=n)) for n in (1, 7))
    assert often.times_test_split_used == 7
    assert often.reason.startswith(once.reason)
    assert "7 candidates" in often.reason


def test_candidate_and_champion_need_predictions_for_the_same_tracks():
    with pytest.raises(ParameterError, match="track 009"):
        make_evidence(results(10), results(9))
    with pytest.raises(ParameterError):
        make_evidence({}, champion_correct=None)


def make_champion(number: int) -> Champion:
    return Champion(version=str(number), bundle_hash=f"hash {number}", reason="it is better, à peu près")


def test_a_rollback_restores_the_pointer_byte_by_byte(tmp_path):
    path = tmp_path / "models" / "champion.json"
    assert read_pointer(path) is None
    first = Pointer(name="genre-classifier", champion=make_champion(1))
    write_pointer(first, path)
    text = path.read_text(encoding="utf-8")
    third = first.advance(make_champion(2)).advance(make_champion(3))
    write_pointer(third, path)
    assert read_pointer(path) == third
    assert json.loads(path.read_text(encoding="utf-8"))["version"] == "3"
    write_pointer(third.roll_back().roll_back(), path)
    assert path.read_text(encoding="utf-8") == text
    with pytest.raises(GenreflowError, match="version 1"):
        first.roll_back()


def test_a_pointer_is_written_atomically(tmp_path, monkeypatch):
    path = tmp_path / "champion.json"
    write_pointer(Pointer(name="genre-classifier", champion=make_champion(1)), path)

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        write_pointer(Pointer(name="genre-classifier", champion=make_champion(2)), path)
    assert read_pointer(path).champion.version == "1"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "{", "[]", "<<<<<<< HEAD", '{"name": "x", "previous": []}', '{"previous": 3}'])
def test_a_damaged_pointer_is_named(tmp_path, text):
    path = tmp_path / "champion.json"
    path.write_text(text)
    with pytest.raises(GenreflowError, match=r"champion\.json.*git checkout"):
        read_pointer(path)
