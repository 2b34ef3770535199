"""What Optuna and MLflow cost a study: `python benchmarks/bench_tune.py [--trials 12] [--epochs 8]`.

A study with real fits, its trials in SQLite and its runs in a real MLflow store. What a trial does besides building and
fitting its model, and what the study does before, between and after its trials, is overhead; each as a share of the
whole in the same run.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from genreflow.models.keras_import import import_keras

TRACKS, FRAMES_A_TRACK, LENGTH, BANDS, CLASSES = 200, 1292, 172, 128, 10


class Clock:
    """Seconds by what they were spent on."""

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
    from genreflow.tuning.objectives import Goals
    from genreflow.tuning.results import study_record
    from genreflow.tuning.search_space import Search
    from genreflow.tuning.storage import open_storage, turn
    from genreflow.tuning.study import Outcome, open_study, run_study

    def some(n: int, seed: int) -> SegmentSet:
        frames = np.random.default_rng(seed).integers(0, 256, (n, FRAMES_A_TRACK, BANDS), dtype="uint8")
        return SegmentSet(list(frames), np.arange(n) % CLASSES, range(n), LENGTH, LENGTH // 2)

    train, valid = some(4 * TRACKS // 5, 0), some(TRACKS // 5, 1)
    mean, variance = train.band_statistics()
    clock = Clock()

    class Watched:
        """Passes on what a trial tells, and takes the time that the telling takes."""

        def __init__(self, watch) -> None:
            self.watch, self.seconds = watch, 0.0

        def epoch(self, epoch, metrics) -> None:
            begin = time.perf_counter()
            try:
                self.watch.epoch(epoch, metrics)
            finally:
                self.seconds += time.perf_counter() - begin

    def objective(configuration, watch) -> Outcome:
        watched, begin = Watched(watch), time.perf_counter()
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
            result = fit(model, train, valid, options, on_epoch=watched.epoch)
        finally:
            clock.seconds["fits"] += time.perf_counter() - begin - watched.seconds
        return Outcome(result.best["val_track_accuracy"], result.best_epoch + 1, {"val_loss": result.best["val_loss"]})

    search = Search(architectures=("efficient", "parallel_cnn"), trials=arguments.trials, epochs=arguments.epochs)
    goals = Goals()
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        with clock.on("stores made and opened"):
            client = open_client(folder)
            experiment = ensure_experiment(client, folder)
            storage = open_storage(f"sqlite:///{folder}/optuna.db")
        with study_run(client, experiment.experiment_id, "bench", turn=partial(turn, storage)) as run:
            study = open_study(search, goals, storage, name="bench")
            trials = StudyTrials(run)
            with clock.on("trials"):
                run_study(study, storage, objective, search, goals, trials=trials, say=lambda _: None)
            with clock.on("what was left to write"):
                trials.close()
            with clock.on("plots"):
                path = Path(folder, "trials.json")
                write_json(path, {**study_record(study, goals), "leaking": False, "mlflow_run": run.run_id})
                write_report(load_study(path), Path(folder, "study"))
                log_folder(run, Path(folder, "study"))
        whole = time.perf_counter() - begin
    fits = clock.seconds["fits"]
    rows = [("Optuna and MLflow beside the fits", clock.seconds["trials"] - fits)]
    rows += [(name, clock.seconds[name]) for name in ("stores made and opened", "what was left to write", "plots")]
    rows += [("all that is not building and fitting", whole - fits)]
    print(f"{arguments.trials} trials, {train.n_segments:,} segments, {fits / arguments.trials:.1f} s a fit")
    for name, seconds in rows:
        per_trial = 1000 * seconds / arguments.trials
        print(f"  {name:38}{seconds:7.1f} s{per_trial:8.0f} ms a trial{100 * seconds / whole:7.1f} % of the study")


if __name__ == "__main__":
    main()
