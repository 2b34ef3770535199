"""Batches are reproducible, prepared by a thread that ends with the epoch, and their memory is used again safely."""

import threading
import time

import numpy as np
import pytest

from genreflow.training.batches import PREFETCH, TrainingBatches
from genreflow.training.options import FitOptions
from genreflow.training.segment_set import SegmentSet
from training_toy import CLASSES, OPTIONS, make_segments


@pytest.fixture(scope="module")
def data():
    return make_segments(24, 1)


def running_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "training batches"]


def test_every_epoch_is_shuffled_differently_and_reproducibly(data):
    def epochs():
        batches = TrainingBatches(data, OPTIONS, classes=CLASSES)
        return [[x.copy() for x, _ in batches.epoch(number, convert=tuple)] for number in range(3)]

    first, again = epochs(), epochs()
    assert len(first[0]) == data.n_segments // 16
    assert all((a == b).all() for one, other in zip(first, again, strict=True) for a, b in zip(one, other, strict=True))
    assert all((first[i][0] != first[j][0]).any() for i, j in ((0, 1), (1, 2), (0, 2)))


def test_a_batch_is_valid_until_the_next_one_is_asked_for(data):
    batches = TrainingBatches(data, OPTIONS, classes=CLASSES)
    expected = [batches.batch(0, index)[0] for index in range(len(batches))]
    addresses = set()
    for (x, _), same in zip(batches.epoch(0, convert=tuple), expected, strict=True):
        time.sleep(0.02)  # the thread prepares as many batches as it can
        np.testing.assert_array_equal(x, same)
        addresses.add(x.ctypes.data)
    assert len(expected) > PREFETCH + 2 >= len(addresses)  # memory was used again


def test_two_epochs_at_a_time_do_not_share_memory(data):
    batches = TrainingBatches(data, OPTIONS, classes=CLASSES)
    for (first, _), (second, _), index in zip(
        batches.epoch(0, convert=tuple), batches.epoch(1, convert=tuple), range(len(batches)), strict=True
    ):
        np.testing.assert_array_equal(first, batches.batch(0, index)[0])
        np.testing.assert_array_equal(second, batches.batch(1, index)[0])


def test_an_exception_in_the_thread_reaches_the_caller(data):
    def fail(batch):
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        list(TrainingBatches(data, OPTIONS, classes=CLASSES).epoch(0, convert=fail))
    assert not running_threads()


def test_the_thread_ends_with_an_epoch_that_is_left_early(data):
    epoch = TrainingBatches(data, OPTIONS, classes=CLASSES).epoch(0, convert=tuple)
    next(epoch)
    assert running_threads()
    epoch.close()
    assert not running_threads()


def test_class_weights_give_all_genres_the_same_total_weight(data):
    pieces = data.pieces
    imbalanced = SegmentSet(pieces, [1] + [0] * (len(pieces) - 1), np.arange(len(pieces)), 10, 10)
    options = FitOptions.unregularised(batch_size=imbalanced.n_segments, class_weights=True)
    _, y, weights = TrainingBatches(imbalanced, options, classes=3).batch(0, 0)
    total = y.T @ weights
    assert total[0] == pytest.approx(total[1], rel=1e-5)
    assert total[2] == 0
    assert weights.mean() == pytest.approx(1, rel=1e-5)
    assert len(TrainingBatches(imbalanced, FitOptions.unregularised(batch_size=4), classes=3).batch(0, 0)) == 2


def test_a_short_epoch_continues_where_the_last_one_ended(data):
    options = OPTIONS.model_copy(update={"segments_per_epoch": 40, "batch_size": 16, "random_crop": False})
    batches = TrainingBatches(data, options, classes=CLASSES)
    assert (len(batches), batches.segments_per_epoch) == (2, 32)
    seen = []
    for epoch in range(data.n_segments // 32):
        seen += [x.copy() for x, _ in batches.epoch(epoch, convert=tuple)]
    whole = TrainingBatches(data, OPTIONS.model_copy(update={"random_crop": False}), classes=CLASSES)
    for i, x in enumerate(seen):
        np.testing.assert_array_equal(x, whole.batch(0, i)[0])
