"""A study: resumed, pruned, with failures and limits, on a real SQLite storage."""

import json
import math
import time
from dataclasses import replace
from itertools import pairwise

import optuna
import pytest

from genreflow.errors import GenreflowError, ParameterError
from genreflow.models import MODELS, Choice, Float, Int
from genreflow.tuning.objectives import Goals
from genreflow.tuning.results import best_of_previous, best_trial, counts, study_record, table
from genreflow.tuning.search_space import Search, study_name
from genreflow.tuning.storage import open_storage
from genreflow.tuning.study import InfeasibleError, Outcome, open_study, run_study, spent

SEARCH = Search(architectures=("efficient", "parallel_cnn"), trials=6, epochs=3, startup_trials=2, warmup_epochs=1)
KNOBS = {
    "train.batch_size": Choice(values=(16, 64), default=16),
    "train.mixup": Float(low=0.0, high=0.4, default=0.2),
    "train.band_shift": Int(low=0, high=4, default=2),
    "train.optimiser": Choice(values=(None, "sgd"), default=None),
    "segments.seconds": Choice(values=(2.0, 4.0), default=4.0),
}


class Recorder:
    """Keeps what a tracker is told."""

    def __init__(self):
        self.started, self.tags, self.epochs, self.ended, self.metrics = {}, {}, [], {}, {}

    def start(self, number, params, tags):
        self.started[number], self.tags[number] = dict(params), dict(tags)

    def epoch(self, number, epoch, metrics):
        self.epochs.append((number, epoch, metrics["val_track_accuracy"]))

    def end(self, number, status, *, tags, metrics):
        self.ended[number], self.metrics[number] = (status, dict(tags)), dict(metrics)

    def run_id(self, number):
        return f"run-{number}"


def hill(configuration, watch):
    """Better the nearer the learning rate is to 1e-2, and always better with `efficient`."""
    top = 0.9 if configuration.architecture == "efficient" else 0.4
    peak = top - 0.1 * abs(math.log10(configuration.learning_rate) + 2)
    parameters = 1000 if configuration.architecture == "efficient" else 500
    watch.built({"parameters": parameters, "latency_ms": 2 * peak, "memory_mb": parameters / 2})
    for epoch in range(3):
        watch.epoch(epoch, {"val_track_accuracy": peak * (epoch + 1) / 3})
    return Outcome(peak, 3, {"val_loss": 1 - peak, "valid_tracks": 100})


def run(objective, search, storage, recorder, goals=None, name="a-study", start_from=lambda study: (), lost=None):
    goals = goals or Goals()
    opened = open_storage(storage)
    study = open_study(search, goals, opened, name=name, start_from=start_from)
    settle = (lambda ended: None) if lost is None else lost.update
    run_study(study, opened, objective, search, goals, trials=recorder, settle=settle, say=lambda _: None)
    return study


@pytest.fixture
def storage(tmp_path):
    return f"sqlite:///{tmp_path / 'optuna.db'}"


def test_the_study_starts_from_every_architecture_and_finds_the_better_one(storage):
    recorder = Recorder()
    study = run(hill, SEARCH, storage, recorder)
    assert [recorder.started[number]["architecture"] for number in (0, 1)] == ["efficient", "parallel_cnn"]
    assert recorder.started[0]["learning_rate"] == MODELS["efficient"].learning_rate.default
    best, rows = best_trial(study, Goals()), table(study, Goals())
    assert best.configuration.architecture == "efficient"
    assert set(best.configuration.hyperparameters) == set(MODELS["efficient"].space)
    assert len(rows) == 6
    assert max(row["track_accuracy"] for row in rows if row["state"] == "finished") == best.track_accuracy
    assert rows[best.number]["run_id"] == f"run-{best.number}"


def test_the_record_of_a_study_holds_every_trial_and_is_valid_json(storage):
    goals = Goals(objectives=("track_accuracy", "memory_mb"), max_params=900)

    def objective(configuration, watch):
        if configuration.architecture == "parallel_cnn" and configuration.learning_rate < 1e-3:
            raise RuntimeError("diverged")
        return hill(configuration, watch)

    study = run(objective, replace(SEARCH, trials=8, startup_trials=99), storage, Recorder(), goals)
    study.enqueue_trial({"architecture": "efficient"})
    record = json.loads(json.dumps(study_record(study, goals), allow_nan=False))
    assert (record["study"], record["objectives"]) == ("a-study", ["track_accuracy", "memory_mb"])
    best = best_trial(study, goals)
    assert (record["chosen"], record["pareto_front"]) == (best.number, best.front)
    assert "learning_rate" in record["log_scale"]
    trials = study.get_trials()
    assert [trial["number"] for trial in record["trials"]] == list(range(len(trials)))
    states = {trial["state"] for trial in record["trials"]}
    assert {"finished", "infeasible", "waiting"} <= states
    for trial, row in zip(trials, record["trials"], strict=True):
        prefix = f"{row['architecture']}."
        params = {name.removeprefix(prefix): value for name, value in trial.params.items() if name != "architecture"}
        assert row["params"] == params
        assert row["constraints"] == trial.constraints
        if row["state"] == "finished":
            assert row["values"] == {"track_accuracy": trial.values[0], "memory_mb": trial.values[1]}
            assert row["costs"].keys() == {"parameters", "latency_ms", "memory_mb"}
            assert max(row["curve"]) == pytest.approx(trial.values[0])
            assert row["run_id"] == f"run-{trial.number}"
        else:
            assert row["values"] == {}
        assert (row["infeasible"] is not None) == (row["state"] == "infeasible")


def test_knobs_of_training_and_segments_are_searched(storage):
    seen = []

    def spy(configuration, watch):
        seen.append(configuration)
        return hill(configuration, watch)

    search = replace(SEARCH, knobs=KNOBS, trials=14, startup_trials=99)
    recorder = Recorder()
    study = run(spy, search, storage, recorder)
    assert {c.train["batch_size"] for c in seen} == {16, 64}
    assert {c.segments["seconds"] for c in seen} == {2.0, 4.0}
    assert len({c.train["mixup"] for c in seen}) > 5
    assert len({c.train["band_shift"] for c in seen}) > 2
    # Plain gradient descent has learning rates of its own; each architecture's own optimiser keeps the published ones.
    for configuration in seen:
        row = MODELS[configuration.architecture].learning_rate
        if configuration.train["optimiser"] is None:
            assert row.low <= configuration.learning_rate <= row.high
        elif configuration.architecture == "efficient":
            assert 100 * row.low <= configuration.learning_rate <= min(100 * row.high, 10)
    assert {c.train["optimiser"] for c in seen} == {None, "sgd"}
    # What MLflow gets has one name for the learning rate of all architectures.
    assert recorder.started[3].keys() >= {"architecture", "learning_rate", "batch_size", "mixup", "segment_seconds"}
    best = best_trial(study, Goals()).configuration
    assert best == seen[best_trial(study, Goals()).number]


def test_what_is_known_to_be_good_comes_first(storage):
    """Published systems as their authors had them, where that is searched; our own by its recipe."""
    knobs = {**KNOBS, "train.batch_size": Choice(values=(16, 128), default=16)}
    recorder = Recorder()
    run(hill, replace(SEARCH, knobs=knobs, trials=2), storage, recorder)
    ours, published = recorder.started[0], recorder.started[1]
    assert MODELS["efficient"].protocol.options["band_shift"] == 4 == ours["band_shift"]
    assert (ours["mixup"], ours["batch_size"]) == (0.3, 16)
    assert (published["mixup"], published["band_shift"], published["batch_size"]) == (0.0, 0, 128)


def test_bad_trials_are_pruned_and_said_to_be(storage):
    recorder = Recorder()
    study = run(hill, replace(SEARCH, trials=12), storage, recorder)
    pruned = [number for number, (status, _) in recorder.ended.items() if status == "KILLED"]
    assert pruned
    for number in pruned:
        assert "leads below their median" in recorder.ended[number][1]["reason"]
        curve = [value for trial, _, value in recorder.epochs if trial == number]
        assert len(curve) == 2, "the epochs of the warm-up are every trial's"
        assert study.get_trials()[number].user_attrs["val_track_accuracy_by_epoch"] == curve
    assert counts(study)["pruned"] == len(pruned)


def test_a_study_goes_on_where_it_stopped(storage):
    class Stop(BaseException):
        pass

    first, second, lost = Recorder(), Recorder(), {}
    calls = []

    def stops(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise Stop
        return hill(*arguments)

    with pytest.raises(Stop):
        run(stops, SEARCH, storage, first)
    assert first.ended[3][0] == "FAILED"
    study = run(hill, SEARCH, storage, second, lost=lost)
    assert lost == {3: "interrupted"}
    assert 0 not in second.started
    # The one that was cut off is tried again, and does not count.
    again = next(number for number, tags in second.tags.items() if tags.get("retry_of") == 3)
    assert second.started[again] == first.started[3]
    assert counts(study)["interrupted"] == 1
    assert sum(counts(study).values()) == SEARCH.trials + 1
    drawn = [tuple(map(str, params.items())) for number, params in second.started.items() if number != again]
    drawn += [tuple(map(str, params.items())) for params in first.started.values()]
    assert len(set(drawn)) == len(drawn), "a resumed study drew the same numbers again"
    third = Recorder()
    run(hill, SEARCH, storage, third)
    assert not third.started
    more = Recorder()
    run(hill, replace(SEARCH, trials=8), storage, more)
    assert len(more.started) == 2


def test_a_trial_that_always_ends_its_process_is_not_tried_for_ever(storage):
    class Stop(BaseException):
        pass

    def stops(*_):
        raise Stop

    for _ in range(4):
        with pytest.raises(Stop):
            run(stops, replace(SEARCH, trials=1), storage, Recorder())
    recorder = Recorder()
    study = run(hill, replace(SEARCH, trials=2), storage, recorder)
    assert counts(study)["finished"] >= 1
    histories = [len(t.system_attrs.get("retry_history", [])) for t in study.get_trials()]
    assert max(histories) == 2


def test_an_interruption_does_not_change_what_is_drawn(tmp_path):
    whole, parts = Recorder(), Recorder()
    run(hill, SEARCH, f"sqlite:///{tmp_path / 'whole.db'}", whole)
    for trials in (2, 3, 6):
        run(hill, replace(SEARCH, trials=trials), f"sqlite:///{tmp_path / 'parts.db'}", parts)
    assert parts.started == whole.started


def test_a_failing_trial_does_not_end_the_study(storage):
    def fails_once(configuration, watch):
        if configuration.architecture == "parallel_cnn":
            raise MemoryError("no room")
        return hill(configuration, watch)

    recorder = Recorder()
    study = run(fails_once, SEARCH, storage, recorder)
    assert best_trial(study, Goals()).configuration.architecture == "efficient"
    failed = [tags["reason"] for status, tags in recorder.ended.values() if status == "FAILED"]
    assert failed[0] == "MemoryError: no room"
    assert not any(recorder.tags.values()), "what fails by itself is not tried again"


def test_a_study_without_any_finished_trial_says_so(storage):
    def fails(*_):
        raise ValueError("nothing works")

    with pytest.raises(GenreflowError, match="No trial of the study a-study has finished"):
        best_trial(run(fails, SEARCH, storage, Recorder()), Goals())


def test_equal_accuracies_are_decided_by_the_loss(storage):
    losses = iter([0.9, 0.2, 0.5, 0.6, 0.7, 0.8])

    def flat(configuration, watch):
        return Outcome(0.5, 1, {"val_loss": next(losses)})

    assert best_trial(run(flat, SEARCH, storage, Recorder()), Goals()).number == 1


def test_what_breaks_a_limit_is_not_fitted_and_says_so(storage):
    goals, recorder = Goals(max_params=600, max_memory_mb=250.0), Recorder()
    study = run(hill, SEARCH, storage, recorder, goals)
    trained = {number for number, _, _ in recorder.epochs}
    for number, params in recorder.started.items():
        status, tags = recorder.ended[number]
        if params["architecture"] == "efficient":
            assert number not in trained
            assert (status, tags["trial"]) == ("KILLED", "infeasible")
            assert "1,000 parameters, where tune.max_params is 600" in tags["reason"]
            assert "500 MB while it serves, where tune.max_memory_mb is 250" in tags["reason"]
            assert recorder.metrics[number]["parameters"] == 1000
            assert study.get_trials()[number].constraints["parameters"] == pytest.approx(2 / 3)
        else:
            assert number in trained
    best = best_trial(study, goals)
    assert best.configuration.architecture == "parallel_cnn"
    assert best.costs == {"parameters": 500, "latency_ms": pytest.approx(2 * best.track_accuracy), "memory_mb": 250}
    assert counts(study)["infeasible"] == len(recorder.started) - len(trained)
    assert {row["infeasible"] is not None for row in table(study, goals)} == {True, False}


def test_a_study_with_nothing_within_the_limits_says_so(storage):
    goals = Goals(max_params=10)
    study = run(hill, SEARCH, storage, Recorder(), goals)
    with pytest.raises(GenreflowError, match=r"within the limits \(1,000 parameters, where tune.max_params is 10\)"):
        best_trial(study, goals)


def test_a_model_that_cannot_be_built_is_infeasible(storage):
    def cannot(configuration, watch):
        if configuration.architecture == "parallel_cnn":
            raise InfeasibleError("no model can be built: too few bands")
        return hill(configuration, watch)

    study = run(cannot, SEARCH, storage, Recorder())
    assert counts(study)["infeasible"] >= 1
    assert best_trial(study, Goals()).configuration.architecture == "efficient"


def test_several_objectives_have_a_front(storage):
    goals = Goals(objectives=("track_accuracy", "parameters", "latency_ms"))
    search = replace(SEARCH, trials=14, startup_trials=4)
    study = run(hill, search, storage, Recorder(), goals)
    best, rows = best_trial(study, goals), table(study, goals)
    done = {row["number"]: row for row in rows if row["state"] == "finished"}
    assert set(best.front) == {trial.number for trial in study.best_trials}
    assert best.number in best.front
    assert best.track_accuracy == max(row["track_accuracy"] for row in done.values())
    assert len({done[number]["parameters"] for number in best.front}) == 2
    for number in best.front:
        one = done[number]
        assert not any(
            other["track_accuracy"] > one["track_accuracy"]
            and other["parameters"] <= one["parameters"]
            and other["latency_ms"] <= one["latency_ms"]
            for other in done.values()
        )


@pytest.mark.parametrize("objectives", [("track_accuracy",), ("track_accuracy", "parameters")])
def test_the_smallest_model_within_a_standard_error_can_be_picked(storage, objectives):
    """0.50 of 100 tracks has a standard error of 0.05: 0.46 is near, 0.44 is not."""
    offered = iter([(0.5, 900), (0.46, 300), (0.47, 400), (0.44, 100), (0.48, 300), (0.49, 800)])

    def small_or_good(configuration, watch):
        accuracy, parameters = next(offered)
        watch.built({"parameters": parameters})
        watch.epoch(0, {"val_track_accuracy": accuracy})
        return Outcome(accuracy, 1, {"val_loss": 1.0, "valid_tracks": 100})

    goals = Goals(objectives=objectives)
    study = run(small_or_good, replace(SEARCH, startup_trials=99), storage, Recorder(), goals)
    assert best_trial(study, goals).number == 0
    # Of two with as few parameters, the more accurate one.
    assert best_trial(study, replace(goals, pick="one_standard_error")).number == 4


def test_the_hours_end_a_study_but_never_without_a_result(storage):
    """No time at all: the first trial ends with what it has, and is the only one."""
    recorder = Recorder()
    study = run(hill, replace(SEARCH, trials=None, hours=1e-9), storage, recorder)
    assert counts(study)["finished"] == 1
    assert len(recorder.started) == 1
    assert [epoch for _, epoch, _ in recorder.epochs] == [0]
    best = best_trial(study, Goals())
    assert (best.track_accuracy, best.epochs) == (recorder.epochs[0][2], 1)
    # Time to go on: what was spent already counts.
    more = Recorder()
    run(hill, replace(SEARCH, trials=3, hours=1.0), storage, more)
    assert len(more.started) == 2


def test_a_trial_under_way_is_stopped_when_the_hours_are_over(storage):
    def slow(configuration, watch):
        for epoch in range(100):
            time.sleep(0.05)
            watch.epoch(epoch, {"val_track_accuracy": 0.5})
        return Outcome(0.5, 100, {})

    so_far = spent(run(hill, replace(SEARCH, trials=1), storage, Recorder())).total_seconds()
    recorder = Recorder()
    study = run(slow, replace(SEARCH, trials=None, hours=(so_far + 1) / 3600), storage, recorder)
    assert recorder.ended[1] == ("KILLED", {"trial": "pruned", "reason": "tune.hours are over"})
    assert counts(study)["pruned"] == 1


def test_a_study_without_end_is_refused():
    with pytest.raises(ParameterError, match=r"needs tune\.trials or tune\.hours"):
        replace(SEARCH, trials=None)


def test_a_new_study_may_start_from_the_one_before(storage):
    def with_tracks(name, seen, opened):
        study = run(hill, SEARCH, storage, Recorder(), name=name)
        for key, value in {"seen": seen, "leaking": False, "opened": opened}.items():
            study.set_user_attr(key, value)
        return study

    with_tracks("older", ["a", "b"], "2026-01-01")
    before = with_tracks("before", ["a", "b", "c"], "2026-01-02")
    other_space = replace(SEARCH, learning_rate=(1e-4, 1e-3))
    said, opened = [], open_storage(storage)

    def previous(search=SEARCH, test=frozenset({"x"}), leaking=False):
        said.clear()
        return best_of_previous(opened, search, name="new", leaking=leaking, test=set(test), say=said.append)

    ranked = sorted((t for t in before.get_trials() if t.values and t.state.name == "COMPLETE"), key=lambda t: -t.value)
    assert previous() == [trial.params for trial in ranked[:3]]
    # A track that chose those trials must not test this one.
    assert previous(test={"c"}) != []
    assert said[0] == "not starting from study before: it was chosen by 1 of the tracks that test now"
    assert previous(test={"a"}) == previous(other_space) == previous(leaking=True) == []

    recorder = Recorder()
    run(hill, SEARCH, storage, recorder, name="new", start_from=lambda study: previous())
    first = [recorder.started[number]["learning_rate"] for number in range(5) if number in recorder.started]
    assert all(min(abs(_rate(trial) - rate) for rate in first) < 1e-9 for trial in ranked[:3])


def _rate(trial):
    return trial.params[f"{trial.params['architecture']}.learning_rate"]


def test_the_name_follows_data_and_search_space_but_not_the_budget():
    name = study_name(SEARCH, "manifest", "split")
    assert name == study_name(replace(SEARCH, trials=100, hours=60, seed=9), "manifest", "split")
    assert name != study_name(SEARCH, "other manifest", "split")
    others = [{"architectures": ("efficient",)}, {"learning_rate": (1e-4, 1e-2)}, {"knobs": KNOBS}]
    others += [{"knobs": {**KNOBS, "train.mixup": Float(low=0.0, high=0.5, default=0.2)}}]
    names = [study_name(replace(SEARCH, **other), "manifest", "split") for other in others]
    assert len({name, *names}) == 5
    assert all(a != b for a, b in pairwise(names))


def test_an_unknown_architecture_is_named():
    with pytest.raises(ParameterError, match=r"'resnet'.*efficient"):
        Search(architectures=("resnet",))


def test_hyperparameters_can_be_given_instead_of_searched(storage, tmp_path):
    weights = tmp_path / "imagenet.h5"
    weights.touch()
    fixed = {"efficient": {"width": 8}, "resnet50": {"weights": str(weights)}}
    search = replace(SEARCH, architectures=("efficient", "resnet50"), fixed=fixed)
    seen, recorder = [], Recorder()

    def spy(configuration, watch):
        seen.append(configuration)
        return hill(configuration, watch)

    study = run(spy, search, storage, recorder)
    assert {configuration.architecture for configuration in seen} == {"efficient", "resnet50"}
    for configuration in seen:
        own = configuration.hyperparameters
        assert own.items() >= fixed[configuration.architecture].items()
        assert set(own) == set(MODELS[configuration.architecture].space)
    assert best_trial(study, Goals()).configuration.hyperparameters["width"] == 8
    assert not any("width" in name for trial in study.get_trials() for name in trial.params)
    assert study_name(search, "data") != study_name(replace(search, fixed={}), "data")


def test_the_range_of_the_learning_rate_can_be_given(storage):
    recorder = Recorder()
    run(hill, replace(SEARCH, learning_rate=(1e-5, 2e-5), knobs=KNOBS), storage, recorder)
    assert all(1e-5 <= params["learning_rate"] <= 2e-5 for params in recorder.started.values())
    assert optuna.study.get_all_study_names(storage) == ["a-study"]
