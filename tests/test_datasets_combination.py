"""A combination of sources: ids, groups, genre maps, track limits, and errors."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import yaml
from pydantic import ValidationError

from fma_toy import row, write_fma
from genreflow.datasets import combination
from genreflow.datasets.params import ComponentParams, DataParams
from genreflow.datasets.selection import limit_per_genre
from genreflow.datasets.sources import ingest
from genreflow.errors import ParameterError
from genreflow.manifest.track import Track
from genreflow.stages import check

FMA = (
    row(2, "Metal", artist="Iron"),
    row(3, "Metal", artist="IRON "),
    row(4, "Jazz", artist="Kurt", split="test"),
    row(5, "Pop", artist="Nobody's"),
)
LOCAL = {"source": "folder", "path": "local"}
PUBLISHED = {"source": "fma", "path": "fma", "subset": "small", "genres": {"Metal": "metal", "Jazz": "jazz"}}


def write_noise(path: Path, *, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, np.random.default_rng(seed).uniform(-0.3, 0.3, 9000), 8000)
    return path


@pytest.fixture
def music(tmp_path) -> Path:
    """A small FMA and a local folder of music, with a common artist."""
    path = write_fma(tmp_path / "music/fma", FMA).parent
    for number, name in enumerate(["metal/Iron/a", "metal/Wood/b", "jazz/Kurt/c", "jazz/Lone/d"]):
        write_noise(path / "local" / f"{name}.wav", seed=number)
    return path


@pytest.fixture
def combine(tmp_path):
    """Ingest a combination into the same folder each time; components are given as in params.yaml."""

    def run(path, *components: dict, **data):
        params = DataParams(source="combination", path=path, sources=components, **data)
        return ingest(params, tmp_path / "data/raw", tmp_path / "data/manifest.json", progress=False)

    return run


def metadata(manifest) -> dict[str, tuple]:
    return {track.id: (track.genre, track.group, track.split) for track in manifest.tracks}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_components_have_prefixes_and_a_common_artist_is_one_group(music, combine, tmp_path):
    manifest = combine(music, LOCAL, PUBLISHED)
    assert metadata(manifest) == {
        "fma/000/000002": ("metal", "iron", "train"),
        "fma/000/000003": ("metal", "iron", "train"),
        "fma/000/000004": ("jazz", "kurt", "test"),
        "local/jazz/Kurt/c": ("jazz", "kurt", None),
        "local/jazz/Lone/d": ("jazz", "lone", None),
        "local/metal/Iron/a": ("metal", "iron", None),
        "local/metal/Wood/b": ("metal", "wood", None),
    }
    assert (manifest.source, manifest.genres) == ("combination", ("jazz", "metal"))
    assert sorted(contents(tmp_path / "data/raw")) == sorted(track.path for track in manifest.tracks)
    (note,) = manifest.notes
    assert note.startswith("fma: 1 track ")


def test_only_selected_tracks_are_copied_and_decoded(music, combine, tmp_path):
    for clip in ("000003", "000005"):
        (music / f"fma/fma_small/000/{clip}.mp3").write_bytes(b"cannot be decoded")
    (music / "local/jazz/Lone/d.wav").write_bytes(b"cannot be decoded")
    manifest = combine(music, {**LOCAL, "genres": {"metal": "metal"}}, {**PUBLISHED, "per_genre": 1})
    assert not any(track.error for track in manifest.tracks)
    assert manifest.tracks_per_genre == {"jazz": 1, "metal": 3}
    assert len(contents(tmp_path / "data/raw")) == 4


def test_component_with_fewer_tracks_than_its_limit_is_noted(music, combine):
    manifest = combine(music, LOCAL, {**PUBLISHED, "per_genre": 2})
    assert any(note.startswith("fma: ") and "per_genre = 2" in note and "jazz 1" in note for note in manifest.notes)


def test_absolute_and_relative_paths_are_equivalent(music, combine, tmp_path, monkeypatch):
    manifest = combine(music, LOCAL, PUBLISHED)
    assert combine(music, {**LOCAL, "path": music / "local"}, {**PUBLISHED, "path": "./x/../fma"}) == manifest
    monkeypatch.chdir(tmp_path)
    assert combine(Path("music"), {**LOCAL, "path": music / "local"}, PUBLISHED) == manifest


def test_unchanged_files_are_not_decoded_again(music, combine, monkeypatch, tmp_path):
    first = combine(music, LOCAL, PUBLISHED)
    inodes = {file: file.stat().st_ino for file in (tmp_path / "data/raw").rglob("*.*")}
    monkeypatch.setattr("genreflow.datasets.folder.inspect", None)
    assert combine(music, LOCAL, PUBLISHED) == first
    assert {file: file.stat().st_ino for file in (tmp_path / "data/raw").rglob("*.*")} == inodes
    assert combine(music, PUBLISHED, LOCAL) == first
    monkeypatch.undo()
    write_noise(music / "local/metal/Wood/b.wav", seed=99)
    changed = combine(music, LOCAL, PUBLISHED)
    assert [a.id for a, b in zip(changed.tracks, first.tracks, strict=True) if a != b] == ["local/metal/Wood/b"]


def test_failing_component_leaves_previous_data_unchanged(music, combine, tmp_path):
    combine(music, LOCAL, PUBLISHED)
    before = contents(tmp_path / "data")
    (music / "fma/fma_metadata/tracks.csv").write_text("nonsense")
    with pytest.raises(ParameterError, match=r"tracks\.csv: "):
        combine(music, LOCAL, PUBLISHED)
    assert contents(tmp_path / "data") == before


def test_genres_are_selected_from_all_components(music, combine):
    write_noise(music / "folk/folk/e.wav", seed=9)
    folk = {"source": "folder", "path": "folk", "genres": {"folk": "folk"}}
    manifest = combine(music, LOCAL, folk, PUBLISHED, genres=["jazz", "folk"])
    assert manifest.tracks_per_genre == {"folk": 1, "jazz": 3}
    manifest = combine(music, LOCAL, folk, PUBLISHED, genres=["jazz", "metal"])
    assert manifest.genres == ("jazz", "metal")
    assert any(note.startswith("folk: ") and "data.genres" in note for note in manifest.notes)
    with pytest.raises(ParameterError, match=r"^data\.genres: .* got polka"):
        combine(music, LOCAL, folk, genres=["jazz", "polka"])
    with pytest.raises(ParameterError, match=r"two genres .* got folk"):
        combine(music, folk)


def test_table_lists_tracks_relative_to_the_folder_of_the_combination(music, combine, tmp_path):
    table = tmp_path / "tracks.csv"
    table.write_text("path,group,split\nlocal/jazz/Lone/d.wav,Kurt,test\n")
    manifest = combine(music, LOCAL, PUBLISHED, tracks=table)
    assert metadata(manifest)["local/jazz/Lone/d"] == ("jazz", "kurt", "test")
    table.write_text("path,group\njazz/Lone/d.wav,Kurt\n")
    with pytest.raises(ParameterError, match=r"tracks\.csv: .* got jazz/Lone/d\.wav"):
        combine(music, LOCAL, PUBLISHED, tracks=table)


def test_error_names_the_track_as_in_the_manifest(music, combine):
    (music / "local/metal/Wood/b.wav").write_bytes(b"no music")
    error = combine(music, LOCAL, PUBLISHED).by_id["local/metal/Wood/b"].error
    assert error["message"].startswith("local/metal/Wood/b.wav")


def write_npz(path: Path, *, n_mels: int = 8, frames: int = 40) -> Path:
    cells = np.random.default_rng(0).integers(0, 256, (4, n_mels, frames), dtype=np.uint8)
    np.savez(path, spectrogram=cells, track=["a", "b", "c", "d"], genre=["jazz", "jazz", "metal", "metal"])
    return path


def test_spectrograms_are_combined_with_compatible_spectrograms_only(music, combine):
    one = {"source": "spectrograms", "path": write_npz(music / "one.npz")}
    two = {"source": "spectrograms", "path": write_npz(music / "two.npz", frames=50), "per_genre": 1}
    manifest = combine(music, one, two)
    assert manifest.source == "spectrograms"
    assert len(manifest.tracks) == 6
    assert manifest.spec_hints == {"n_mels": 8, "level_reference": "minmax"}
    assert combine(music, one, {**one, "path": write_npz(music / "three.npz")}).spec_hints["frames_kept"] == 40
    with pytest.raises(ParameterError, match=r"^data\.sources: "):
        combine(music, one, LOCAL)
    with pytest.raises(ParameterError, match=r"^data\.sources: .* n_mels; got 8 in one-npz, 16 in four-npz"):
        combine(music, one, {**one, "path": write_npz(music / "four.npz", n_mels=16)})


@pytest.mark.parametrize(
    ("components", "expected"),
    [
        ([], r"^data\.sources: "),
        ([{"source": "tape", "path": "local"}], r"^data\.sources\.0\.source: .* got 'tape'"),
        ([LOCAL, {"source": "combination", "path": "fma"}], r"^data\.sources\.1\.source: "),
        ([{**LOCAL, "subset": "small"}], r"^data\.sources\.0\.subset: .* got 'small'"),
        ([{**PUBLISHED, "subset": "tiny"}], r"^data\.sources\.0\.subset: .* got 'tiny'"),
        ([{**LOCAL, "path": "../local"}], r"^data\.sources\.0\.path: .* got \.\./local"),
        ([{**LOCAL, "path": "/etc"}], r"^data\.sources\.0\.path: .* got /etc"),
        ([{**LOCAL, "path": "nowhere"}], r"^data\.sources\.0\.path: .* got nowhere"),
        ([LOCAL, LOCAL], r"^data\.sources\.1\.path: .* got local"),
        ([{**LOCAL, "genres": {"polka": "polka"}}], r"^data\.sources: .*jazz, metal; got polka"),
        ([{**PUBLISHED, "genres": {"Disco": "disco"}}], r"^data\.sources: .*; got Disco"),
        ([{**PUBLISHED, "genres": {"Polka": "polka"}}], r"^data\.sources: .*genres\.csv; got Polka"),
        (
            [{**PUBLISHED, "genres": {"Metal": "Metal"}}, {**LOCAL, "genres": {"metal": "metal"}}],
            r"^data\.sources: .* got 'Metal' and 'metal'",
        ),
        ([LOCAL, {**PUBLISHED, "genres": {"Jazz": "Jazz"}}], "got 'Jazz' and 'jazz'"),
    ],
)
def test_error_names_the_parameter_and_writes_nothing(music, combine, tmp_path, components, expected):
    with pytest.raises(ParameterError, match=expected):
        combine(music, *components)
    assert not (tmp_path / "data/manifest.json").exists()


def test_components_need_the_source_combination(music, tmp_path):
    data = DataParams(source="folder", path=music, sources=[LOCAL])
    with pytest.raises(ParameterError, match=r"^data\.sources: .* folder"):
        ingest(data, tmp_path / "raw", tmp_path / "m.json", progress=False)
    with pytest.raises(ValidationError, match="per_genre"):
        ComponentParams(**LOCAL, per_genre=0)


@pytest.fixture
def run_check(root, tmp_path, monkeypatch):
    """Run the stage check with changed parameters of `data`."""
    monkeypatch.chdir(tmp_path)
    content = yaml.safe_load((root / "params.yaml").read_text())
    Path("data").mkdir()
    Path("data/tracks.csv").touch()

    def run(**data):
        Path("params.yaml").write_text(yaml.safe_dump({**content, "data": {**content["data"], **data}}))
        check.main()

    return run


def test_check_creates_the_folder_of_downloadable_sources(run_check, tmp_path):
    """DVC does not start a stage whose dependency does not exist."""
    run_check(source="fma", path="music/fma")
    run_check(source="combination", path="music/all", sources=[{"source": "fma", "path": "fma"}, LOCAL])
    for missing in ({"source": "combination", "path": "music/local", "sources": [LOCAL]}, {"path": "music/folder"}):
        with pytest.raises(ParameterError, match=r"data\.path"):
            run_check(**{"source": "folder", **missing})
    assert sorted(file.name for file in (tmp_path / "music").iterdir()) == ["all", "fma"]


@pytest.mark.parametrize(
    ("data", "parameter"),
    [
        ({"source": "combination"}, r"data\.sources"),
        ({"source": "gtzan", "path": "params.yaml"}, r"data\.path"),
        ({"source": "gtzan", "subset": "small"}, r"data\.subset"),
        ({"sources": [LOCAL]}, r"data\.sources"),
        ({"sources": [{**LOCAL, "per_genre": 0}]}, r"data\.sources\.0\.per_genre"),
        ({"sources": [{**LOCAL, "per_gener": 1}]}, r"data\.sources\.0\.per_gener\b"),
        ({"sources": [{"source": "fma"}]}, r"data\.sources\.0\.path"),
        ({"sources": [{**LOCAL, "genres": ["jazz"]}]}, r"data\.sources\.0\.genres"),
        ({"sources": LOCAL}, r"data\.sources"),
    ],
)
def test_check_refuses_invalid_parameters_and_writes_nothing(run_check, tmp_path, data, parameter):
    with pytest.raises(ParameterError, match=parameter):
        run_check(**data)
    assert {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*")} == {
        "params.yaml",
        "data",
        "data/tracks.csv",
    }


def make_tracks(numbers, *, groups: int, genre="a") -> list[Track]:
    return [
        Track(id=f"{n}", genre=genre, path=f"{n}.wav", group=f"{genre}{n % groups}", group_source="tag")
        for n in numbers
    ]


def test_limited_selection_takes_from_as_many_groups_as_possible():
    prolific = [Track(id=f"b{n}", genre="a", path="", group="prolific", group_source="tag") for n in range(500)]
    tracks = [*prolific, *make_tracks(range(20), groups=10), *make_tracks(range(3), groups=3, genre="z")]
    selected = limit_per_genre(tracks, 15)
    assert Counter(track.genre for track in selected) == {"a": 15, "z": 3}
    assert set(Counter(track.group for track in selected if track.genre == "a").values()) == {1, 2}


def test_limited_selection_does_not_depend_on_order_and_little_on_new_tracks():
    tracks = make_tracks(range(1000), groups=90)
    selected = {track.id for track in limit_per_genre(tracks, 100)}
    assert {track.id for track in limit_per_genre(tracks[::-1], 100)} == selected
    more = [*tracks, *make_tracks(range(1000, 1010), groups=90)]
    assert len(selected - {track.id for track in limit_per_genre(more, 100)}) <= 10
    assert limit_per_genre(tracks, None) == tracks


def documented_data() -> dict:
    """Return the block of parameters in the docstring of the module."""
    text = re.search(r"::\n\n(.*)\Z", combination.__doc__, re.DOTALL)[1]
    return yaml.safe_load(text)["data"]


def test_documented_combination_of_gtzan_and_fma(combine, tmp_path):
    """With three tracks of each genre instead of 250, two of them from the FMA."""
    gtzan, fma = documented_data()["sources"]
    assert (gtzan["per_genre"] + fma["per_genre"]) * len(fma["genres"]) == 2500
    genres = sorted(fma["genres"].values())
    path = tmp_path / "music"
    for number, genre in enumerate(genres):
        for excerpt in range(2):
            write_noise(path / f"gtzan/genres/{genre}/{genre}.{excerpt:05d}.au", seed=2 * number + excerpt)
    write_fma(
        path / "fma",
        [row(10 * i + j, genre) for i, genre in enumerate(sorted(fma["genres"])) for j in range(3)],
        clips="fma_large",
    )
    manifest = combine(path, {**gtzan, "per_genre": 1}, {**fma, "per_genre": 2})
    assert manifest.tracks_per_genre == dict.fromkeys(genres, 3)
    assert Counter(track.id.split("/")[0] for track in manifest.tracks) == {"gtzan": 10, "fma": 20}
