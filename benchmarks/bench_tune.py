"""Overhead of Optuna and MLflow in a study: `python benchmarks/bench_tune.py [--trials 12] [--epochs 8]`.

Runs a study with real fits, its trials in SQLite and its runs in a real MLflow store. Everything but building and
fitting models is overhead; the benchmark prints it in seconds, per trial, and as a share of the study.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from genreflow.models.keras_import import import_keras

TRACKS, FRAMES_PER_TRACK, LENGTH, BANDS, CLASSES = 200, 1292, 172, 128, 10


class Clock:
    """Adds up the seconds of each activity."""

    def __init__(self) -> None:
        self.seconds = defaultdict(float)

    @contextmanager
    def on(self, name: str):
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=8)
    arguments = parser.parse_args()
    import_keras()
    from genreflow.files import write_json
    from genreflow.models import build_model
    from genreflow.reporting.study import load_study, write_report
    from genreflow.tracking.store import ensure_experiment, open_client
    from genreflow.tracking.study import study_run
    from genreflow.tracking.summary import log_folder
    from genreflow.tracking.trials import StudyTrials
    from genreflow.training.fit import fit
    from genreflow.training.options import FitOptions
    from genreflow.training.segment_set import SegmentSet
    from genreflow.tuning.params import TuneParams
    from genreflow.tuning.results import study_record
    from genreflow.tuning.run_trial import TrialResult
    from genreflow.tuning.search_space import SearchSpace
    from genreflow.tuning.storage import exclusive, open_storage
    from genreflow.tuning.study import open_study, run_study

    def random_segments(n: int, seed: int) -> SegmentSet:
        frames = np.random.default_rng(seed).integers(0, 256, (n, FRAMES_PER_TRACK, BANDS), dtype="uint8")
        return SegmentSet(list(frames), np.arange(n) % CLASSES, range(n), LENGTH, LENGTH // 2)

    train, valid = random_segments(4 * TRACKS // 5, 0), random_segments(TRACKS // 5, 1)
    mean, variance = train.band_statistics()
    clock = Clock()

    class TimedCallback:
        """Measures how long the callback of a trial takes."""

        def __init__(self, callback) -> None:
            self.callback, self.seconds = callback, 0.0

        def on_epoch_end(self, epoch, metrics) -> None:
            begin = time.perf_counter()
            try:
                self.callback.on_epoch_end(epoch, metrics)
            finally:
                self.seconds += time.perf_counter() - begin

    def objective(configuration, callback) -> TrialResult:
        timed, begin = TimedCallback(callback), time.perf_counter()
        try:
            model = build_model(
                configuration.architecture,
                input_shape=(LENGTH, BANDS),
                classes=CLASSES,
                mean=mean,
                variance=variance,
                seed=1,
                **configuration.hyperparameters,
            )
            options = FitOptions(epochs=arguments.epochs, batch_size=32, learning_rate=configuration.learning_rate)
            result = fit(model, train, valid, options, on_epoch=timed.on_epoch_end)
        finally:
            clock.seconds["fits"] += time.perf_counter() - begin - timed.seconds
        metrics = {"val_loss": result.best["val_loss"]}
        return TrialResult(result.best["val_track_accuracy"], result.best_epoch + 1, metrics)

    tune = TuneParams(architectures=("efficient", "parallel_cnn"), trials=arguments.trials, epochs=arguments.epochs)
    space = SearchSpace(tune.architectures, learning_rate=None, fixed={}, dimensions={})
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        with clock.on("creating and opening the stores"):
            client = open_client(folder)
            experiment = ensure_experiment(client, folder)
            storage = open_storage(f"sqlite:///{folder}/optuna.db")
        with ExitStack() as active:
            locked = partial(exclusive, storage)
            run = active.enter_context(study_run(client, experiment.experiment_id, "bench", lock=locked))
            study = open_study(tune, space, storage, name="bench")
            trials = StudyTrials(run)
            with clock.on("trials"):
                run_study(study, storage, objective, tune=tune, space=space, tracker=trials)
            trials.stop()
            with clock.on("waiting for MLflow at the end"):
                active.close()
        with clock.on("report"):
            path = Path(folder, "trials.json")
            write_json(path, {**study_record(study, tune), "leaking": False, "mlflow_run": run.run_id})
            write_report(load_study(path), Path(folder, "study"))
            log_folder(client, run.run_id, Path(folder, "study"))
        total = time.perf_counter() - begin
    fits = clock.seconds.pop("fits")
    rows = [("Optuna and MLflow during trials", clock.seconds.pop("trials") - fits), *clock.seconds.items()]
    rows += [("everything but building and fitting", total - fits)]
    print(f"{arguments.trials} trials, {train.n_segments:,} segments, {fits / arguments.trials:.1f} s per fit")
    for name, seconds in rows:
        per_trial = 1000 * seconds / arguments.trials
        print(f"  {name:38}{seconds:7.1f} s{per_trial:8.0f} ms per trial{100 * seconds / total:7.1f} % of the study")


if __name__ == "__main__":
    main()
