"""Several sources as one: names, genre maps, caps, and what is refused."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import yaml

from fma_toy import row, write_fma
from genreflow.datasets import combination
from genreflow.datasets.choice import capped
from genreflow.datasets.request import Component
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
MAP = {"Metal": "metal", "Jazz": "jazz"}


def write_tone(path: Path, *, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, np.random.default_rng(seed).uniform(-0.3, 0.3, 9000), 8000)
    return path


@pytest.fixture
def music(tmp_path) -> Path:
    """A small FMA and a folder of music, which share an artist."""
    path = write_fma(tmp_path / "music/fma", FMA).parent
    for number, name in enumerate(["metal/Iron/a", "metal/Wood/b", "jazz/Kurt/c", "jazz/Lone/d"]):
        write_tone(path / "mine" / f"{name}.wav", seed=number)
    return path


@pytest.fixture
def bring(tmp_path):
    """Combine into one and the same place; parts are given as in params.yaml."""

    def run(path, *parts: dict, **options):
        components = [Component(**{**part, "path": Path(part["path"])}) for part in parts]
        target = tmp_path / "data/raw"
        manifest = tmp_path / "data/manifest.json"
        return ingest("combination", path, target, manifest, components=components, progress=False, **options)

    return run


MINE = {"source": "folder", "path": "mine"}
THEIRS = {"source": "fma", "path": "fma", "subset": "small", "genres": MAP}


def described(manifest) -> dict[str, tuple]:
    return {track.id: (track.genre, track.group, track.split) for track in manifest.tracks}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_parts_become_one_and_an_artist_of_both_is_one_group(music, bring, tmp_path):
    manifest = bring(music, MINE, THEIRS)
    assert described(manifest) == {
        "fma/000/000002": ("metal", "iron", "train"),
        "fma/000/000003": ("metal", "iron", "train"),
        "fma/000/000004": ("jazz", "kurt", "test"),
        "mine/jazz/Kurt/c": ("jazz", "kurt", None),
        "mine/jazz/Lone/d": ("jazz", "lone", None),
        "mine/metal/Iron/a": ("metal", "iron", None),
        "mine/metal/Wood/b": ("metal", "wood", None),
    }
    assert (manifest.source, manifest.genres) == ("combination", ("jazz", "metal"))
    assert sorted(contents(tmp_path / "data/raw")) == sorted(track.path for track in manifest.tracks)
    assert manifest.notes == ("fma: 1 tracks were left out, since they are of none of the genres asked for.",)


def test_only_what_is_taken_is_copied_and_decoded(music, bring, tmp_path):
    for clip in ("000003", "000005"):
        (music / f"fma/fma_small/000/{clip}.mp3").write_bytes(b"never looked at")
    (music / "mine/jazz/Lone/d.wav").write_bytes(b"nor this")
    manifest = bring(music, {**MINE, "genres": {"metal": "metal"}}, {**THEIRS, "per_genre": 1})
    assert not any(track.error for track in manifest.tracks)
    assert manifest.tracks_per_genre == {"jazz": 1, "metal": 3}
    assert len(contents(tmp_path / "data/raw")) == 4


def test_parts_with_fewer_than_their_cap_are_told(music, bring):
    manifest = bring(music, MINE, {**THEIRS, "per_genre": 2})
    assert "fma: fewer than 2 tracks of jazz 1." in manifest.notes


def test_absolute_and_relative_paths_name_the_same(music, bring, tmp_path, monkeypatch):
    manifest = bring(music, MINE, THEIRS)
    assert bring(music, {**MINE, "path": music / "mine"}, {**THEIRS, "path": "./x/../fma"}) == manifest
    monkeypatch.chdir(tmp_path)
    assert bring(Path("music"), {**MINE, "path": (music / "mine")}, THEIRS) == manifest


def test_second_time_nothing_is_decoded(music, bring, monkeypatch, tmp_path):
    first = bring(music, MINE, THEIRS)
    inodes = {file: file.stat().st_ino for file in (tmp_path / "data/raw").rglob("*.*")}
    monkeypatch.setattr("genreflow.datasets.folder.inspect", None)
    assert bring(music, MINE, THEIRS) == first
    assert {file: file.stat().st_ino for file in (tmp_path / "data/raw").rglob("*.*")} == inodes
    assert bring(music, THEIRS, MINE) == first
    monkeypatch.undo()
    write_tone(music / "mine/metal/Wood/b.wav", seed=99)
    changed = bring(music, MINE, THEIRS)
    assert [a.id for a, b in zip(changed.tracks, first.tracks, strict=True) if a != b] == ["mine/metal/Wood/b"]


def test_failing_part_leaves_everything_as_it_was(music, bring, tmp_path):
    bring(music, MINE, THEIRS)
    before = contents(tmp_path / "data")
    (music / "fma/fma_metadata/tracks.csv").write_text("nonsense")
    with pytest.raises(ParameterError, match="has no column"):
        bring(music, MINE, THEIRS)
    assert contents(tmp_path / "data") == before


def test_genres_are_chosen_from_all_parts(music, bring):
    write_tone(music / "folk/folk/e.wav", seed=9)
    folk = {"source": "folder", "path": "folk", "genres": {"folk": "folk"}}
    manifest = bring(music, MINE, folk, THEIRS, genres=["jazz", "folk"])
    assert manifest.tracks_per_genre == {"folk": 1, "jazz": 3}
    manifest = bring(music, MINE, folk, THEIRS, genres=["jazz", "metal"])
    assert manifest.genres == ("jazz", "metal")
    assert "folk: has none of the genres that data.genres names." in manifest.notes
    with pytest.raises(ParameterError, match=r"data\.genres names polka"):
        bring(music, MINE, folk, genres=["jazz", "polka"])
    with pytest.raises(ParameterError, match="gives one genre, folk"):
        bring(music, folk)


def test_table_of_tracks_names_them_below_the_common_folder(music, bring, tmp_path):
    table = tmp_path / "tracks.csv"
    table.write_text("path,group,split\nmine/jazz/Lone/d.wav,Kurt,test\n")
    manifest = bring(music, MINE, THEIRS, tracks_csv=table)
    assert described(manifest)["mine/jazz/Lone/d"] == ("jazz", "kurt", "test")
    table.write_text("path,group\njazz/Lone/d.wav,Kurt\n")
    with pytest.raises(ParameterError, match=r"names jazz/Lone/d\.wav, which lies in no part"):
        bring(music, MINE, THEIRS, tracks_csv=table)


def test_fault_names_the_track_as_the_manifest_does(music, bring):
    (music / "mine/metal/Wood/b.wav").write_bytes(b"no music")
    fault = bring(music, MINE, THEIRS).by_id["mine/metal/Wood/b"].error
    assert fault["message"].startswith("mine/metal/Wood/b.wav ")


def write_npz(path: Path, *, n_mels: int = 8, frames: int = 40) -> Path:
    cells = np.random.default_rng(0).integers(0, 256, (4, n_mels, frames), dtype=np.uint8)
    np.savez(path, spectrogram=cells, track=["a", "b", "c", "d"], genre=["jazz", "jazz", "metal", "metal"])
    return path


def test_spectrograms_are_combined_with_their_like(music, bring):
    one = {"source": "spectrograms", "path": write_npz(music / "one.npz")}
    two = {"source": "spectrograms", "path": write_npz(music / "two.npz", frames=50), "per_genre": 1}
    manifest = bring(music, one, two)
    assert manifest.source == "spectrograms"
    assert len(manifest.tracks) == 6
    assert manifest.spec_hints == {"n_mels": 8, "level_reference": "minmax"}
    assert bring(music, one, {**one, "path": write_npz(music / "three.npz")}).spec_hints["frames_kept"] == 40
    with pytest.raises(ParameterError, match="combines spectrograms with audio"):
        bring(music, one, MINE)
    with pytest.raises(ParameterError, match="have n_mels 16, those of one-npz 8"):
        bring(music, one, {**one, "path": write_npz(music / "four.npz", n_mels=16)})


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([], r"data\.sources is empty"),
        ([{"source": "tape", "path": "mine"}], r"part 1: source is 'tape'; one of folder"),
        ([MINE, {"source": "combination", "path": "fma"}], "part 2: a combination within a combination"),
        ([{**MINE, "subset": "small"}], "part 1: subset is 'small'; folder has none"),
        ([{**THEIRS, "subset": "tiny"}], "part 1: subset is 'tiny'; one of small, medium"),
        ([{**MINE, "path": "../mine"}], "its path ../mine lies outside of data.path"),
        ([{**MINE, "path": "/etc"}], "its path /etc lies outside of data.path"),
        ([{**MINE, "path": "nowhere"}], "its path nowhere does not exist below data.path"),
        ([MINE, MINE], "would get the name mine of another part"),
        ([{**MINE, "genres": {"polka": "polka"}}], "genres polka of .*mine, which has jazz, metal"),
        ([{**THEIRS, "genres": {"Disco": "disco"}}], "genres Disco of .*fma, which has none"),
        ([{**THEIRS, "genres": {"Polka": "polka"}}], "no genre Polka; .*its top genres are"),
        ([{**THEIRS, "genres": {"Metal": "Metal"}}, {**MINE, "genres": {"metal": "metal"}}], "spells one genre in two"),
        ([MINE, {**THEIRS, "genres": {"Jazz": "Jazz"}}], "spells one genre in 2 ways: 'Jazz' and 'jazz'"),
    ],
)
def test_mistakes_get_a_sentence(music, bring, tmp_path, parts, words):
    with pytest.raises(ParameterError, match=words):
        bring(music, *parts)
    assert not (tmp_path / "data/manifest.json").exists()


def test_list_of_sources_needs_a_combination(music, tmp_path):
    with pytest.raises(ParameterError, match=r"lists 1 sources, but data\.source is folder"):
        ingest("folder", music, tmp_path / "raw", tmp_path / "m.json", components=[Component(**MINE)])
    with pytest.raises(ParameterError, match="per_genre of folder is 0"):
        Component(**MINE, per_genre=0)


@pytest.fixture
def checked(root, tmp_path, monkeypatch):
    """Run the stage check with other parameters of data."""
    monkeypatch.chdir(tmp_path)
    content = yaml.safe_load((root / "params.yaml").read_text())

    def run(**data):
        Path("params.yaml").write_text(yaml.safe_dump({**content, "data": {**content["data"], **data}}))
        check.main()

    return run


def test_check_makes_the_folder_that_downloads_go_to(checked, tmp_path):
    """DVC would not start ingest without its dependency."""
    checked(source="fma", path="music/fma")
    checked(source="combination", path="music/all", sources=[{"source": "fma", "path": "fma"}, MINE])
    checked(source="combination", path="music/mine", sources=[MINE])
    checked(source="folder", path="music/folder")
    assert sorted(file.name for file in (tmp_path / "music").iterdir()) == ["all", "fma"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"source": "combination"}, r"data\.sources is empty"),
        ({"source": "gtzan", "path": "params.yaml"}, r"data\.path .*params\.yaml"),
        ({"source": "gtzan", "subset": "small"}, r"data\.subset is 'small'; gtzan has none"),
        ({"sources": [MINE]}, r"lists 1 sources, but data\.source is demo"),
        ({"sources": [{**MINE, "per_genre": 0}]}, "per_genre of folder is 0"),
        ({"sources": [{**MINE, "per_gener": 1}]}, r"data\.sources\.0\.per_gener .* per_genre"),
        ({"sources": [{"source": "fma"}]}, r"data\.sources\.0\.path"),
        ({"sources": [{**MINE, "genres": ["jazz"]}]}, r"data\.sources\.0\.genres"),
        ({"sources": MINE}, r"data\.sources"),
    ],
)
def test_check_refuses_mistakes_before_anything_is_touched(checked, tmp_path, data, words):
    with pytest.raises(ParameterError, match=words):
        checked(**data)
    assert [file.name for file in tmp_path.iterdir()] == ["params.yaml"]


def make_tracks(numbers, *, groups: int, genre="a") -> list[Track]:
    return [
        Track(id=f"{n}", genre=genre, path=f"{n}.wav", group=f"{genre}{n % groups}", group_source="tag")
        for n in numbers
    ]


def test_cap_takes_from_all_groups_in_turn():
    big = [Track(id=f"b{n}", genre="a", path="", group="prolific", group_source="tag") for n in range(500)]
    chosen = capped([*big, *make_tracks(range(20), groups=10), *make_tracks(range(3), groups=3, genre="z")], 15)
    assert Counter(track.genre for track in chosen) == {"a": 15, "z": 3}
    assert set(Counter(track.group for track in chosen if track.genre == "a").values()) == {1, 2}


def test_cap_depends_neither_on_order_nor_much_on_new_tracks():
    tracks = make_tracks(range(1000), groups=90)
    chosen = {track.id for track in capped(tracks, 100)}
    assert {track.id for track in capped(tracks[::-1], 100)} == chosen
    more = {track.id for track in capped([*tracks, *make_tracks(range(1000, 1010), groups=90)], 100)}
    assert len(chosen - more) <= 10
    assert capped(tracks, None) == tracks


def published_block() -> dict:
    """The params block that the module describes."""
    text = re.search(r"::\n\n(.*)\Z", combination.__doc__, re.DOTALL)[1]
    return yaml.safe_load(text)["data"]


def test_published_set_of_gtzan_and_fma_is_one_block_of_params(bring, tmp_path):
    """In miniature: three of each genre, two of them of the FMA."""
    block = published_block()
    gtzan, fma = block["sources"]
    assert (gtzan["per_genre"] + fma["per_genre"]) * len(fma["genres"]) == 2500
    genres = sorted(fma["genres"].values())
    path = tmp_path / "music"
    for number, genre in enumerate(genres):
        for take in range(2):
            write_tone(path / f"gtzan/genres/{genre}/{genre}.{take:05d}.au", seed=2 * number + take)
    write_fma(
        path / "fma",
        [row(10 * i + j, genre) for i, genre in enumerate(sorted(fma["genres"])) for j in range(3)],
        clips="fma_large",
    )
    manifest = bring(path, {**gtzan, "per_genre": 1}, {**fma, "per_genre": 2})
    assert manifest.tracks_per_genre == dict.fromkeys(genres, 3)
    assert Counter(track.id.split("/")[0] for track in manifest.tracks) == {"gtzan": 10, "fma": 20}
