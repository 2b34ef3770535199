"""Imported spectrograms: arrays and pictures become the same bytes, and what is unclear is refused."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genreflow.audit.manifest import audit_manifest
from genreflow.audit.params import AuditParams
from genreflow.datasets.sources import ingest
from genreflow.datasets.spectrograms import spectrogram_pieces
from genreflow.errors import ParameterError
from genreflow.splits.make import make_split
from genreflow.splits.params import SplitParams

GTZAN = Path(__file__).resolve().parents[2] / "shared" / "data" / "gtzan"
needs_gtzan = pytest.mark.skipif(not GTZAN.is_dir(), reason="no GTZAN material beside the project")

BYTES = np.random.default_rng(0).integers(0, 256, (4, 6, 9), dtype=np.uint8)
BYTES[:, 0, 0], BYTES[:, 0, 1] = 0, 255
NAMES, GENRES = ["one", "two", "three", "four"], ["a", "a", "b", "b"]


def write_npz(path: Path, *, spectrogram=BYTES, track=NAMES, genre=GENRES, **more) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, spectrogram=spectrogram, track=track, genre=genre, **more)
    return path


def write_png(path: Path, pixels: np.ndarray, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(path)
    return path


@pytest.fixture
def bring(tmp_path):
    def run(path: Path, **options):
        manifest = ingest(
            "spectrograms", path, tmp_path / "raw", tmp_path / "manifest.json", progress=False, n_jobs=1, **options
        )
        return manifest, {
            track.id: spectrogram_pieces(track, tmp_path / "raw") for track in manifest.tracks if not track.error
        }

    return run


def test_npz_of_bytes(bring, tmp_path):
    manifest, pieces = bring(write_npz(tmp_path / "in/set.npz"))
    assert manifest.tracks_per_genre == {"a": 2, "b": 2}
    assert manifest.spec_hints == {"n_mels": 6, "level_reference": "minmax", "frames_kept": 9}
    assert not manifest.groups_known
    for position, name in enumerate(NAMES):
        (piece,) = pieces[name]
        assert piece.dtype == np.uint8
        np.testing.assert_array_equal(piece, BYTES[position].T)
        pickle.dumps(manifest.by_id[name])
    assert len({track.hash for track in manifest.tracks}) == 4
    assert (tmp_path / "raw").is_dir()
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["set.npy"]


def test_entries_of_one_name_are_pieces_of_one_track(bring, tmp_path):
    source = write_npz(tmp_path / "in.npz", track=["x", "y", "x", "z"], genre=["a", "b", "a", "b"])
    manifest, pieces = bring(source)
    assert len(manifest.tracks) == 3
    assert [len(of_one) for of_one in pieces.values()] == [2, 1, 1]
    np.testing.assert_array_equal(pieces["x"], BYTES[[0, 2]].transpose(0, 2, 1))


@pytest.mark.parametrize(
    ("stored", "reference"),
    [
        (BYTES.astype(np.float32), "minmax"),
        (BYTES.astype(np.int64), "minmax"),
        (BYTES / 255, "minmax"),
        ((BYTES / 255).astype(np.float32), "minmax"),
        (BYTES[..., None], "minmax"),
        ((BYTES / 255 - 1) * 80, "max"),
        (((BYTES / 255 - 1) * 80).astype(np.float32), "max"),
    ],
    ids=["whole floats", "integers", "0 to 1", "0 to 1 float32", "channel", "dB", "dB float32"],
)
def test_levels_that_are_understood(bring, tmp_path, stored, reference):
    manifest, pieces = bring(write_npz(tmp_path / "in.npz", spectrogram=stored))
    assert manifest.spec_hints["level_reference"] == reference
    np.testing.assert_array_equal([pieces[name][0] for name in NAMES], BYTES.transpose(0, 2, 1))


def test_decibels_below_the_range_are_cut(bring, tmp_path):
    stored = np.tile(np.linspace(-120.0, 0.0, 9), (4, 6, 1))
    _, pieces = bring(write_npz(tmp_path / "in.npz", spectrogram=stored))
    np.testing.assert_array_equal(pieces["one"][0][:, 0], [0, 0, 0, 16, 64, 112, 159, 207, 255])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"spectrogram": BYTES - 130.5}, r"values from -130\.5 to 124\.5; understood are uint8"),
        ({"spectrogram": BYTES * 3.3}, r"values from 0 to 841\.5; understood"),
        ({"spectrogram": BYTES / 400}, r"understood are"),
        ({"spectrogram": BYTES.astype(complex)}, "of type complex128; uint8 or a float type"),
        ({"spectrogram": np.full((4, 6, 9), np.nan)}, "no spectrogram without NaN"),
        ({"spectrogram": BYTES[0]}, r"of shape \(6, 9\); \(entries, n_mels, frames\) is right"),
        ({"spectrogram": BYTES[..., :0]}, r"of shape \(4, 6, 0\)"),
        ({"spectrogram": BYTES[:3]}, "has 3 spectrograms, but 4 tracks"),
        ({"genre": ["a", "b"]}, "has 4 tracks, but 2 genres"),
        ({"track": [NAMES]}, r"track of shape \(1, 4\)"),
        ({"genre": ["a", "b", "", "b"]}, "has no genre for entry 2"),
        ({"track": ["x", "x", "x", "y"]}, "gives x two genres, a and b"),
        ({"track": np.array(NAMES, dtype=object)}, "holds Python objects in track, which are not loaded"),
        ({"genre": ["a"] * 4}, "gives one genre, a"),
        ({"genre": ["Hip-Hop", "hiphop", "b", "b"]}, "spells one genre in 2 ways"),
        (
            {"spectrogram": np.full((4, 6, 9), 7, dtype=np.uint8)},
            r"None of the 4 .* one is the same level",
        ),
    ],
)
def test_npz_that_is_refused(bring, tmp_path, fields, message):
    with pytest.raises(ParameterError, match=message):
        bring(write_npz(tmp_path / "in.npz", **fields))
    assert not (tmp_path / "raw").exists()
    assert not (tmp_path / "manifest.json").exists()


def test_files_that_are_no_npz(bring, tmp_path):
    for content in (b"", b"no zip", b"PK\x03\x04 torn"):
        (tmp_path / "in.npz").write_bytes(content)
        with pytest.raises(ParameterError, match=r"in\.npz cannot be read as \.npz"):
            bring(tmp_path / "in.npz")
    whole = write_npz(tmp_path / "in.npz").read_bytes()
    (tmp_path / "in.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ParameterError, match=r"in\.npz cannot be read as \.npz"):
        bring(tmp_path / "in.npz")
    np.savez(tmp_path / "in.npz", x=[1], y=[2])
    with pytest.raises(ParameterError, match="holds x, y; the arrays spectrogram, track, genre are needed"):
        bring(tmp_path / "in.npz")
    (tmp_path / "in.csv").write_text("x")
    with pytest.raises(ParameterError, match=r"which is not an \.npz file"):
        bring(tmp_path / "in.csv")
    (tmp_path / "none").mkdir()
    with pytest.raises(ParameterError, match="holds no spectrograms; expected is an"):
        bring(tmp_path / "none")
    with pytest.raises(ParameterError, match="does not exist"):
        bring(tmp_path / "nowhere.npz")


def test_one_bad_entry_among_many_is_a_fault(bring, tmp_path):
    stored = BYTES / 255
    stored[1] = np.nan
    stored[2] = 0.5
    manifest, _ = bring(write_npz(tmp_path / "in.npz", spectrogram=stored))
    messages = {track.id: track.error["message"] for track in manifest.tracks if track.error}
    assert messages == {
        "two": "two holds NaN or infinite values.",
        "three": "three is the same level everywhere, as silence is.",
    }
    assert audit_manifest(manifest, None, AuditParams()).left_out == {"two", "three"}


def test_folder_of_npz_of_different_widths(bring, tmp_path):
    write_npz(tmp_path / "in/one.npz", spectrogram=BYTES[:2], track=NAMES[:2], genre=["a", "b"])
    write_npz(tmp_path / "in/two.npz", spectrogram=BYTES[2:, :, 1:], track=NAMES[2:], genre=["a", "b"])
    manifest, pieces = bring(tmp_path / "in", genres=["a", "b"])
    assert "frames_kept" not in manifest.spec_hints
    assert [len(pieces[name][0]) for name in NAMES] == [9, 9, 8, 8]
    np.testing.assert_array_equal(pieces["four"][0], BYTES[3, :, 1:].T)
    write_npz(tmp_path / "in/two.npz", spectrogram=BYTES[2:, 1:], track=NAMES[2:], genre=["a", "b"])
    with pytest.raises(ParameterError, match=r"two has 5 bands .* but one has 6"):
        bring(tmp_path / "in")
    write_npz(tmp_path / "in/two.npz")
    with pytest.raises(ParameterError, match=r"Track one is in .* one file a track is right"):
        bring(tmp_path / "in")


def test_groups_and_parts_from_a_table(bring, tmp_path):
    source = write_npz(tmp_path / "in/set.npz")
    (tmp_path / "in/tracks.csv").write_text("track,artist,split\none,X,train\ntwo,,train\nthree,x,valid\nfour,y,test\n")
    manifest, _ = bring(source)
    assert {track.id: (track.group, track.split) for track in manifest.tracks} == {
        "one": ("x", "train"),
        "two": ("track:two", "train"),
        "three": ("x", "valid"),
        "four": ("y", "test"),
    }
    assert any("name it in data.tracks" in note for note in manifest.notes)
    (tmp_path / "mine.csv").write_text("path,group\none,Q\n")
    manifest, _ = bring(source, tracks_csv=tmp_path / "mine.csv")
    assert manifest.by_id["one"].group == "q"
    assert manifest.by_id["three"].group == "track:three"
    (tmp_path / "mine.csv").write_text("path,group\n")
    assert bring(source, tracks_csv=tmp_path / "mine.csv")[0].by_id["three"].group == "x"


def test_pictures_have_their_low_band_at_the_bottom(bring, tmp_path):
    for position, (name, genre) in enumerate(zip(NAMES, GENRES, strict=True)):
        write_png(tmp_path / f"in/{genre}/artist {position}/{name}.png", BYTES[position, ::-1])
    manifest, pieces = bring(tmp_path / "in")
    assert manifest.spec_hints == {"n_mels": 6, "level_reference": "minmax", "frames_kept": 9}
    assert manifest.groups_known
    np.testing.assert_array_equal(pieces["a/artist 0/one"][0], BYTES[0].T)
    np.testing.assert_array_equal(pieces["b/artist 3/four"][0], BYTES[3].T)


def test_pictures_of_other_kinds(bring, tmp_path):
    for mode in ("L", "RGB", "RGBA", "P", "LA"):
        write_png(tmp_path / f"in/a/{mode}.png", BYTES[0, ::-1], mode)
    write_png(tmp_path / "in/a/sixteen.png", BYTES[0, ::-1].astype(np.uint16) << 8)
    write_png(tmp_path / "in/b/wider.png", np.hstack([BYTES[1], BYTES[2]]))
    write_png(tmp_path / "in/b/higher.png", np.vstack([BYTES[1], BYTES[2]]))
    write_png(tmp_path / "in/b/colour.png", np.stack([BYTES[1], BYTES[2], BYTES[3]], axis=-1))
    (tmp_path / "in/b/torn.png").write_bytes((tmp_path / "in/b/wider.png").read_bytes()[:60])
    manifest, pieces = bring(tmp_path / "in")
    for name in ("L", "RGB", "RGBA", "P", "LA", "sixteen"):
        np.testing.assert_array_equal(pieces[f"a/{name}"][0], BYTES[0].T)
    assert pieces["b/wider"][0].shape == (18, 6)
    messages = {track.id: track.error["message"] for track in manifest.tracks if track.error}
    assert set(messages) == {"b/higher", "b/colour", "b/torn"}
    assert messages["b/higher"] == "b/higher is 12 pixels (bands) high where most are 6."
    assert "is a picture in colour" in messages["b/colour"]
    assert "cannot be read as PNG" in messages["b/torn"]


def test_pictures_and_arrays_together_are_refused(bring, tmp_path):
    write_npz(tmp_path / "in/set.npz")
    write_png(tmp_path / "in/a/x.png", BYTES[0])
    with pytest.raises(ParameterError, match=r"holds \.npz files and \.png files"):
        bring(tmp_path / "in")


def test_failing_import_leaves_everything_as_it_was(bring, tmp_path):
    bring(write_npz(tmp_path / "in.npz"))
    before = [(tmp_path / name).read_bytes() for name in ("raw/in.npy", "manifest.json")]
    for broken in ({"spectrogram": BYTES - 130.5}, {"genre": ["a"] * 4}):
        with pytest.raises(ParameterError):
            bring(write_npz(tmp_path / "in.npz", **broken))
        assert [(tmp_path / name).read_bytes() for name in ("raw/in.npy", "manifest.json")] == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.npz", "manifest.json", "raw"]


@needs_gtzan
def test_published_gtzan(bring):
    manifest, pieces = bring(GTZAN / "logmel.npz")
    assert len(manifest.tracks) == 639
    assert len(manifest.genres) == 10
    assert manifest.spec_hints == {"n_mels": 128, "level_reference": "minmax", "frames_kept": 387}
    assert manifest.groups_known
    with np.load(GTZAN / "logmel.npz") as arrays:
        for position in (0, 300, 638):
            name = str(arrays["track"][position])
            np.testing.assert_array_equal(pieces[name][0], arrays["spectrogram"][position].T)
    found = audit_manifest(manifest, None, AuditParams())
    assert found.left_out == frozenset()
    published = make_split(manifest, found, SplitParams(method="published"))
    assert (len(published.train), len(published.valid), len(published.test)) == (442, 197, 0)
    assert (published.evaluation_part, published.leaking) == ("valid", False)
    own = make_split(manifest, found, SplitParams(seed=3))
    assert not own.leaking
    for genre, total in manifest.tracks_per_genre.items():
        for part, share in (("train", 0.6), ("valid", 0.2), ("test", 0.2)):
            assert abs(own.report[part][genre]["tracks"] / total - share) < 0.12
