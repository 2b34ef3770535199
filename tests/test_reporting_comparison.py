"""The page of the comparison of two models."""

import re
from html import unescape
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile as sf

from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Track
from genreflow.registry.comparison import compare
from genreflow.reporting.comparison.comparison_page import draw_differences, write_comparison_page
from genreflow.reporting.params import ReportParams
from test_registry_comparison import TRACKS, row

NAMES = ("version 1", "version <2>")


class NoSpectrograms:
    def __contains__(self, key: str) -> bool:
        return False


@pytest.fixture
def page(tmp_path):
    """Return the text of the page."""
    raw = tmp_path / "raw"
    raw.mkdir()
    sf.write(raw / "06.wav", 0.1 * np.sin(np.arange(22050) / 5), 22050)

    def write(tracks=TRACKS, **options):
        manifest = Manifest(
            source="folder",
            genres=sorted({own.genre for own in tracks}),
            groups_known=True,
            tracks=[
                Track(
                    id=own.track,
                    path=f"{own.track}.wav",
                    genre=own.genre,
                    group=own.group,
                    group_source="folder",
                    hash=f"hash {own.track}",
                    duration=1.0,
                )
                for own in tracks
            ],
        )
        path = tmp_path / "comparison.html"
        comparison = compare(tracks, names=NAMES, **{"groups_known": True} | options)
        write_comparison_page(path, comparison, manifest, ReportParams(), NoSpectrograms(), raw)
        return path.read_text("utf-8")

    return write


def words_of(page):
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_the_page_has_the_difference_and_the_changed_tracks(page):
    text = page(excluded=3)
    words = words_of(text)
    assert "On 11 held-out tracks by 11 artists" in words
    assert "3 other held-out tracks are left out" in words
    assert "63.6 % version 1" in words
    assert "72.7 % version <2>" in words
    assert "+9.1 percentage points" in words
    assert "2 : 1 tracks gained and lost" in words
    assert words.index("Only version <2> is correct") < words.index("(07)") < words.index("(06)") < words.index("(09)")
    assert "labelled metal ; version 1: jazz , version <2>: pop (09)" in words
    assert text.count("<audio") == 1  # only one of the tracks has a file
    assert "http" not in text.replace("http://www.w3.org", "")


def test_unknown_artists_are_said(page):
    assert "The artists are not known" in words_of(page(groups_known=False))


def test_without_changes_the_page_is_complete(page):
    words = words_of(page([row(number, "jazz", "jazz", "jazz") for number in range(3)]))
    assert words.count("0 tracks.") == 3
    assert "listen" not in words
    assert "+0.0 percentage points" in words


def test_differences_are_drawn_for_all_tracks_and_each_genre():
    comparison = compare([*TRACKS, row(11, "<b>", "<b>", "jazz")], names=NAMES, groups_known=True)
    picture = ElementTree.fromstring(draw_differences(comparison))
    circles = [element for element in picture.iter() if element.tag.endswith("circle")]
    assert len(circles) == 1 + len(comparison.genres)
    positions = [float(circle.get("cx")) for circle in circles]
    order = [comparison.difference, *(genre.difference for genre in comparison.genres)]
    assert np.argsort(positions, kind="stable").tolist() == np.argsort(order, kind="stable").tolist()
