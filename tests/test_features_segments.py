"""Segments: where they start, and that those of a stream equal those of the whole track."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genreflow.errors import ParameterError
from genreflow.features.segments import iter_segments, segment_starts


@pytest.mark.parametrize(
    ("n_frames", "length", "hop", "starts"),
    [
        (0, 4, 2, [0]),
        (3, 4, 2, [0]),
        (4, 4, 2, [0]),
        (5, 4, 2, [0, 1]),
        (8, 4, 2, [0, 2, 4]),
        (9, 4, 2, [0, 2, 4, 5]),
        (9, 4, 4, [0, 4, 5]),
        (20, 4, 10, [0, 10, 16]),
    ],
)
def test_starts(n_frames, length, hop, starts):
    assert segment_starts(n_frames, length, hop).tolist() == starts


def reference(frames: np.ndarray, length: int, hop: int) -> tuple[list[int], np.ndarray]:
    """Cut the whole track, as the docstring of `segment_starts` says."""
    last = max(0, len(frames) - length)
    starts = sorted({*range(0, last + 1, hop), last})
    padded = np.concatenate([frames, np.zeros((length, frames.shape[1]), np.uint8)])
    return starts, np.stack([padded[start : start + length] for start in starts]).astype(np.float32) / np.float32(255)


@settings(deadline=None, max_examples=200)
@given(
    sizes=st.lists(st.integers(0, 23), min_size=1, max_size=8).filter(any),
    length=st.integers(1, 20),
    hop=st.integers(1, 25),
    batch=st.integers(1, 6),
)
def test_segments_of_a_stream_equal_those_of_the_whole_track(sizes, length, hop, batch):
    rng = np.random.default_rng(sum(sizes))
    blocks = [rng.integers(0, 256, (size, 3), dtype=np.uint8) for size in sizes]
    frames = np.concatenate(blocks)
    starts, segments = reference(frames, length, hop)
    batches = list(iter_segments(iter(blocks), length=length, hop=hop, batch=batch))
    assert np.concatenate([batch_starts for batch_starts, _, _ in batches]).tolist() == starts
    np.testing.assert_array_equal(np.concatenate([x for _, x, _ in batches]), segments)
    assert segment_starts(len(frames), length, hop).tolist() == starts
    assert all(len(x) == batch for _, x, _ in batches[:-1])
    assert {short for _, _, short in batches} == {len(frames) < length}
    assert all(x.dtype == np.float32 for _, x, _ in batches)


def test_memory_is_flat_over_a_long_track():
    held = []

    def blocks():
        for _ in range(300):
            block = np.zeros((100, 2), np.uint8)
            held.append(block)
            yield block

    seen = 0
    for starts, segments, _ in iter_segments(blocks(), length=50, hop=25, batch=8):
        seen += len(starts)
        # Batches are yielded while the track is read, not at its end.
        assert starts[-1] + 50 >= 100 * len(held) - 8 * 25 - 100
        assert not segments.any()
    assert seen == segment_starts(30000, 50, 25).size


def test_no_frames_no_segments():
    assert list(iter_segments([], length=4, hop=2)) == []


@pytest.mark.parametrize("name", ["length", "hop", "batch"])
def test_lengths_must_be_positive(name):
    values = {"length": 1, "hop": 1, "batch": 1} | {name: 0}
    with pytest.raises(ParameterError, match=name):
        list(iter_segments([np.zeros((3, 2), np.uint8)], **values))
