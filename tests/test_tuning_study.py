"""A study on a real SQLite storage: resumed, pruned, with failures, limits and several objectives."""

import json
import logging
import math
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace

import optuna
import pytest
from sqlalchemy import text

from genreflow.errors import GenreflowError
from genreflow.models import MODELS, Choice, Float, Int
from genreflow.tuning.next_trial import queue_next_trial
from genreflow.tuning.params import TuneParams
from genreflow.tuning.previous_study import best_parameters_of_previous_study
from genreflow.tuning.results import best_trial, count_trials, study_record, trials_table
from genreflow.tuning.run_trial import InfeasibleError, TrialResult
from genreflow.tuning.search_space import SearchSpace
from genreflow.tuning.storage import exclusive, open_storage
from genreflow.tuning.study import open_study, run_study, study_progress
from genreflow.tuning.trial_states import (
    ERROR,
    INTERRUPTED,
    MAX_RETRIES,
    WORKER,
    fail_orphaned_trials,
    retry_of,
    time_spent,
)

TUNE = TuneParams(architectures=("efficient", "parallel_cnn"), trials=6, epochs=3, startup_trials=2, warmup_epochs=1)
SPACE = SearchSpace(TUNE.architectures, learning_rate=None, fixed={}, dimensions={})
DIMENSIONS = {
    "train.batch_size": Choice(values=(16, 64), default=16),
    "train.mixup": Float(low=0.0, high=0.4, default=0.2),
    "train.band_shift": Int(low=0, high=4, default=2),
    "train.optimiser": Choice(values=(None, "sgd"), default=None),
    "segments.seconds": Choice(values=(2.0, 4.0), default=4.0),
}


class Stopped(BaseException):
    """Ends a worker like a signal."""


class Recorder:
    """A tracker that keeps what it is called with."""

    def __init__(self):
        self.started, self.tags, self.epochs, self.ended, self.metrics = {}, {}, [], {}, {}
        self.orphaned = {}

    def start(self, number, params, tags):
        self.started[number], self.tags[number] = dict(params), dict(tags)

    def log_epoch(self, number, epoch, metrics):
        self.epochs.append((number, epoch, metrics["val_track_accuracy"]))

    def end(self, number, status, *, tags, metrics):
        self.ended[number], self.metrics[number] = (status, dict(tags)), dict(metrics)

    def run_id(self, number):
        return f"run-{number}"

    def end_orphaned(self, states):
        self.orphaned.update(states)


def tune(**changes) -> TuneParams:
    return TuneParams.model_validate({**TUNE.model_dump(), **changes})


def hill(configuration, callback):
    """An objective that grows towards a learning rate of 1e-2, and is always higher with `efficient`."""
    top = 0.9 if configuration.architecture == "efficient" else 0.4
    peak = top - 0.1 * abs(math.log10(configuration.learning_rate) + 2)
    parameters = 1000 if configuration.architecture == "efficient" else 500
    callback.on_model_built({"parameters": parameters, "latency_ms": 2 * peak, "memory_mb": parameters / 2})
    for epoch in range(3):
        callback.on_epoch_end(epoch, {"val_track_accuracy": peak * (epoch + 1) / 3})
    return TrialResult(peak, 3, {"val_loss": 1 - peak, "valid_tracks": 100})


def run(
    objective: Callable,
    storage: str,
    recorder: Recorder | None = None,
    params: TuneParams = TUNE,
    *,
    space: SearchSpace = SPACE,
    name: str = "a-study",
    first_trials: Callable = lambda: (),
    attributes: Mapping | None = None,
    grace_period: int = 2,
) -> optuna.Study:
    opened = open_storage(storage, heartbeat_interval=1, grace_period=grace_period)
    study = open_study(params, space, opened, name=name, first_trials=first_trials, attributes=attributes)
    run_study(study, opened, objective, tune=params, space=space, tracker=recorder or Recorder())
    return study


@pytest.fixture
def storage(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'optuna.db'}"


def test_a_study_starts_with_each_architecture_and_finds_the_better_one(storage):
    recorder = Recorder()
    study = run(hill, storage, recorder)
    assert [recorder.started[number]["architecture"] for number in (0, 1)] == ["efficient", "parallel_cnn"]
    assert recorder.started[0]["learning_rate"] == MODELS["efficient"].learning_rate.default
    best, rows = best_trial(study, TUNE), trials_table(study, TUNE)
    assert best.configuration.architecture == "efficient"
    assert set(best.configuration.hyperparameters) == set(MODELS["efficient"].space)
    assert len(rows) == 6
    assert max(row["track_accuracy"] for row in rows if row["state"] == "finished") == best.track_accuracy
    assert rows[best.number]["run_id"] == f"run-{best.number}"


def test_the_record_of_a_study_holds_every_trial_and_is_valid_json(storage):
    params = tune(trials=8, startup_trials=99, objectives=("track_accuracy", "memory_mb"), max_params=900)
    study = run(hill, storage, params=params)
    study.enqueue_trial({"architecture": "efficient"})
    record = json.loads(json.dumps(study_record(study, params), allow_nan=False))
    assert (record["study"], record["objectives"]) == ("a-study", ["track_accuracy", "memory_mb"])
    best = best_trial(study, params)
    assert (record["chosen"], record["pareto_front"]) == (best.number, best.front)
    assert "learning_rate" in record["log_scale"]
    trials = study.get_trials()
    assert [trial["number"] for trial in record["trials"]] == list(range(len(trials)))
    assert {"finished", "infeasible", "waiting"} <= {trial["state"] for trial in record["trials"]}
    for trial, row in zip(trials, record["trials"], strict=True):
        prefix = f"{row['architecture']}."
        expected = {name.removeprefix(prefix): value for name, value in trial.params.items() if name != "architecture"}
        assert row["params"] == expected
        assert row["constraints"] == trial.constraints
        if row["state"] == "finished":
            assert row["values"] == {"track_accuracy": trial.values[0], "memory_mb": trial.values[1]}
            assert row["costs"].keys() == {"parameters", "latency_ms", "memory_mb"}
            assert max(row["curve"]) == pytest.approx(trial.values[0])
            assert row["run_id"] == f"run-{trial.number}"
        else:
            assert row["values"] == {}
        assert (row["infeasible"] is not None) == (row["state"] == "infeasible")


def test_parameters_of_training_and_segments_are_searched(storage):
    seen = []

    def spy(configuration, callback):
        seen.append(configuration)
        return hill(configuration, callback)

    recorder, params = Recorder(), tune(trials=14, startup_trials=99)
    study = run(spy, storage, recorder, params, space=replace(SPACE, dimensions=DIMENSIONS))
    assert {c.train["batch_size"] for c in seen} == {16, 64}
    assert {c.segments["seconds"] for c in seen} == {2.0, 4.0}
    assert len({c.train["mixup"] for c in seen}) > 5
    assert len({c.train["band_shift"] for c in seen}) > 2
    # Plain gradient descent has a range of its own; the architecture's own optimiser keeps the published one.
    for configuration in seen:
        row = MODELS[configuration.architecture].learning_rate
        if configuration.train["optimiser"] is None:
            assert row.low <= configuration.learning_rate <= row.high
        elif configuration.architecture == "efficient":
            assert 100 * row.low <= configuration.learning_rate <= min(100 * row.high, 10)
    assert {c.train["optimiser"] for c in seen} == {None, "sgd"}
    # In MLflow the learning rate has the same name for all architectures.
    assert recorder.started[3].keys() >= {"architecture", "learning_rate", "batch_size", "mixup", "segment_seconds"}
    best = best_trial(study, TUNE)
    assert best.configuration == seen[best.number]


def test_trials_below_the_median_are_pruned_after_the_warm_up(storage):
    recorder = Recorder()
    study = run(hill, storage, recorder, tune(trials=12))
    pruned = [number for number, (status, _) in recorder.ended.items() if status == "KILLED"]
    assert pruned
    for number in pruned:
        assert recorder.ended[number][1]["trial"] == "pruned"
        curve = [value for trial, _, value in recorder.epochs if trial == number]
        assert len(curve) == 2
        assert study.get_trials()[number].user_attrs["val_track_accuracy_by_epoch"] == curve
    assert count_trials(study)["pruned"] == len(pruned)


@pytest.mark.parametrize("interruption", [Stopped, KeyboardInterrupt])
def test_a_study_resumes_and_repeats_the_interrupted_trial(storage, interruption, caplog):
    first, second = Recorder(), Recorder()
    calls = []

    def stops(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise interruption
        return hill(*arguments)

    with pytest.raises(interruption):
        run(stops, storage, first, grace_period=120)
    assert first.ended[3] == ("FAILED", {"trial": "interrupted", "reason": interruption.__name__})
    with caplog.at_level(logging.INFO, "genreflow"):
        study = run(hill, storage, second, grace_period=120)  # the finished trials have ended within it
    assert any(record.name == "genreflow.tuning.study" and record.args == ("a-study", 3) for record in caplog.records)
    assert second.orphaned == {3: "interrupted"}
    assert 0 not in second.started
    # It is repeated with the same parameters, and does not count.
    again = next(number for number, tags in second.tags.items() if tags.get("retry_of") == 3)
    assert second.started[again] == first.started[3]
    assert count_trials(study)["interrupted"] == 1
    assert sum(count_trials(study).values()) == TUNE.trials + 1
    drawn = [tuple(map(str, params.items())) for number, params in second.started.items() if number != again]
    drawn += [tuple(map(str, params.items())) for params in first.started.values()]
    assert len(set(drawn)) == len(drawn), "the resumed study sampled the same parameters again"
    third = Recorder()
    run(hill, storage, third)
    assert not third.started
    more = Recorder()
    run(hill, storage, more, tune(trials=8))
    assert len(more.started) == 2


def killed_in(objective: Callable, storage: str, params: TuneParams, space: SearchSpace = SPACE) -> None:
    """Run a study in a process of its own, which is killed."""
    child = os.fork()
    if child == 0:
        try:
            run(objective, storage, params=params, space=space)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def kills(*_) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_trial_that_always_kills_its_worker_is_repeated_twice_only(storage):
    one = replace(SPACE, architectures=("efficient",))
    for _ in range(1 + MAX_RETRIES):
        killed_in(kills, storage, tune(trials=1), one)
    study = run(kills, storage, params=tune(trials=1), space=one)
    assert count_trials(study) == {"finished": 0, "pruned": 0, "infeasible": 0, "failed": 0, "interrupted": 3}


def test_a_trial_may_be_interrupted_by_signals_any_number_of_times(storage):
    def stops(*_):
        raise Stopped

    for _ in range(2 + MAX_RETRIES):
        with pytest.raises(Stopped):
            run(stops, storage)
    study = run(hill, storage)
    assert count_trials(study)["interrupted"] == 2 + MAX_RETRIES
    assert sum(count_trials(study).values()) == 2 + MAX_RETRIES + TUNE.trials


def test_a_trial_whose_worker_died_on_this_machine_is_repeated_at_once(storage):
    killed_in(kills, storage, TUNE)
    began = time.monotonic()
    study = run(hill, storage, grace_period=120)
    assert time.monotonic() - began < 60, "it waited for the grace period"
    assert [retry_of(trial) for trial in study.get_trials()][:2] == [None, 0]


def start_elsewhere(storage: str) -> tuple[optuna.Study, optuna.storages.RDBStorage]:
    """Start a trial of a worker on another machine, where nobody can see whether it has died."""
    opened = open_storage(storage, heartbeat_interval=1, grace_period=60)
    study = open_study(TUNE, SPACE, opened, name="a-study")
    trial_id = queue_next_trial(study, opened, TUNE, SPACE, parallel=False)
    opened.set_trial_user_attr(trial_id, WORKER, {"host": "elsewhere", "pid": os.getpid(), "started": 0.0})
    study.ask()
    return study, opened


def test_a_trial_of_another_machine_is_failed_when_it_has_no_heartbeat(storage):
    study, opened = start_elsewhere(storage)
    with exclusive(opened):
        assert fail_orphaned_trials(study, opened) == set()
        with opened.engine.begin() as connection:
            connection.execute(text("update trial_heartbeats set heartbeat = datetime(heartbeat, '-62 seconds')"))
        assert fail_orphaned_trials(study, opened) == {0}


def test_a_trial_that_may_have_died_on_another_machine_is_repeated_before_the_next_one(storage):
    study, _ = start_elsewhere(storage)
    run(hill, storage)
    assert [retry_of(trial) for trial in study.get_trials()][:2] == [None, 0]


def test_a_stall_while_a_worker_looks_for_dead_ones_does_not_change_the_order(storage, monkeypatch):
    study, _ = start_elsewhere(storage)
    looks = []

    def look_and_stall(study, opened):
        looks.append(fail_orphaned_trials(study, opened))
        if len(looks) == 1:  # an hour, in which the heartbeat becomes too old
            with opened.engine.begin() as connection:
                connection.execute(text("update trial_heartbeats set heartbeat = datetime(heartbeat, '-1 hour')"))
            later = SimpleNamespace(monotonic=lambda: time.monotonic() + 3600, sleep=time.sleep)
            monkeypatch.setattr("genreflow.tuning.study.time", later)
        return looks[-1]

    monkeypatch.setattr("genreflow.tuning.study.fail_orphaned_trials", look_and_stall)
    run(hill, storage)
    assert looks[:2] == [set(), {0}]
    assert [retry_of(trial) for trial in study.get_trials()][:2] == [None, 0]


def test_a_worker_whose_trial_was_requeued_by_another_one_goes_on(storage):
    """As after the suspension of a machine: the trial had no heartbeat for the grace period."""
    recorder, other = Recorder(), []

    def suspended(configuration, callback):
        if not other:
            other.append(optuna.load_study(study_name="a-study", storage=open_storage(storage)))
            other[0].tell(0, state=optuna.trial.TrialState.FAIL)
        return hill(configuration, callback)

    study = run(suspended, storage, recorder)
    assert recorder.ended[0] == ("FAILED", {"trial": "interrupted"})
    assert count_trials(study)["interrupted"] == 1
    assert [retry_of(trial) for trial in study.get_trials() if retry_of(trial) is not None] == [0]
    assert sum(count_trials(study).values()) == TUNE.trials + 1


def test_a_study_in_several_runs_samples_the_same_parameters_as_in_one(tmp_path):
    whole, parts = Recorder(), Recorder()
    run(hill, f"sqlite:///{tmp_path / 'whole.db'}", whole)
    for trials in (2, 3, 6):
        run(hill, f"sqlite:///{tmp_path / 'parts.db'}", parts, tune(trials=trials))
    assert parts.started == whole.started


def test_the_highest_seed_is_valid(storage):
    run(hill, storage, params=tune(seed=2**32 - 1, trials=3))
    with pytest.raises(ValueError, match="seed"):
        tune(seed=2**32)


@pytest.mark.parametrize("failure", [MemoryError("out of memory"), ValueError("shapes")])
def test_a_failing_trial_does_not_end_the_study_and_is_not_repeated(storage, failure):
    def fails_once(configuration, callback):
        if configuration.architecture == "parallel_cnn":
            raise failure
        return hill(configuration, callback)

    recorder = Recorder()
    study = run(fails_once, storage, recorder)
    assert best_trial(study, TUNE).configuration.architecture == "efficient"
    failed = {number: tags["reason"] for number, (status, tags) in recorder.ended.items() if status == "FAILED"}
    assert set(failed.values()) == {f"{type(failure).__name__}: {failure}"}
    assert all(study.get_trials()[number].user_attrs[ERROR] == reason for number, reason in failed.items())
    assert count_trials(study)["failed"] == len(failed)
    assert not any(recorder.tags.values())


def test_a_trial_without_a_finite_accuracy_fails(storage):
    study = run(lambda *_: TrialResult(math.nan, 1), storage, params=tune(trials=2))
    assert count_trials(study) == {"finished": 0, "pruned": 0, "infeasible": 0, "failed": 2, "interrupted": 0}


def test_a_study_without_a_completed_trial_has_no_best_one(storage):
    def fails(*_):
        raise ValueError("nothing works")

    with pytest.raises(GenreflowError, match="a-study"):
        best_trial(run(fails, storage), TUNE)


def test_the_loss_decides_between_equal_accuracies(storage):
    losses = iter([0.9, 0.2, 0.5, 0.6, 0.7, 0.8])

    def flat(configuration, callback):
        return TrialResult(0.5, 1, {"val_loss": next(losses)})

    assert best_trial(run(flat, storage), TUNE).number == 1


def test_a_configuration_beyond_a_limit_is_infeasible_and_not_fitted(storage):
    params, recorder = tune(max_params=600, max_memory_mb=250.0), Recorder()
    study = run(hill, storage, recorder, params)
    fitted = {number for number, _, _ in recorder.epochs}
    for number, values in recorder.started.items():
        status, tags = recorder.ended[number]
        if values["architecture"] == "efficient":
            assert number not in fitted
            assert (status, tags["trial"]) == ("KILLED", "infeasible")
            assert "1,000" in tags["reason"]
            assert "tune.max_params 600" in tags["reason"]
            assert "tune.max_memory_mb 250" in tags["reason"]
            assert recorder.metrics[number]["parameters"] == 1000
            assert study.get_trials()[number].constraints["parameters"] == pytest.approx(2 / 3)
        else:
            assert number in fitted
    best = best_trial(study, params)
    assert best.configuration.architecture == "parallel_cnn"
    assert best.costs == {"parameters": 500, "latency_ms": pytest.approx(2 * best.track_accuracy), "memory_mb": 250}
    assert count_trials(study)["infeasible"] == len(recorder.started) - len(fitted)
    assert {row["infeasible"] is not None for row in trials_table(study, params)} == {True, False}


def test_a_study_with_nothing_within_the_limits_names_them(storage):
    params = tune(max_params=10)
    study = run(hill, storage, params=params)
    with pytest.raises(GenreflowError, match=r"tune\.max_params 10"):
        best_trial(study, params)


def test_a_configuration_that_no_model_can_be_built_for_is_infeasible(storage):
    def cannot(configuration, callback):
        if configuration.architecture == "parallel_cnn":
            raise InfeasibleError("no model can be built: too few bands")
        return hill(configuration, callback)

    study = run(cannot, storage)
    assert count_trials(study)["infeasible"] >= 1
    assert best_trial(study, TUNE).configuration.architecture == "efficient"


def test_several_objectives_have_a_pareto_front(storage):
    params = tune(trials=14, startup_trials=4, objectives=("track_accuracy", "parameters", "latency_ms"))
    study = run(hill, storage, params=params)
    best, rows = best_trial(study, params), trials_table(study, params)
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
def test_the_smallest_model_within_one_standard_error_can_be_picked(storage, objectives):
    """0.50 of 100 tracks has a standard error of 0.05: 0.46 is within it, 0.44 is not."""
    offered = iter([(0.5, 900), (0.46, 300), (0.47, 400), (0.44, 100), (0.48, 300), (0.49, 800)])

    def objective(configuration, callback):
        accuracy, parameters = next(offered)
        callback.on_model_built({"parameters": parameters})
        callback.on_epoch_end(0, {"val_track_accuracy": accuracy})
        return TrialResult(accuracy, 1, {"val_loss": 1.0, "valid_tracks": 100})

    params = tune(objectives=objectives, startup_trials=99)
    study = run(objective, storage, params=params)
    assert best_trial(study, params).number == 0
    # Two have the fewest parameters; this is the more accurate one.
    assert best_trial(study, params.model_copy(update={"pick": "one_standard_error"})).number == 4


def test_the_time_budget_ends_a_study_but_not_without_a_result(storage):
    """With no time at all, the first trial completes with the epochs it has, and is the only one."""
    recorder = Recorder()
    study = run(hill, storage, recorder, tune(trials=None, hours=1e-9))
    assert count_trials(study)["finished"] == 1
    assert len(recorder.started) == 1
    assert [epoch for _, epoch, _ in recorder.epochs] == [0]
    best = best_trial(study, TUNE)
    assert (best.track_accuracy, best.epochs) == (recorder.epochs[0][2], 1)
    # With a larger budget it continues.
    more = Recorder()
    run(hill, storage, more, tune(trials=3, hours=1.0))
    assert len(more.started) == 2


def test_a_running_trial_is_stopped_when_the_time_budget_is_spent(storage):
    def slow(configuration, callback):
        for epoch in range(100):
            time.sleep(0.05)
            callback.on_epoch_end(epoch, {"val_track_accuracy": 0.5})
        return TrialResult(0.5, 100)

    so_far = time_spent(run(hill, storage, params=tune(trials=1))).total_seconds()
    recorder = Recorder()
    study = run(slow, storage, recorder, tune(trials=None, hours=(so_far + 1) / 3600))
    status, tags = recorder.ended[1]
    assert (status, tags["trial"]) == ("KILLED", "pruned")
    assert "tune.hours" in tags["reason"]
    assert count_trials(study)["pruned"] == 1


def test_only_time_in_which_trials_ran_is_spent():
    def trial(start: float, seconds: float | None, state="COMPLETE", **attributes):
        begin = now - timedelta(hours=9) + timedelta(seconds=start)
        made = optuna.create_trial(
            state=optuna.trial.TrialState[state],
            value=1.0 if state == "COMPLETE" else None,
            user_attrs={name: (begin + timedelta(seconds=value)).isoformat() for name, value in attributes.items()},
        )
        made.datetime_start = begin
        made.datetime_complete = None if seconds is None else begin + timedelta(seconds=seconds)
        return made

    now, study = datetime.now(), optuna.create_study()
    study.add_trials([trial(0, 10), trial(5, 10), trial(100, 10)])
    assert time_spent(study).total_seconds() == pytest.approx(25)
    # Interrupted ones count up to the interruption; if that is unknown, they do not count.
    study.add_trials([trial(200, 9000, "FAIL", **{INTERRUPTED: 5}), trial(10_000, 9000, "FAIL")])
    assert time_spent(study).total_seconds() == pytest.approx(30)


def test_trials_of_other_workers_count_as_started(storage):
    opened = open_storage(storage)
    study = open_study(TUNE, SPACE, opened, name="a-study")
    assert study_progress(study, TUNE).may_start
    for _ in range(TUNE.trials):
        study.ask()
    progress = study_progress(study, TUNE)
    assert progress.running == list(range(TUNE.trials))
    assert (progress.finished, progress.trials_left, progress.may_start) == (0, 0, False)


def test_a_trial_that_ends_while_the_progress_is_read_counts(storage, monkeypatch):
    """Or a worker would start one trial too many; trials end without the lock."""
    study = open_study(TUNE, SPACE, open_storage(storage), name="a-study")
    study.ask()
    get_trials = study.get_trials

    def and_then_it_ends(*args, **kwargs):
        found = get_trials(*args, **kwargs)
        study.tell(0, 0.5, skip_if_finished=True)
        return found

    monkeypatch.setattr(study, "get_trials", and_then_it_ends)
    assert study_progress(study, TUNE).trials_left == TUNE.trials - 1


def test_a_study_without_an_end_is_refused():
    with pytest.raises(ValueError, match=r"tune\.trials"):
        tune(trials=None)


def test_a_new_study_may_start_from_the_previous_one(storage):
    def run_with_tracks(name, seen, opened, seed):
        attributes = {"seen": seen, "leaking": False, "opened": opened}
        return run(hill, storage, name=name, attributes=attributes, params=tune(seed=seed))

    run_with_tracks("older", ["a", "b"], "2026-01-01", seed=100)
    previous = run_with_tracks("previous", ["a", "b", "c"], "2026-01-02", seed=1)
    opened = open_storage(storage)

    def found(space=SPACE, test=frozenset({"x"}), leaking=False):
        return best_parameters_of_previous_study(opened, space, name="new", leaking=leaking, test_tracks=test)

    completed = [t for t in previous.get_trials() if t.state.name == "COMPLETE"]
    ranked = sorted(completed, key=lambda trial: -trial.value)
    assert found() == [trial.params for trial in ranked[:3]]
    # A study that validated on a track may not choose the first trials of one that tests on it.
    assert found(test={"c"}) not in ([], found())
    assert found(test={"a"}) == found(replace(SPACE, learning_rate=(1e-4, 1e-3))) == found(leaking=True) == []

    recorder = Recorder()
    run(hill, storage, recorder, name="new", first_trials=found)
    first = [recorder.started[number]["learning_rate"] for number in range(5) if number in recorder.started]
    assert all(min(abs(_learning_rate(trial) - rate) for rate in first) < 1e-9 for trial in ranked[:3])


def _learning_rate(trial):
    return trial.params[f"{trial.params['architecture']}.learning_rate"]


def test_an_unknown_architecture_is_refused():
    with pytest.raises(ValueError, match="resnet"):
        tune(architectures=("resnet",))


def test_hyperparameters_can_be_fixed_instead_of_searched(storage, tmp_path):
    weights = tmp_path / "imagenet.h5"
    weights.touch()
    fixed = {"efficient": {"width": 8}, "resnet50": {"weights": str(weights)}}
    space = replace(SPACE, architectures=("efficient", "resnet50"), fixed=fixed)
    seen = []

    def spy(configuration, callback):
        seen.append(configuration)
        return hill(configuration, callback)

    study = run(spy, storage, space=space)
    assert {configuration.architecture for configuration in seen} == {"efficient", "resnet50"}
    for configuration in seen:
        own = configuration.hyperparameters
        assert own.items() >= fixed[configuration.architecture].items()
        assert set(own) == set(MODELS[configuration.architecture].space)
    assert best_trial(study, TUNE).configuration.hyperparameters["width"] == 8
    assert not any("width" in name for trial in study.get_trials() for name in trial.params)


def test_the_range_of_the_learning_rate_can_be_set(storage):
    recorder = Recorder()
    run(hill, storage, recorder, space=replace(SPACE, learning_rate=(1e-5, 2e-5), dimensions=DIMENSIONS))
    assert all(1e-5 <= params["learning_rate"] <= 2e-5 for params in recorder.started.values())
    assert optuna.study.get_all_study_names(storage) == ["a-study"]


SEEDS = TuneParams.model_json_schema()["properties"]["seed"]


@pytest.mark.parametrize("seed", [SEEDS["minimum"], SEEDS["maximum"]])
def test_the_sampler_takes_every_seed_that_params_yaml_takes(storage, seed):
    """The seed of a trial is derived from its position."""
    study = run(hill, storage, params=tune(seed=seed, trials=5))
    assert count_trials(study)["finished"] + count_trials(study)["pruned"] == 5
