"""The embeddings of all tracks: computed once, stored like features."""

import pickle

import numpy as np
import pytest

from embedder_toy import SIZE, write_network
from genreflow.embedding.compute import segment_hop, update_embeddings
from genreflow.embedding.conversion import PATCH_SPEC
from genreflow.embedding.embedder import Embedder
from genreflow.embedding.store import EmbeddingStore
from genreflow.errors import DamagedFileError, ParameterError
from genreflow.export.embedder_graph import import_embedder
from genreflow.features.segments import segment_starts
from genreflow.features.shards import array_path
from genreflow.features.spec import FeatureSpec
from genreflow.features.store import FeatureStore
from genreflow.features.update import update


@pytest.fixture(scope="module")
def embedder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embedder")
    path = folder / "embedder.onnx"
    import_embedder(write_network(folder / "toy.onnx"), path, licence="MIT", spec=PATCH_SPEC)
    return path


def pieces_of(seed: int) -> list[np.ndarray]:
    """Two pieces of a track, one of them shorter than a segment."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (frames, 96), dtype=np.uint8) for frames in (500 + seed, 90)]


def write_features(folder, seeds) -> FeatureStore:
    items = [(f"{seed:064x}", seed) for seed in seeds]
    update(folder, PATCH_SPEC, items, pieces_of, n_jobs=1, progress=False)
    return FeatureStore.open(folder)


def test_a_row_is_the_embedding_of_a_segment(tmp_path, embedder):
    features = write_features(tmp_path / "features", range(3))
    report = update_embeddings(tmp_path / "embeddings", features, embedder, n_jobs=1, progress=False)
    assert (report.computed, report.reused) == (3, 0)
    store = EmbeddingStore.open(tmp_path / "embeddings")
    assert (store.spec.length, store.spec.hop, store.spec.size) == (187, 188, SIZE)
    assert store.spec.feature_key == PATCH_SPEC.key
    network = pickle.loads(pickle.dumps(Embedder(embedder)))  # as other processes get it
    for key in features:
        for own, frames in zip(store.pieces(key), features.pieces(key), strict=True):
            padded = np.zeros((max(187, len(frames)), 96), np.float32)
            padded[: len(frames)] = frames / np.float32(255)
            expected = network.embed(
                np.stack([padded[start : start + 187] for start in segment_starts(len(frames), 187, 188)])
            )
            assert own.dtype == np.float16
            np.testing.assert_allclose(own, expected, rtol=1e-3, atol=1e-3)


def test_only_new_tracks_are_computed_and_another_embedder_replaces_all(tmp_path, embedder):
    folder = tmp_path / "embeddings"

    def change(seeds, network=embedder):
        features = write_features(tmp_path / "features", seeds)
        report = update_embeddings(folder, features, network, n_jobs=1, progress=False)
        assert set(EmbeddingStore.open(folder)) == set(features)
        return report.computed, report.reused, report.dropped

    assert change(range(4)) == (4, 0, 0)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert change(range(4)) == (0, 4, 0)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert change(range(1, 6)) == (2, 3, 1)
    other = tmp_path / "other.onnx"
    source = write_network(tmp_path / "source.onnx", seed=1)
    import_embedder(source, other, licence="MIT", spec=PATCH_SPEC)
    assert change(range(1, 6), other) == (5, 0, 0)


def test_a_damaged_shard_is_refused_and_computed_again(tmp_path, embedder):
    features = write_features(tmp_path / "features", range(2))
    folder = tmp_path / "embeddings"
    update_embeddings(folder, features, embedder, n_jobs=1, progress=False)
    (shard,) = folder.glob("shard-*.npy")
    intact = shard.read_bytes()
    shard.write_bytes(intact[:-1] + bytes([intact[-1] ^ 1]))
    with pytest.raises(DamagedFileError, match=r"`dvc repro embed` computes its tracks again\."):
        EmbeddingStore.open(folder).verify()
    report = update_embeddings(folder, features, embedder, n_jobs=1, progress=False)
    assert report.damaged == (shard.stem,)
    assert array_path(folder, shard.stem.removeprefix("shard-")).read_bytes() == intact
    EmbeddingStore.open(folder).verify()


def test_a_store_of_features_is_no_store_of_embeddings(tmp_path):
    write_features(tmp_path, range(1))
    with pytest.raises(ParameterError, match=r"`dvc repro embed` computes the features\."):
        EmbeddingStore.open(tmp_path)


@pytest.mark.parametrize(
    ("clip_seconds", "length", "hop", "number"),
    [(30.0, 187, 188, 10), (30.0, 1876, 1876, 1), (30.0, 2000, 2000, 1), (10.0, 187, 147, 4), (30.0, 128, 125, 15)],
)
def test_the_hop_covers_a_clip_with_the_fewest_segments(clip_seconds, length, hop, number):
    spec = FeatureSpec(**PATCH_SPEC.to_dict() | {"clip_seconds": clip_seconds})
    assert segment_hop(spec, length) == hop
    assert len(segment_starts(spec.frames_per_clip, length, hop)) == number
