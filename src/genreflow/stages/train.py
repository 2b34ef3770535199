"""hyperparameters -> a model, fitted with patience, calibrated on validation and exported as a bundle."""

import hashlib
import json
from dataclasses import asdict

from genreflow.features.spec import FilterBank
from genreflow.files import read_json, write_csv
from genreflow.models.keras_import import import_keras
from genreflow.params import load_params
from genreflow.stages import BEST, CANDIDATE, CURVES, FEATURES, FILTERS, run_stage, say
from genreflow.stages.inputs import PROJECT, Data
from genreflow.training.options import FitOptions


def main() -> None:
    params = load_params()
    data = Data.load()
    best = read_json(BEST)
    import_keras()
    from genreflow.tracking.runs import lineage_tags, start_run
    from genreflow.tracking.store import ensure_experiment, open_client
    from genreflow.training.calibration import calibrate_and_export
    from genreflow.training.configuration import fit_configuration
    from genreflow.training.data import load_training_data

    cut = params.segments.override(best["segments"])
    segments = load_training_data(data.store, data.manifest, data.split, cut)
    rate = params.train.learning_rate or best["learning_rate"]
    options = FitOptions.model_validate({**params.train.model_dump(), **best["train"], "learning_rate": rate})
    chosen = {
        "architecture": best["architecture"],
        **best["hyperparameters"],
        "segment_seconds": cut.seconds,
        **{name: value for name, value in asdict(cut.front_end).items() if value is not None},
        **options.model_dump(),
    }
    client = open_client(PROJECT)
    experiment = ensure_experiment(client, PROJECT)
    tags = lineage_tags(PROJECT, **data.hashes, **data.split.tags)
    lineage = {
        **tags,
        "params_hash": hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:16],
        "source": params.data.source,
        "split": data.split.method,
        "leaking": data.split.leaking,
        **({} if data.split.fold is None else {"fold": f"{data.split.fold} of {data.split.folds}"}),
        "train_tracks": sorted(track.hash for track in data.usable(data.split.train)),
        "valid_tracks": sorted(track.hash for track in data.usable(data.split.valid)),
    }
    name = f"refit {best['study']}"
    validation = data.split.prefixed("validation", sep=" ")
    with start_run(client, experiment.experiment_id, name, params=chosen, tags={**tags, "study": best["study"]}) as run:
        client.log_inputs(run.run_id, [data.lineage(params.data.path).as_input(tags)])

        def on_epoch(epoch, metrics):
            run.log_epoch(metrics, epoch)
            say(
                f"epoch {epoch + 1:3d}/{options.epochs}: accuracy {metrics['accuracy']:.3f}, {validation} "
                f"{metrics['val_accuracy']:.3f} of segments, {metrics['val_track_accuracy']:.3f} of tracks "
                f"({metrics['seconds']:.1f} s)"
            )

        model, result = fit_configuration(
            segments, best["architecture"], best["hyperparameters"], options, on_epoch=on_epoch
        )
        _, facts = calibrate_and_export(
            model,
            segments,
            CANDIDATE,
            spec=data.store.spec,
            bank=FilterBank.load(FEATURES / FILTERS),
            abstain_below=params.bundle.abstain_below,
            lineage={**lineage, "mlflow_run": run.run_id},
        )
        run.log_metrics({f"best_{metric}": value for metric, value in result.best.items()} | facts)
    write_csv(
        CURVES,
        ("epoch", *result.history, *data.split.tags),
        [
            {
                "epoch": epoch + 1,
                **data.split.tags,
                **{metric: values[epoch] for metric, values in result.history.items()},
            }
            for epoch in range(result.epochs)
        ],
    )
    say(
        f"{best['architecture']}, {model.count_params():,} parameters: track accuracy "
        f"{result.best['val_track_accuracy']:.3f} on {validation} after {result.best_epoch + 1} epochs; "
        f"temperature {facts['temperature']:.2f}, not sure below {facts['abstain_below']:.2f}"
    )


if __name__ == "__main__":
    run_stage(main)
