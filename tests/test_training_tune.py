"""A study: resumed, pruned, with failures, on a real SQLite storage."""

from dataclasses import replace

import numpy as np
import optuna
import pytest

from genreflow.errors import GenreflowError, ParameterError
from genreflow.models import MODELS
from genreflow.training.search import Search, study_name
from genreflow.training.tune import run_study

SEARCH = Search(architectures=("efficient", "parallel_cnn"), trials=6, epochs=3, startup_trials=2, warmup_epochs=1)


class Recorder:
    """Keeps what a tracker is told."""

    def __init__(self):
        self.started, self.epochs, self.ended = {}, [], {}

    def start(self, number, params):
        self.started[f"run-{number}"] = dict(params)
        return f"run-{number}"

    def epoch(self, run_id, epoch, metrics):
        self.epochs.append((run_id, epoch, metrics["val_track_accuracy"]))

    def end(self, run_id, status, tags):
        self.ended[run_id] = (status, dict(tags))


def hill(architecture, learning_rate, hyperparameters, on_epoch):
    """Better the nearer the learning rate is to 1e-2, and always better with `efficient`."""
    import math

    peak = (0.9 if architecture == "efficient" else 0.4) - 0.1 * abs(math.log10(learning_rate) + 2)
    for epoch in range(3):
        on_epoch(epoch, {"val_track_accuracy": peak * (epoch + 1) / 3})
    return peak, 3, {"val_loss": 1 - peak}


def run(objective, search, storage, recorder, name="a-study"):
    return run_study(objective, search, name=name, storage=storage, trials=recorder, say=lambda _: None)


@pytest.fixture
def storage(tmp_path):
    return f"sqlite:///{tmp_path / 'optuna.db'}"


def test_the_study_starts_from_every_architecture_and_finds_the_better_one(storage):
    recorder = Recorder()
    best, table = run(hill, SEARCH, storage, recorder)
    assert [params["architecture"] for params in list(recorder.started.values())[:2]] == ["efficient", "parallel_cnn"]
    first = recorder.started["run-0"]
    assert first["efficient.learning_rate"] == MODELS["efficient"].learning_rate.default
    assert best.architecture == "efficient"
    assert set(best.hyperparameters) == set(MODELS["efficient"].space)
    assert len(table) == 6
    assert max(row["value"] for row in table if row["state"] == "COMPLETE") == best.value


def test_bad_trials_are_pruned_and_said_to_be(storage):
    recorder = Recorder()
    run(hill, SEARCH, storage, recorder)
    pruned = [run_id for run_id, (status, _) in recorder.ended.items() if status == "KILLED"]
    assert pruned
    order = list(recorder.started)
    for run_id in pruned:
        epoch, value = [(epoch, value) for run, epoch, value in recorder.epochs if run == run_id][-1]
        before = [v for run, e, v in recorder.epochs if e == epoch and order.index(run) < order.index(run_id)]
        assert value < np.median(before)
    assert "below the median" in recorder.ended[pruned[0]][1]["reason"]


def test_a_study_goes_on_where_it_stopped(storage):
    class Stop(BaseException):
        pass

    first, second = Recorder(), Recorder()
    calls = []

    def stops(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise Stop
        return hill(*arguments)

    with pytest.raises(Stop):
        run(stops, SEARCH, storage, first)
    assert first.ended["run-3"][0] == "FAILED"
    best, table = run(hill, SEARCH, storage, second)
    assert len([row for row in table if row["state"] in ("COMPLETE", "PRUNED", "FAIL")]) >= 6
    assert "run-0" not in second.started
    drawn = [tuple(sorted(params.items())) for r in (first, second) for params in r.started.values()]
    assert len(set(drawn)) == len(drawn), "a resumed study drew the same numbers again"
    third = Recorder()
    again, _ = run(hill, SEARCH, storage, third)
    assert again == best
    assert not third.started


def test_a_failing_trial_does_not_end_the_study(storage):
    def fails_once(architecture, *rest):
        if architecture == "parallel_cnn":
            raise MemoryError("no room")
        return hill(architecture, *rest)

    recorder = Recorder()
    best, _ = run(fails_once, SEARCH, storage, recorder)
    assert best.architecture == "efficient"
    failed = [tags["reason"] for status, tags in recorder.ended.values() if status == "FAILED"]
    assert failed[0] == "MemoryError: no room"


def test_a_study_without_any_finished_trial_says_so(storage):
    def fails(*_):
        raise ValueError("nothing works")

    with pytest.raises(GenreflowError, match="No trial of the study a-study has finished"):
        run(fails, SEARCH, storage, Recorder())


def test_equal_accuracies_are_decided_by_the_loss(storage):
    losses = iter([0.9, 0.2, 0.5, 0.6, 0.7, 0.8])

    def flat(architecture, learning_rate, own, on_epoch):
        return 0.5, 1, {"val_loss": next(losses)}

    best, _ = run(flat, SEARCH, storage, Recorder())
    assert best.number == 1


def test_the_name_follows_data_and_search_space_but_not_the_budget():
    name = study_name(SEARCH, "manifest", "split")
    assert name == study_name(replace(SEARCH, trials=100, timeout=60, seed=9), "manifest", "split")
    assert name != study_name(SEARCH, "other manifest", "split")
    assert name != study_name(replace(SEARCH, architectures=("efficient",)), "manifest", "split")
    assert name != study_name(replace(SEARCH, learning_rate=(1e-4, 1e-2)), "manifest", "split")


def test_an_unknown_architecture_is_named():
    with pytest.raises(ParameterError, match=r"'resnet'.*efficient"):
        Search(architectures=("resnet",))


def test_hyperparameters_can_be_given_instead_of_searched(storage, tmp_path):
    weights = tmp_path / "imagenet.h5"
    weights.touch()
    fixed = {"efficient": {"width": 8}, "resnet50": {"weights": str(weights)}}
    search = replace(SEARCH, architectures=("efficient", "resnet50"), fixed=fixed)
    seen, recorder = [], Recorder()

    def spy(architecture, learning_rate, hyperparameters, on_epoch):
        seen.append((architecture, hyperparameters))
        return hill(architecture, learning_rate, hyperparameters, on_epoch)

    best, _ = run(spy, search, storage, recorder)
    assert {architecture for architecture, _ in seen} == {"efficient", "resnet50"}
    for architecture, own in seen:
        assert own.items() >= fixed[architecture].items()
        assert set(own) == set(MODELS[architecture].space)
    assert best.hyperparameters["width"] == 8
    assert not any("width" in name for params in recorder.started.values() for name in params)
    assert study_name(search, "data") != study_name(replace(search, fixed={}), "data")


def test_the_range_of_the_learning_rate_can_be_given(storage):
    recorder = Recorder()
    run(hill, replace(SEARCH, learning_rate=(1e-5, 2e-5)), storage, recorder)
    for params in recorder.started.values():
        rate = params[f"{params['architecture']}.learning_rate"]
        assert 1e-5 <= rate <= 2e-5
    assert optuna.study.get_all_study_names(storage) == ["a-study"]
