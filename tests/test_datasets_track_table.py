"""tracks.csv, and the normalisation of genre and artist names."""

from pathlib import Path

import pytest

from genreflow.datasets.labels import artist_key, genre_key
from genreflow.datasets.track_table import Row, TrackTable
from genreflow.errors import ParameterError


def make_table(tmp_path: Path, text: str) -> TrackTable:
    (tmp_path / "tracks.csv").write_text(text, encoding="utf-8")
    return TrackTable.read(tmp_path / "tracks.csv")


def test_alternative_column_names_and_delimiters_are_read(tmp_path):
    table = make_table(tmp_path, "\ufeffTrack;Genre;Artist;Split\nx;rock;Queen;VAL\n;;;\n'y';;;\n")
    assert table.rows == {"x": Row("rock", "Queen", "valid"), "'y'": Row()}
    assert make_table(tmp_path, 'path,group\n"a, b",c\nshort\n').rows == {"a, b": Row(group="c"), "short": Row()}
    assert make_table(tmp_path, "path,genre,group,split\n").rows == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"tracks\.csv: .* path, .* got none"),
        ("name,genre\nx,y\n", r"tracks\.csv: .* path, .* got name, genre"),
        ("path,split\nx,holdout\n", r"tracks\.csv, line 2: split must be train, valid or test; got 'holdout'"),
        ("path,genre\nx,a\nx,b\n", r"tracks\.csv, line 3: .* x\."),
    ],
)
def test_invalid_table_is_refused(tmp_path, text, message):
    with pytest.raises(ParameterError, match=message):
        make_table(tmp_path, text)


def test_unreadable_table_is_refused(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"path\n\xff\xfe\n")
    with pytest.raises(ParameterError, match=r"t\.csv: "):
        TrackTable.read(tmp_path / "t.csv")
    with pytest.raises(ParameterError, match=r"^data\.tracks: .*none\.csv"):
        TrackTable.read(tmp_path / "none.csv")
    with pytest.raises(ParameterError, match=str(tmp_path)):
        TrackTable.read(tmp_path)


@pytest.mark.parametrize("name", ["a/é one.wav", "a/é one", "é one.wav", "é one", "./a/é one.wav", "/r/a/é one.wav"])
def test_row_may_name_its_track_in_several_ways(tmp_path, name):
    table = make_table(tmp_path, f"path,genre\n{name},g\n")
    rows, notes = table.match(["a/e\u0301 one.wav", "a/two.wav"], root=Path("/r"))
    assert rows == {"a/e\u0301 one.wav": Row(genre="g")}
    (note,) = notes
    assert "1 track," in note
    assert "a/two.wav" in note


def test_table_that_does_not_match_the_tracks(tmp_path):
    table = make_table(tmp_path, "path\none\nother\n")
    with pytest.raises(ParameterError, match=r"tracks\.csv: .* got one, which matches a/one\.wav and b/one\.wav"):
        table.match(["a/one.wav", "b/one.wav"], root=tmp_path)
    with pytest.raises(ParameterError, match=r"tracks\.csv: .* got none"):
        table.match(["a/three.wav"], root=tmp_path)
    (note,) = table.match(["a/one.wav"], root=tmp_path)[1]
    assert note.startswith("1 row of tracks.csv ")
    assert "other" in note


def test_names_are_normalised():
    assert genre_key("Hip-Hop") == genre_key("hip hop") == genre_key("ＨＩＰＨＯＰ") == "hiphop"
    assert genre_key("R&B") == "rb"
    assert artist_key("  The   BAND ") == artist_key("the band") == "the band"
    assert [artist_key(name) for name in ("", None, "Various Artists", "unknown", " - ")] == [None] * 5


@pytest.mark.parametrize(
    "name",
    [
        "", None, " ", "-", "???", "V.A.", "V/A", "VA", "v.a", "VVAA", "VV.AA.", "AA.VV.", "[unknown]", "<unknown>",
        "(Unknown)", "Unknown Artist", "UNKNOWN  ARTIST", "[Unknown Artist]", "Artist Unknown", "Various",
        "Various Artists", "Varios Artistas", "Vários Artistas", "Artisti vari", "Verschiedene Interpreten",
        "Unbekannter Künstler", "Artiste inconnu", "Разные исполнители", "Неизвестный исполнитель",
        "ヴァリアス・アーティスト", "群星", "Artist", "[no artist]", "n/a", "None", "Compilations",
        "Various Artists - Topic", "Différents artistes", "Multi-interprètes", "Intérpretes varios",
        "Vários intérpretes", "Interpreti vari", "Diverse uitvoerders", "Diversen", "Różni", "Razni izvođači",
        "Artiști diverși", "Разни изпълнители", "Разные", "Eri artisteja", "Karışık",
        "合辑", "华语群星", "多位艺人", "未知歌手", "다양한 아티스트",
        "ヴァリアス・アーティスツ", "فنانون متنوعون", "غير معروف", "אמנים שונים", "לא ידוע", "विभिन्न कलाकार",
        "Nhiều nghệ sĩ", "ศิลปินต่างๆ", "Berbagai Artis", "[Anonymous]", "Sin artista", "Sans artiste", "Kein Künstler",
    ],
)  # fmt: skip
def test_placeholders_are_no_artists(name):
    assert artist_key(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "!!!", "+/-", "The Artist", "Various Production", "Anonymous 4", "The Unknown", "Vaya Con Dios", "[spunge]",
        "V.A.S.T.", "Artist of the Year", "Nana", "Default", "Noname", "The Band", "X", "10cc",
    ],
)  # fmt: skip
def test_similar_names_are_artists(name):
    assert artist_key(name) == name.casefold()
