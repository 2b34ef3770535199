"""Imported spectrograms: arrays and images give equal bytes, and ambiguous ones are refused."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genreflow.audit.manifest import audit_manifest
from genreflow.audit.params import AuditParams
from genreflow.datasets.params import DataParams
from genreflow.datasets.sources import ingest
from genreflow.datasets.spectrograms import spectrogram_pieces
from genreflow.errors import ParameterError
from genreflow.features.spec import FeatureSpec
from genreflow.splits.make import make_split
from genreflow.splits.params import SplitParams
from gtzan_excerpts import GTZAN, needs_gtzan

BYTES = np.random.default_rng(0).integers(0, 256, (4, 6, 9), dtype=np.uint8)
BYTES[:, 0, 0], BYTES[:, 0, 1] = 0, 255
NAMES, GENRES = ["one", "two", "three", "four"], ["a", "a", "b", "b"]


OTHER_SPEC = FeatureSpec(sample_rate=8000, n_fft=512, hop_length=256, n_mels=6, fmax=4000.0)


def write_npz(path: Path, *, spectrogram=BYTES, track=NAMES, genre=GENRES, **more) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, spectrogram=spectrogram, track=track, genre=genre, **more)
    return path


def write_png(path: Path, pixels: np.ndarray, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path)
    return path


@pytest.fixture
def run(tmp_path):
    """Ingest spectrograms; return the manifest and the pieces of each readable track."""

    def run(path: Path, **data):
        params = DataParams(source="spectrograms", path=path, **data)
        manifest = ingest(params, tmp_path / "raw", tmp_path / "manifest.json", progress=False, n_jobs=1)
        return manifest, {
            track.id: spectrogram_pieces(track, tmp_path / "raw") for track in manifest.tracks if not track.error
        }

    return run


def test_npz_with_uint8(run, tmp_path):
    manifest, pieces = run(write_npz(tmp_path / "in/set.npz"))
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


def test_entries_with_the_same_name_are_pieces_of_one_track(run, tmp_path):
    source = write_npz(tmp_path / "in.npz", track=["x", "y", "x", "z"], genre=["a", "b", "a", "b"])
    manifest, pieces = run(source)
    assert len(manifest.tracks) == 3
    assert [len(own) for own in pieces.values()] == [2, 1, 1]
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
def test_scale_of_the_levels_is_detected(run, tmp_path, stored, reference):
    manifest, pieces = run(write_npz(tmp_path / "in.npz", spectrogram=stored))
    assert manifest.spec_hints["level_reference"] == reference
    np.testing.assert_array_equal([pieces[name][0] for name in NAMES], BYTES.transpose(0, 2, 1))


def test_decibels_below_the_dynamic_range_are_clipped(run, tmp_path):
    stored = np.tile(np.linspace(-120.0, 0.0, 9), (4, 6, 1))
    _, pieces = run(write_npz(tmp_path / "in.npz", spectrogram=stored))
    np.testing.assert_array_equal(pieces["one"][0][:, 0], [0, 0, 0, 16, 64, 112, 159, 207, 255])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"spectrogram": BYTES - 130.5}, r"spectrogram .* got values from -130\.5 to 124\.5"),
        ({"spectrogram": BYTES * 3.3}, r"spectrogram .* got values from 0 to 841\.5"),
        ({"spectrogram": BYTES / 400}, r"spectrogram .* got values from 0 to 0\.6"),
        ({"spectrogram": BYTES.astype(complex)}, r"spectrogram .* got complex128"),
        ({"spectrogram": np.full((4, 6, 9), np.nan)}, r"spectrogram .* got NaN"),
        ({"spectrogram": BYTES[0]}, r"spectrogram .* got \(6, 9\)"),
        ({"spectrogram": BYTES[..., :0]}, r"spectrogram .* got \(4, 6, 0\)"),
        ({"spectrogram": BYTES[:3]}, r"spectrogram .* 4; got 3"),
        ({"genre": ["a", "b"]}, r"genre .* 4; got 2"),
        ({"track": [NAMES]}, r"track .* got \(1, 4\)"),
        ({"genre": ["a", "b", "", "b"]}, r"genre .* got entry 2"),
        ({"track": ["x", "x", "x", "y"]}, r"got a and b for x"),
        ({"track": np.array(NAMES, dtype=object)}, r"track must not hold Python objects"),
        ({"genre": ["a"] * 4}, r"two genres .* got a"),
        ({"genre": ["Hip-Hop", "hiphop", "b", "b"]}, r"got 'Hip-Hop' and 'hiphop'"),
        ({"spectrogram": np.full((4, 6, 9), 7, dtype=np.uint8)}, r"in\.npz: .* got none of 4"),
    ],
)
def test_invalid_npz_is_refused(run, tmp_path, fields, message):
    with pytest.raises(ParameterError, match=message):
        run(write_npz(tmp_path / "in.npz", **fields))
    assert not (tmp_path / "raw").exists()
    assert not (tmp_path / "manifest.json").exists()


def test_file_that_is_no_npz_is_refused(run, tmp_path):
    for content in (b"", b"no zip", b"PK\x03\x04 truncated"):
        (tmp_path / "in.npz").write_bytes(content)
        with pytest.raises(ParameterError, match=r"in\.npz: "):
            run(tmp_path / "in.npz")
    whole = write_npz(tmp_path / "in.npz").read_bytes()
    (tmp_path / "in.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ParameterError, match=r"in\.npz: "):
        run(tmp_path / "in.npz")
    np.savez(tmp_path / "in.npz", x=[1], y=[2])
    with pytest.raises(ParameterError, match=r"in\.npz: .* spectrogram, track, genre; got x, y"):
        run(tmp_path / "in.npz")
    (tmp_path / "in.csv").write_text("x")
    with pytest.raises(ParameterError, match=r"^data\.path: .* got .*in\.csv"):
        run(tmp_path / "in.csv")
    (tmp_path / "none").mkdir()
    with pytest.raises(ParameterError, match=r"^data\.path: .*/none"):
        run(tmp_path / "none")
    with pytest.raises(ParameterError, match=r"^data\.path: .*nowhere\.npz"):
        run(tmp_path / "nowhere.npz")


def test_unusable_entries_are_tracks_with_an_error(run, tmp_path):
    stored = BYTES / 255
    stored[1] = np.nan
    stored[2] = 0.5
    manifest, _ = run(write_npz(tmp_path / "in.npz", spectrogram=stored))
    errors = {track.id: track.error for track in manifest.tracks if track.error}
    assert {name: error["code"] for name, error in errors.items()} == {"two": "unusable", "three": "unusable"}
    assert "NaN" in errors["two"]["message"]
    assert "constant" in errors["three"]["message"]
    assert audit_manifest(manifest, None, AuditParams()).left_out == {"two", "three"}


def test_folder_of_npz_of_different_widths(run, tmp_path):
    write_npz(tmp_path / "in/one.npz", spectrogram=BYTES[:2], track=NAMES[:2], genre=["a", "b"])
    write_npz(tmp_path / "in/two.npz", spectrogram=BYTES[2:, :, 1:], track=NAMES[2:], genre=["a", "b"])
    manifest, pieces = run(tmp_path / "in", genres=["a", "b"])
    assert "frames_kept" not in manifest.spec_hints
    assert [len(pieces[name][0]) for name in NAMES] == [9, 9, 8, 8]
    np.testing.assert_array_equal(pieces["four"][0], BYTES[3, :, 1:].T)
    write_npz(tmp_path / "in/two.npz", spectrogram=BYTES[2:, 1:], track=NAMES[2:], genre=["a", "b"])
    with pytest.raises(ParameterError, match=r"^two: .* 6 bands .* got 5 bands"):
        run(tmp_path / "in")
    write_npz(tmp_path / "in/two.npz")
    with pytest.raises(ParameterError, match=r"two\.npz: .* got one, also in .*one\.npz"):
        run(tmp_path / "in")


def test_groups_and_parts_are_those_of_the_table(run, tmp_path):
    source = write_npz(tmp_path / "in/set.npz")
    (tmp_path / "in/tracks.csv").write_text("track,artist,split\none,X,train\ntwo,,train\nthree,x,valid\nfour,y,test\n")
    manifest, _ = run(source)
    assert {track.id: (track.group, track.split) for track in manifest.tracks} == {
        "one": ("x", "train"),
        "two": ("track:two", "train"),
        "three": ("x", "valid"),
        "four": ("y", "test"),
    }
    assert any("data.tracks" in note for note in manifest.notes)
    (tmp_path / "mine.csv").write_text("path,group\none,Q\n")
    manifest, _ = run(source, tracks=tmp_path / "mine.csv")
    assert manifest.by_id["one"].group == "q"
    assert manifest.by_id["three"].group == "track:three"
    (tmp_path / "mine.csv").write_text("path,group\n")
    assert run(source, tracks=tmp_path / "mine.csv")[0].by_id["three"].group == "x"


def test_images_have_their_lowest_band_at_the_bottom(run, tmp_path):
    for position, (name, genre) in enumerate(zip(NAMES, GENRES, strict=True)):
        write_png(tmp_path / f"in/{genre}/artist {position}/{name}.png", BYTES[position, ::-1])
    manifest, pieces = run(tmp_path / "in")
    assert manifest.spec_hints == {"n_mels": 6, "level_reference": "minmax", "frames_kept": 9}
    assert manifest.groups_known
    np.testing.assert_array_equal(pieces["a/artist 0/one"][0], BYTES[0].T)
    np.testing.assert_array_equal(pieces["b/artist 3/four"][0], BYTES[3].T)


def test_images_of_other_modes_and_sizes(run, tmp_path):
    for mode in ("L", "RGB", "RGBA", "P", "LA"):
        write_png(tmp_path / f"in/a/{mode}.png", BYTES[0, ::-1], mode)
    write_png(tmp_path / "in/a/sixteen.png", BYTES[0, ::-1].astype(np.uint16) << 8)
    write_png(tmp_path / "in/b/wider.png", np.hstack([BYTES[1], BYTES[2]]))
    write_png(tmp_path / "in/b/higher.png", np.vstack([BYTES[1], BYTES[2]]))
    write_png(tmp_path / "in/b/colour.png", np.stack([BYTES[1], BYTES[2], BYTES[3]], axis=-1))
    (tmp_path / "in/b/truncated.png").write_bytes((tmp_path / "in/b/wider.png").read_bytes()[:60])
    manifest, pieces = run(tmp_path / "in")
    for name in ("L", "RGB", "RGBA", "P", "LA", "sixteen"):
        np.testing.assert_array_equal(pieces[f"a/{name}"][0], BYTES[0].T)
    assert pieces["b/wider"][0].shape == (18, 6)
    messages = {track.id: track.error["message"] for track in manifest.tracks if track.error}
    assert set(messages) == {"b/higher", "b/colour", "b/truncated"}
    assert "must be 6 pixels" in messages["b/higher"]
    assert "got 12" in messages["b/higher"]
    assert "greyscale" in messages["b/colour"]
    assert "PNG" in messages["b/truncated"]


def test_images_and_arrays_together_are_refused(run, tmp_path):
    write_npz(tmp_path / "in/set.npz")
    write_png(tmp_path / "in/a/x.png", BYTES[0])
    with pytest.raises(ParameterError, match=r"^data\.path: .* both"):
        run(tmp_path / "in")


def test_failing_ingest_leaves_previous_data_unchanged(run, tmp_path):
    run(write_npz(tmp_path / "in.npz"))
    before = [(tmp_path / name).read_bytes() for name in ("raw/in.npy", "manifest.json")]
    for broken in ({"spectrogram": BYTES - 130.5}, {"genre": ["a"] * 4}):
        with pytest.raises(ParameterError):
            run(write_npz(tmp_path / "in.npz", **broken))
        assert [(tmp_path / name).read_bytes() for name in ("raw/in.npy", "manifest.json")] == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.npz", "manifest.json", "raw"]


@needs_gtzan
def test_published_gtzan(run):
    manifest, pieces = run(GTZAN / "logmel.npz")
    assert len(manifest.tracks) == 639
    assert len(manifest.genres) == 10
    assert manifest.spec_hints == {"n_mels": 128, "level_reference": "minmax", "frames_kept": 387}
    assert manifest.groups_known
    with np.load(GTZAN / "logmel.npz") as arrays:
        for position in (0, 300, 638):
            name = str(arrays["track"][position])
            np.testing.assert_array_equal(pieces[name][0], arrays["spectrogram"][position].T)
    audit = audit_manifest(manifest, None, AuditParams())
    assert audit.left_out == frozenset()
    published = make_split(manifest, audit, SplitParams(method="published"))
    assert (len(published.train), len(published.valid), len(published.test)) == (442, 197, 0)
    assert (published.evaluation_part, published.leaking) == ("valid", False)
    by_group = make_split(manifest, audit, SplitParams(seed=3))
    assert not by_group.leaking
    for genre, total in manifest.tracks_per_genre.items():
        for part, share in (("train", 0.6), ("valid", 0.2), ("test", 0.2)):
            assert abs(by_group.report[part][genre]["tracks"] / total - share) < 0.12
