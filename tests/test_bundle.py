"""Bundles: written atomically, verified when read, stamped without a change of their hash."""

import json
import math
import pickle
import re
import time

import numpy as np
import pytest

from genreflow.bundle import Bundle, BundleError, Familiarity, stamp, write_bundle
from genreflow.bundle_files import write_metadata
from genreflow.errors import GenreflowError, ParameterError
from genreflow.features.spec import FeatureSpec, FilterBank

SPEC = FeatureSpec(n_fft=512, hop_length=256, n_mels=16, clip_seconds=5.0)


def reference(seed=3, **changes):
    rows = np.random.default_rng(seed).random((6, 4)).astype(np.float16)
    return Familiarity(**{"prototypes": rows, "refuse_above": 0.25, "tracks": 40, "share": 0.05} | changes)


def write(directory, **changes):
    rng = np.random.default_rng(7)
    values = {
        "onnx": b"any bytes",
        "labels": ["blues", "hip hop", "jazz"],
        "spec": SPEC,
        "bank": FilterBank(mel=rng.random((16, 257), dtype=np.float32), window=np.hanning(512).astype(np.float32)),
        "segment_frames": 80,
        "segment_hop": 40,
        "temperature": 1.5,
        "abstain_below": 0.25,
        "architecture": "efficient",
        "lineage": {"manifest": "ab12", "git_revision": "deadbeef"},
    }
    return write_bundle(directory, **(values | changes))


def test_round_trip(tmp_path):
    written = write(tmp_path / "models" / "bundle")
    read = Bundle.load(tmp_path / "models" / "bundle")
    assert read.labels == ("blues", "hip hop", "jazz")
    assert read.spec == SPEC
    assert (read.segment_frames, read.segment_hop, read.temperature, read.abstain_below) == (80, 40, 1.5, 0.25)
    assert (read.name, read.architecture, read.version, read.metrics) == ("genre-classifier", "efficient", None, {})
    assert read.lineage == {"manifest": "ab12", "git_revision": "deadbeef"}
    np.testing.assert_array_equal(read.bank.mel, written.bank.mel)
    assert read.onnx_path.read_bytes() == b"any bytes"
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["bundle"]


def test_the_hash_depends_on_model_and_training_tracks_but_neither_on_the_run_nor_on_the_keras_file(tmp_path):
    first = write(tmp_path / "first").hash
    time.sleep(2.1)  # zip archives hold times in steps of two seconds
    (tmp_path / "some.keras").write_bytes(b"weights and a timestamp")
    assert write(tmp_path / "second", keras_path=tmp_path / "some.keras").hash == first
    run = {"lineage": {"manifest": "cd34", "mlflow_run": "1f", "git_revision": "c0ffee"}}
    assert write(tmp_path / "another_run", **run).hash == first
    assert Bundle.load(tmp_path / "another_run").content_hash != Bundle.load(tmp_path / "first").content_hash
    changes = [
        {"onnx": b"another model"},
        {"familiarity": reference()},
        {"familiarity": reference(seed=4)},
        {"familiarity": reference(refuse_above=0.3)},
        {"bank": FilterBank(mel=np.ones((16, 257), np.float32), window=np.ones(512, np.float32))},
        {"labels": ["hip hop", "blues", "jazz"]},
        {"temperature": 1.25},
        {"lineage": {"train_tracks": ["ab"]}},
        {"lineage": {"leaking": True}},
    ]
    hashes = {write(tmp_path / f"changed{i}", **change).hash for i, change in enumerate(changes)}
    assert len(hashes | {first}) == len(changes) + 1


def test_the_hash_of_the_weights_stands_for_the_onnx_file(tmp_path):
    def hashed(name, onnx, weights, **changes):
        lineage = {"weights_hash": weights, "mlflow_run": name}
        return write(tmp_path / name, onnx=onnx, lineage=lineage, **changes)

    first, again = hashed("first", b"an export", "ab"), hashed("again", b"another export", "ab")
    assert again.hash == first.hash
    assert again.content_hash != first.content_hash
    with_reference = [hashed(f"seed {n}", b"an export", "ab", familiarity=reference(seed=n)) for n in (3, 4)]
    assert with_reference[0].hash == with_reference[1].hash, "prototypes follow from weights and training tracks"
    assert with_reference[0].hash != first.hash
    changed = [
        hashed("weights", b"an export", "cd"),
        hashed("labels", b"an export", "ab", labels=["hip hop", "blues", "jazz"]),
        hashed("temperature", b"an export", "ab", temperature=2.0),
        write(tmp_path / "without", onnx=b"an export", lineage={"mlflow_run": "first"}),
    ]
    assert len({first.hash, *(bundle.hash for bundle in changed)}) == 5


def test_a_stamp_is_a_copy_with_the_same_hash(tmp_path):
    (tmp_path / "some.keras").write_bytes(b"weights")
    plain = write(tmp_path / "plain", keras_path=tmp_path / "some.keras")
    plain.onnx_path.chmod(0o444)  # as files that DVC linked from its cache
    stamped = stamp(tmp_path / "plain", tmp_path / "stamped", version="7", metrics={"accuracy": 0.8, "f1": math.nan})
    assert (stamped.version, stamped.metrics) == ("7", {"accuracy": 0.8, "f1": None})
    assert (stamped.hash, stamped.content_hash) == (plain.hash, plain.content_hash)
    assert stamped.keras_path.read_bytes() == b"weights"
    assert Bundle.load(tmp_path / "plain").version is None
    assert stamped.onnx_path.stat().st_ino != plain.onnx_path.stat().st_ino
    again = stamp(tmp_path / "stamped", tmp_path / "stamped", name="music", version="8", metrics={})
    assert (again.name, again.version) == ("music", "8")
    assert (again.hash, again.content_hash) == (plain.hash, plain.content_hash)


def test_a_reference_is_stored_with_its_prototypes(tmp_path):
    written = reference()
    read = stamp(write(tmp_path / "plain", familiarity=written).directory, tmp_path / "b", version="1", metrics={})
    assert read.familiarity.to_dict() == {"refuse_above": 0.25, "tracks": 40, "share": 0.05}
    np.testing.assert_array_equal(read.familiarity.prototypes, written.prototypes)
    assert read.familiarity.prototypes.dtype == np.float16
    assert write(tmp_path / "without").familiarity is None
    assert not (tmp_path / "without" / "prototypes.npy").exists()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"refuse_above": 2.5}, "refuse_above"),
        ({"refuse_above": math.nan}, "refuse_above"),
        ({"share": 1.5}, "share"),
        ({"tracks": -1}, "tracks"),
        ({"prototypes": np.zeros((0, 4), np.float16)}, "prototypes"),
        ({"prototypes": np.ones((2, 4), np.float32)}, "prototypes"),
        ({"prototypes": np.full((2, 4), np.inf, np.float16)}, "prototypes"),
    ],
)
def test_an_invalid_reference_is_refused(changes, named):
    with pytest.raises(ParameterError, match=named):
        reference(**changes)


def test_a_keras_file_that_the_bundle_does_not_list_is_refused(tmp_path):
    write(tmp_path / "bundle")
    (tmp_path / "bundle" / "model.keras").write_bytes(b"of another bundle")
    with pytest.raises(BundleError, match=r"model\.keras"):
        Bundle.load(tmp_path / "bundle")


def test_the_keras_file_is_optional(tmp_path):
    (tmp_path / "some.keras").write_bytes(b"weights")
    bundle = write(tmp_path / "bundle", keras_path=tmp_path / "some.keras")
    bundle.keras_path.unlink()
    assert Bundle.load(tmp_path / "bundle").hash == bundle.hash


def test_a_bundle_is_replaced_atomically(tmp_path):
    (tmp_path / "some.keras").write_bytes(b"weights")
    write(tmp_path / "bundle", keras_path=tmp_path / "some.keras")
    assert not write(tmp_path / "bundle", temperature=2.0).keras_path.exists()
    with pytest.raises(ParameterError, match="temperature"):
        write(tmp_path / "bundle", temperature=0.0)
    assert Bundle.load(tmp_path / "bundle").temperature == 2.0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "some.keras"]


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda d: (d / "bundle.json").unlink(), "bundle.json"),
        (lambda d: (d / "bundle.json").write_text("{"), "bundle.json"),
        (lambda d: (d / "bundle.json").write_text("[]"), "bundle.json"),
        (lambda d: (d / "model.onnx").unlink(), "model.onnx"),
        (lambda d: (d / "model.onnx").write_bytes(b"truncated"), "model.onnx"),
        (lambda d: (d / "filters.npz").write_bytes(b"truncated"), "filters.npz"),
        (lambda d: (d / "prototypes.npy").unlink(), "prototypes.npy"),
        (lambda d: (d / "prototypes.npy").write_bytes(b"truncated"), "prototypes.npy"),
        (lambda d: edit(d, familiarity={"refuse_above": 0.5}), "tracks"),
        (lambda d: edit(d, format=1), "format"),
        (lambda d: edit(d, format=99), "format"),
        (lambda d: (d / "bundle.json").write_text("[" * 100_000), "bundle.json"),
        (lambda d: edit(d, labels=["one"]), "labels"),
        (lambda d: edit(d, spec={"sample_rate": 8000, "colour": "blue"}), "colour"),
        (lambda d: edit(d, files={}), "model.onnx"),
        (lambda d: edit(d, surprise=1), "surprise"),
    ],
)
def test_the_error_names_the_damaged_file_or_field(tmp_path, damage, named):
    write(tmp_path / "bundle", familiarity=reference())
    damage(tmp_path / "bundle")
    with pytest.raises(GenreflowError, match=re.escape(named)):
        Bundle.load(tmp_path / "bundle")


def edit(directory, **changes):
    """Change fields of ``bundle.json``, with a checksum that is right."""
    metadata = json.loads((directory / "bundle.json").read_text()) | changes
    del metadata["checksum"]
    write_metadata(directory, metadata)


@pytest.mark.parametrize("name", ["bundle.json", "model.onnx", "filters.npz", "model.keras", "prototypes.npy"])
def test_a_flipped_bit_in_any_file_is_refused(tmp_path, name):
    """Every 13th bit of ``bundle.json``, random ones of the others."""
    (tmp_path / "some.keras").write_bytes(bytes(range(256)) * 4)
    changes = {"temperature": 1e-5, "labels": ["hip hop", "rock", "日本"], "familiarity": reference()}
    write(tmp_path / "plain", keras_path=tmp_path / "some.keras", **changes)
    directory = stamp(tmp_path / "plain", tmp_path / "bundle", version="7", metrics={"accuracy": 0.1}).directory
    content = (directory / name).read_bytes()
    bits = (
        range(0, 8 * len(content), 13)
        if name == "bundle.json"
        else np.random.default_rng(5).integers(8 * len(content), size=100)
    )
    accepted, messages = [], []
    for bit in bits:
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << (bit % 8)
        (directory / name).write_bytes(damaged)
        try:
            Bundle.load(directory)
            accepted.append(bit)
        except BundleError as error:
            messages.append(str(error))
    assert accepted == []
    assert all(message.startswith(f"{directory / name}: ") and "\n" not in message for message in messages)
    (directory / name).write_bytes(content)
    assert Bundle.load(directory).version == "7"


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace('"blues",\n    "hip hop"', '"hip hop",\n    "blues"'),  # labels swapped
        lambda text: text.replace("1.5", "1.6"),
        lambda text: text.replace("deadbeef", "deadbeee"),
        lambda text: text.replace('"version": null', '"version": "9"'),
        lambda text: text + " ",
        lambda text: "",
        lambda text: text[: len(text) // 2],
    ],
)
def test_a_changed_bundle_json_is_refused(tmp_path, damage):
    path = write(tmp_path / "bundle").directory / "bundle.json"
    text = path.read_text()
    assert damage(text) != text
    path.write_text(damage(text))
    with pytest.raises(BundleError) as caught:
        Bundle.load(tmp_path / "bundle")
    assert caught.value.path == path
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.path) == (str(caught.value), path)


def test_a_bundle_of_the_former_format_is_refused_in_one_sentence(tmp_path):
    path = write(tmp_path / "bundle").directory / "bundle.json"
    former = json.loads(path.read_text()) | {"format": 1}
    del former["checksum"]
    path.write_text(json.dumps(former, indent=2, sort_keys=True) + "\n")
    with pytest.raises(BundleError, match="format must be 3; got 1") as caught:
        Bundle.load(tmp_path / "bundle")
    assert str(caught.value).count(". ") == 0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"labels": ["jazz", "jazz"]}, "labels"),
        ({"segment_frames": 0}, "segment_frames"),
        ({"temperature": math.inf}, "temperature"),
        ({"abstain_below": 1.5}, "abstain_below"),
        ({"bank": FilterBank(mel=np.ones((8, 257), np.float32), window=np.ones(512, np.float32))}, "filter bank"),
    ],
)
def test_invalid_values_are_refused_and_nothing_is_written(tmp_path, changes, named):
    with pytest.raises(ParameterError, match=named):
        write(tmp_path / "bundle", **changes)
    assert list(tmp_path.iterdir()) == []
