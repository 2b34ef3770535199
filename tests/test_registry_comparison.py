"""Two models on the same held-out tracks: intervals, changed tracks, and the plain data that others draw."""

import json

import numpy as np
import pytest

from genreflow.cli.comparison_table import comparison_lines
from genreflow.errors import ParameterError
from genreflow.evaluation.paired import difference_interval
from genreflow.registry.comparison import ComparedTrack, compare

NAMES = ("version 1", "version 2")


def row(number: int, genre: str, first: str, second: str, group: str | None = None) -> ComparedTrack:
    return ComparedTrack(
        track=f"{number:02}", group=group or f"artist {number}", genre=genre, first=first, second=second
    )


TRACKS = [
    *(row(number, "jazz", "jazz", "jazz") for number in range(6)),
    row(6, "jazz", "jazz", "metal"),
    row(7, "metal", "jazz", "metal"),
    row(8, "metal", "jazz", "metal"),
    row(9, "metal", "jazz", "pop"),
    row(10, "metal", "jazz", "jazz"),
]


def test_changed_tracks_are_listed_in_both_directions():
    found = compare(reversed(TRACKS), names=NAMES, groups_known=True, excluded=3)
    assert [item.track for item in found.gained] == ["07", "08"]
    assert [item.track for item in found.lost] == ["06"]
    assert [item.track for item in found.other] == ["09"]
    assert (found.tracks, found.groups, found.excluded) == (11, 11, 3)
    assert (found.first.name, found.second.name) == NAMES
    assert found.first.value == pytest.approx(7 / 11)
    assert found.difference == pytest.approx(1 / 11)
    assert found.difference_low < 0 < found.difference < found.difference_high
    assert 0.5 < found.probability_second_better < 0.9


def test_genres_have_intervals():
    jazz, metal = compare(TRACKS, names=NAMES, groups_known=True).genres
    assert (jazz.genre, jazz.tracks, jazz.groups, jazz.difference) == ("jazz", 7, 7, pytest.approx(-1 / 7))
    assert (metal.first.value, metal.second.value, metal.difference) == (0, 0.5, 0.5)
    for genre in (jazz, metal):
        assert genre.difference_low < genre.difference < genre.difference_high
        assert genre.first.low <= genre.first.value <= genre.first.high


def test_a_comparison_is_plain_data():
    found = compare(TRACKS, names=NAMES, groups_known=True)
    content = found.to_dict()
    assert json.loads(json.dumps(content)) == content
    assert content["gained"][0] == {
        "track": "07", "group": "artist 7", "genre": "metal", "first": "jazz", "second": "metal",
    }  # fmt: skip
    second = content["genres"][1]["second"]
    assert (second["name"], second["value"]) == ("version 2", 0.5)
    assert 0 <= second["low"] < 0.5 < second["high"] <= 1
    assert found.summary() == content | {"gained": 2, "lost": 1, "other": 1}


def test_artists_are_resampled_where_they_are_known():
    tracks = [row(n, "jazz", "metal", "jazz", group="one artist" if n < 5 else None) for n in range(10)]
    tracks += [row(n, "jazz", "jazz", "jazz") for n in range(10, 20)]
    known, unknown = (compare(tracks, names=NAMES, groups_known=value) for value in (True, False))
    assert known.difference == unknown.difference
    assert known.difference_low < unknown.difference_low
    assert known.groups == 16


def test_no_common_track_is_an_error():
    with pytest.raises(ParameterError, match="version 1 and version 2"):
        compare([], names=NAMES, groups_known=True)


def test_the_table_has_all_genres_and_lists_few_tracks():
    lost = [row(100 + number, "jazz", "jazz", "metal") for number in range(30)]
    lines = list(comparison_lines(compare([*TRACKS, *lost], names=NAMES, groups_known=True, excluded=2)))
    assert "41 held-out tracks by 41 artists" in lines[0]
    assert "2 others" in lines[0]
    table = [line.split()[0] for line in lines if line.startswith(("jazz", "metal"))]
    assert table == ["jazz", "metal"]
    assert sum(line.startswith("  1") for line in lines) < 30
    assert any("and 11 more" in line for line in lines)


def correct(gained: int, lost: int, same: int) -> tuple[np.ndarray, np.ndarray]:
    candidate = np.array([True] * gained + [False] * lost + [True] * same)
    champion = np.array([False] * gained + [True] * lost + [True] * same)
    return candidate, champion


def test_the_interval_of_a_difference_has_the_published_formula():
    """Bonett and Price: (f12 + 1) / (n + 2), 95 %."""
    low, high = difference_interval(*correct(gained=6, lost=2, same=12))
    p, q = 7 / 22, 3 / 22
    half = 1.959964 * np.sqrt((p + q - (p - q) ** 2) / 22)
    assert (low, high) == (pytest.approx(p - q - half, abs=1e-6), pytest.approx(p - q + half, abs=1e-6))


@pytest.mark.parametrize("tracks", [1, 2, 3])
def test_a_few_tracks_show_nothing(tracks):
    low, high = difference_interval(*correct(0, tracks, 0))
    assert low == -1
    assert high > -0.3
    clusters = np.arange(tracks)
    assert difference_interval(*correct(0, tracks, 0), clusters=clusters)[1] == high


def test_the_interval_covers_the_difference():
    """95 % of intervals contain the true difference of two classifiers, -5 %, also where artists differ."""
    rng = np.random.default_rng(0)
    for of_artist in (1, 4):
        covered = 0
        for _ in range(300):
            hard = np.repeat(rng.random(60 // of_artist) < 0.3, of_artist)  # of an artist whom the candidate confuses
            champion = rng.random(60) < 0.7
            candidate = np.where(hard, rng.random(60) < 0.5333333, rng.random(60) < 0.7)
            low, high = difference_interval(
                candidate, champion, clusters=np.repeat(np.arange(60 // of_artist), of_artist), seed=1
            )
            covered += low <= -0.05 <= high
        assert covered >= 0.93 * 300


def test_different_lengths_are_refused():
    with pytest.raises(ParameterError, match="shape"):
        difference_interval(np.ones(3, bool), np.ones(4, bool))
