"""The manifest file, tracks.csv, and the names of genres and artists."""

from pathlib import Path

import pytest

from genreflow.datasets.labels import artist_key, genre_key
from genreflow.datasets.track_table import Row, TrackTable
from genreflow.errors import ParameterError


def make_table(tmp_path: Path, text: str) -> TrackTable:
    (tmp_path / "tracks.csv").write_text(text, encoding="utf-8")
    return TrackTable.read(tmp_path / "tracks.csv")


def test_table_reads_other_names_and_separators(tmp_path):
    table = make_table(tmp_path, "\ufeffTrack;Genre;Artist;Split\nx;rock;Queen;VAL\n;;;\n'y';;;\n")
    assert table.rows == {"x": Row("rock", "Queen", "valid"), "'y'": Row()}
    assert make_table(tmp_path, 'path,group\n"a, b",c\nshort\n').rows == {"a, b": Row(group="c"), "short": Row()}
    assert make_table(tmp_path, "path,genre,group,split\n").rows == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"has the columns \(none\); its first line must be a header with path"),
        ("name,genre\nx,y\n", "has the columns name, genre; its first line"),
        ("path,split\nx,holdout\n", r"tracks\.csv, line 2, has 'holdout' in column split; train, valid or test"),
        ("path,genre\nx,a\nx,b\n", "line 3, says otherwise of x"),
    ],
)
def test_table_that_is_refused(tmp_path, text, message):
    with pytest.raises(ParameterError, match=message):
        make_table(tmp_path, text)


def test_table_that_is_no_text(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"path\n\xff\xfe\n")
    with pytest.raises(ParameterError, match="cannot be read as a UTF-8 CSV file"):
        TrackTable.read(tmp_path / "t.csv")
    with pytest.raises(ParameterError, match="which does not exist"):
        TrackTable.read(tmp_path / "none.csv")
    with pytest.raises(ParameterError, match="cannot be read"):
        TrackTable.read(tmp_path)


@pytest.mark.parametrize("name", ["a/é one.wav", "a/é one", "é one.wav", "é one", "./a/é one.wav", "/r/a/é one.wav"])
def test_table_names_a_track_in_several_ways(tmp_path, name):
    table = make_table(tmp_path, f"path,genre\n{name},g\n")
    rows, notes = table.match(["a/e\u0301 one.wav", "a/two.wav"], root=Path("/r"))
    assert rows == {"a/e\u0301 one.wav": Row(genre="g")}
    assert notes == ["tracks.csv says nothing of 1 tracks, a/two.wav among them."]


def test_table_that_does_not_fit_its_tracks(tmp_path):
    table = make_table(tmp_path, "path\none\nother\n")
    with pytest.raises(ParameterError, match=r"names one, which may be a/one\.wav or b/one\.wav; give the path"):
        table.match(["a/one.wav", "b/one.wav"], root=tmp_path)
    with pytest.raises(ParameterError, match=r"No row of .* names a track"):
        table.match(["a/three.wav"], root=tmp_path)
    assert table.match(["a/one.wav"], root=tmp_path)[1] == [
        "1 rows of tracks.csv name no track that is there, other among them."
    ]


def test_spellings():
    assert genre_key("Hip-Hop") == genre_key("hip hop") == genre_key("ＨＩＰＨＯＰ") == "hiphop"
    assert genre_key("R&B") == "rb"
    assert artist_key("  The   BAND ") == artist_key("the band") == "the band"
    assert [artist_key(name) for name in ("", None, "Various Artists", "unknown", " - ")] == [None] * 5
