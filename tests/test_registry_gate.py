"""The rules of the gate, one by one and in their order, and the champion pointer."""

import json
import os

import pytest
from pydantic import ValidationError

from genreflow.errors import GenreflowError, ParameterError
from genreflow.registry.comparison import ComparedTrack, compare
from genreflow.registry.evidence import OBSTACLES, Evidence
from genreflow.registry.gate import (
    REFUSALS,
    RULES,
    decide,
    first_champion,
    genre_loss,
    incomparable,
    leaking_split,
    paired_comparison,
    rolled_back,
    too_few_tracks,
    unchanged,
)
from genreflow.registry.params import GateParams
from genreflow.registry.pointer import Champion, Pointer, read_pointer, write_pointer


def results(correct: int, wrong: int = 0) -> dict[str, bool]:
    """Return whether each of some test tracks is classified correctly: the first `correct` of them are."""
    return {f"track {i:03}": i < correct for i in range(correct + wrong)}


def compared(candidate: dict[str, bool], champion: dict[str, bool], *, groups=None, genres=None, excluded=0):
    """Compare the results of champion and candidate; `groups` and `genres` are by track."""
    genres = genres or {}
    rows = [
        ComparedTrack(
            track=track,
            group=(groups or {}).get(track, track),
            genre=genres.get(track, "jazz"),
            first=genres.get(track, "jazz") if champion[track] else "wrong",
            second=genres.get(track, "jazz") if candidate[track] else "wrong",
        )
        for track in candidate
    ]
    return compare(rows, names=("champion", "candidate"), groups_known=groups is not None, excluded=excluded)


def make_evidence(candidate=None, former=None, *, groups=None, genres=None, params=None, **facts) -> Evidence:
    """Return evidence that only `paired_comparison` decides on, unless changed by `facts`."""
    candidate = results(80, 20) if candidate is None else candidate
    former = results(60, 40) if former is None else former
    if "comparison" not in facts:
        facts["comparison"] = compared(candidate, former, groups=groups, genres=genres)
    defaults = {
        "candidate_correct": candidate,
        "majority_accuracy": 0.1,
        "registered_model": "genre-classifier",
        "champion": "7",
        "params": GateParams(**(params or {})),
    }
    return Evidence(**defaults | facts)


NO_CHAMPION = {"champion": None, "comparison": None}


def test_the_champion_remains_champion():
    assert unchanged(make_evidence()) is None
    decision = unchanged(make_evidence(same_bundle=True))
    assert (decision.promote, decision.rule) == (False, "unchanged")


def test_a_candidate_of_a_leaking_split_is_never_promoted():
    assert leaking_split(make_evidence()) is None
    decision = leaking_split(make_evidence(**NO_CHAMPION, leaking=True))
    assert (decision.promote, decision.rule) == (False, "leaking")


def test_a_version_that_was_rolled_back_is_not_promoted():
    assert rolled_back(make_evidence()) is None
    decision = rolled_back(make_evidence(rolled_back=True))
    assert (decision.promote, decision.rule) == (False, "rolled_back")
    assert "genreflow registry promote" in decision.reason


@pytest.mark.parametrize("tracks", [1, 100])
def test_a_first_champion_must_beat_the_majority_baseline_on_any_number_of_tracks(tracks):
    evidence = make_evidence(results(tracks), results(tracks), majority_accuracy=0.9, **NO_CHAMPION)
    better = first_champion(evidence)
    assert (better.promote, better.rule) == (True, "baseline")
    equal = first_champion(make_evidence(results(tracks), results(tracks), majority_accuracy=1.0, **NO_CHAMPION))
    assert (equal.promote, equal.rule) == (False, "baseline")
    assert better.reason != equal.reason
    assert first_champion(make_evidence()) is None


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_a_candidate_that_cannot_be_compared_replaces_no_champion(obstacle):
    """However good it is; the message names the setting that gives it a champion of its own."""
    report = decide(make_evidence(results(100), comparison=None, obstacle=obstacle))
    assert (report.promote, report.rule, report.refused) == (False, "incomparable", True)
    assert report.probability_better is report.champion_accuracy is report.comparison is None
    assert (report.candidate_accuracy, report.majority_accuracy, report.champion) == (1, 0.1, "7")
    for words in ("100.0%", "gate.registered_model", "genreflow registry promote", "--reason"):
        assert words in report.reason
    assert incomparable(make_evidence()) is None


def test_a_champion_is_not_replaced_on_few_tracks():
    few = make_evidence(results(19), results(0, 19))
    decision = too_few_tracks(few)
    assert (decision.promote, decision.rule) == (False, "too_few_tracks")
    assert "gate.min_tracks = 20" in decision.reason
    assert too_few_tracks(make_evidence(results(20), results(0, 20))) is None
    assert decide(make_evidence(results(19), results(0, 19), params={"min_tracks": 19})).promote
    assert decide(few).champion_accuracy == 0, "the figures are recorded"


GENRES = {f"track {i:03}": "blues" if i < 10 else "jazz" for i in range(100)}


def better_but(lost: int, of: int = 10) -> tuple[dict[str, bool], dict[str, bool]]:
    """Return a candidate that gains 40 tracks of jazz and loses `lost` of `of` tracks of blues, and the champion."""
    champion = {f"track {i:03}": i < 60 for i in range(100)}
    return {track: not (int(track[6:]) < lost) for track in champion}, champion


@pytest.mark.parametrize(("lost", "refused"), [(0, False), (1, False), (3, False), (4, False), (7, True), (10, True)])
def test_a_loss_in_a_genre_must_be_shown(lost, refused):
    """The interval of 4 of 10 lost tracks contains the tolerated loss of 10 %; that of 7 does not."""
    evidence = make_evidence(*better_but(lost), genres=GENRES)
    decision = genre_loss(evidence)
    assert (decision is not None) == refused
    report = decide(evidence)
    assert (report.rule, report.promote) == (("genre_loss", False) if refused else ("compared", True))
    assert report.probability_better > 0.99
    blues = next(row for row in report.comparison["genres"] if row["genre"] == "blues")
    assert (blues["difference_high"] < -0.1) == refused
    assert not refused or "blues, 100.0% to" in report.reason


def test_the_tolerated_loss_in_a_genre_is_a_parameter():
    evidence = better_but(7)
    assert decide(make_evidence(*evidence, genres=GENRES, params={"max_genre_loss": 1.0})).promote
    assert not decide(make_evidence(*better_but(5), genres=GENRES, params={"max_genre_loss": 0.0})).promote


def test_tracks_of_one_artist_show_no_loss():
    groups = {track: "one artist" if genre == "blues" else track for track, genre in GENRES.items()}
    evidence = make_evidence(*better_but(10), genres=GENRES, groups=groups)
    assert genre_loss(evidence) is None


def test_a_better_candidate_is_promoted():
    report = decide(make_evidence())
    assert (report.promote, report.rule, report.champion_accuracy) == (True, "compared", 0.6)
    assert report.probability_better > 0.99


@pytest.mark.parametrize("candidate", [results(60, 40), results(70, 30)])
def test_a_worse_or_equal_candidate_is_not_promoted(candidate):
    decision = paired_comparison(make_evidence(candidate, results(70, 30)))
    assert (decision.promote, decision.rule) == (False, "compared")


def test_the_probability_that_suffices_is_a_parameter():
    candidate, champion = results(52, 48), results(50, 50)
    probability = decide(make_evidence(candidate, champion)).probability_better
    assert 0.8 < probability < 0.99
    assert decide(make_evidence(candidate, champion, params={"min_probability": probability})).promote
    assert not decide(make_evidence(candidate, champion, params={"min_probability": 0.99})).promote


def test_predictions_are_paired_by_track_and_not_by_order():
    candidate = results(80, 20)
    assert decide(make_evidence(candidate, dict(reversed(candidate.items())))).probability_better == 0.5


def test_tracks_of_one_group_count_as_one_observation():
    candidate, champion = results(100), results(100) | {f"track {i:03}": False for i in range(5)}
    groups = {track: "one artist" if int(track[6:]) < 5 else track for track in candidate}
    assert decide(make_evidence(candidate, champion)).probability_better > 0.99
    assert decide(make_evidence(candidate, champion, groups=groups)).probability_better < 0.9


def test_the_first_rule_that_decides_decides():
    """Evidence on which all rules decide, then one after the other no longer does."""
    candidate, champion = better_but(10)
    few = {track: candidate[track] for track in list(candidate)[:18]}
    steps = [
        {"same_bundle": True},
        {"leaking": True},
        {"rolled_back": True},
        {"champion": None},
        {"obstacle": "other_data"},
        {"comparison": compared(few, {track: not few[track] for track in few}, genres=GENRES)},
        {},
    ]
    order = []
    while steps:
        facts = {name: value for step in steps for name, value in step.items()}
        order.append(decide(make_evidence(candidate, champion, genres=GENRES, **facts)).rule)
        steps.pop(0)
    order.append(decide(make_evidence()).rule)
    rules = [
        "unchanged",
        "leaking",
        "rolled_back",
        "baseline",
        "incomparable",
        "too_few_tracks",
        "genre_loss",
        "compared",
    ]
    assert order == rules
    assert len(RULES) == len(order)
    assert set(REFUSALS) == set(rules) - {"unchanged", "rolled_back"}


def test_the_report_has_the_figures_and_is_valid_json():
    report = decide(make_evidence())
    assert (report.promote, report.rule, report.tracks, report.refused) == (True, "compared", 100, False)
    assert (report.candidate_accuracy, report.champion_accuracy, report.majority_accuracy) == (0.8, 0.6, 0.1)
    assert json.loads(json.dumps(report.to_dict())) == report.to_dict()
    assert report.comparison["difference"] == pytest.approx(0.2)
    assert (report.comparison["gained"], report.comparison["lost"]) == (20, 0)
    assert (report.min_tracks, report.min_probability, report.max_genre_loss) == (20, 0.8, 0.1)


def test_the_report_says_how_often_the_test_split_was_used():
    once, often = (decide(make_evidence(times_test_split_used=n)) for n in (1, 7))
    assert often.times_test_split_used == 7
    assert often.reason.startswith(once.reason)
    assert "7 candidates" in often.reason


def test_evidence_needs_test_tracks():
    with pytest.raises(ParameterError):
        make_evidence({}, {}, **NO_CHAMPION)


@pytest.mark.parametrize(
    "values",
    [
        {"registered_model": "a/b"},
        {"registered_model": ""},
        {"registered_model": "it's"},
        {"registered_model": " a"},
        {"registered_model": "a" * 101},
        {"min_tracks": 0},
        {"max_genre_loss": 1.5},
        {"min_probability": 0.4},
    ],
)
def test_values_out_of_range_are_refused_and_named(values):
    with pytest.raises(ValidationError) as caught:
        GateParams(**values)
    assert next(iter(values)) in str(caught.value)


def test_the_demo_has_a_registered_model_of_its_own():
    assert GateParams().model_name("folder") == "genre-classifier"
    assert GateParams().model_name("demo") == "genre-classifier-demo"
    assert GateParams(registered_model="müsic 2").model_name("demo") == "müsic 2"


def test_champions_of_other_registered_models_are_kept(tmp_path):
    path = tmp_path / "champion.json"
    demo = Pointer(name="demo", champion=make_champion(1)).advance(make_champion(2))
    write_pointer(demo, path)
    text = path.read_bytes()
    assert b"others" not in text
    own = Pointer(name="own", champion=make_champion(3)).beside(demo)
    write_pointer(own, path)
    assert read_pointer(path) == own
    assert own.of_model("unknown") is None
    assert own.of_model("own") == own
    third = Pointer(name="third", champion=make_champion(4)).beside(own)
    again = third.of_model("demo")
    assert (again.champion, again.previous) == (demo.champion, demo.previous)
    assert [other.name for other in again.others] == ["own", "third"]
    assert [other.name for other in again.advance(make_champion(9)).others] == ["own", "third"]


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
