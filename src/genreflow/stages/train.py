"""Best trial -> a model, trained with early stopping, calibrated on validation and exported as a bundle."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from genreflow.files import write_csv
from genreflow.interruption import Interruption
from genreflow.models import MODELS
from genreflow.models.keras_import import import_keras
from genreflow.params import Params, load_params
from genreflow.stages import CANDIDATE, CURVES, PROJECT
from genreflow.stages.best_trial import BestTrial
from genreflow.stages.embeddings import Embeddings, load_segments
from genreflow.stages.inputs import Data

if TYPE_CHECKING:
    from genreflow.tracking.runs import LoggedRun
    from genreflow.training.fit import FitResult

logger = logging.getLogger(__name__)


def main() -> None:
    params, data, best = load_params(), Data.load(verify_features=True), BestTrial.load()
    with Interruption() as interruption:  # otherwise SIGTERM would leave the run in MLflow as it is, running
        result = interruption.guard(train)(params, data, best)
    write_csv(CURVES, ("epoch", *result.history, *data.split.tags), curve_rows(result.history, data.split.tags))


def train(params: Params, data: Data, best: BestTrial) -> "FitResult":
    """Train the configuration of the best trial, log it to MLflow and write the bundle.

    Parameters
    ----------
    params : Params
    data : Data
    best : BestTrial

    Raises
    ------
    ParameterError
        `best` has a value that is out of range, or the filter bank is damaged.
    """
    segmentation, options = best.segment_params(params.segments), best.fit_options(params.train)
    bank = data.load_filter_bank()
    embeddings = Embeddings.load(data.store) if MODELS[best.architecture].embedding else None
    import_keras()  # here, since it takes ten seconds: the parameters and the data have been validated
    from genreflow.tracking.lineage import lineage_tags
    from genreflow.tracking.runs import run_name, start_run
    from genreflow.tracking.store import ensure_experiment, open_client
    from genreflow.training.calibration import calibrate_and_export
    from genreflow.training.configuration import fit_configuration

    segments = load_segments(data, segmentation, embeddings)
    configuration = {
        "architecture": best.architecture,
        **best.hyperparameters,
        "segment_seconds": data.store.spec.seconds(segments.length),
        "track_cap": segmentation.track_cap,
        **{name: value for name, value in asdict(segmentation.front_end).items() if value is not None},
        **options.model_dump(),
    }
    client = open_client(PROJECT)
    experiment = ensure_experiment(client, PROJECT)
    tags = lineage_tags(PROJECT, **data.hashes, **data.split.tags)
    run_tags = {**tags, "study": best.study}
    name = run_name(data.split.prefixed(f"refit {best.architecture}", sep=" "), params.data.source)
    with start_run(client, experiment.experiment_id, name, params=configuration, tags=run_tags) as run:
        run.log_inputs([data.dataset(params.data.path).to_input(tags)])
        model, result = fit_configuration(
            segments,
            best.architecture,
            best.hyperparameters,
            options,
            on_epoch=epoch_logger(run, options.epochs, data.split.prefixed("validation", sep=" ")),
        )
        _, facts = calibrate_and_export(
            model,
            segments,
            CANDIDATE,
            spec=data.store.spec,
            bank=bank,
            abstain_below=params.bundle.abstain_below,
            refuse_above=params.bundle.refuse_above,
            lineage={**tags, **lineage(params, data, configuration), "mlflow_run": run.run_id},
        )
        run.log_metrics({f"best_{metric}": value for metric, value in result.best.items()} | facts)
    logger.info(
        f"{best.architecture}, {model.count_params():,} parameters: track accuracy "
        f"{result.best['val_track_accuracy']:.3f} on {data.split.prefixed('validation', sep=' ')} after "
        f"{result.best_epoch + 1} epochs; temperature {facts['temperature']:.2f}, abstains below "
        f"{facts['abstain_below']:.2f}, refuses what is unfamiliar above {facts['refuse_above']:.4f}"
    )
    return result


def lineage(params: Params, data: Data, configuration: Mapping[str, object]) -> dict[str, object]:
    """Return what a bundle records about its parameters and data."""
    split = data.split
    return {
        "params_hash": hashlib.sha256(json.dumps(configuration, sort_keys=True).encode()).hexdigest()[:16],
        "source": params.data.source,
        "split": split.method,
        "leaking": split.leaking,
        **({} if split.fold is None else {"fold": f"{split.fold} of {split.folds}"}),
        "train_tracks": sorted(data.hashes_of(split.train)),
        "valid_tracks": sorted(data.hashes_of(split.valid)),
    }


def epoch_logger(run: "LoggedRun", epochs: int, validation: str) -> Callable[[int, Mapping[str, float]], None]:
    """Return a function that logs the metrics of an epoch to MLflow and to the terminal."""

    def on_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
        run.log_metrics(metrics, epoch)
        logger.info(
            f"epoch {epoch + 1:3d}/{epochs}: accuracy {metrics['accuracy']:.3f}, {validation} accuracy "
            f"{metrics['val_accuracy']:.3f} on segments, {metrics['val_track_accuracy']:.3f} on tracks "
            f"({metrics['seconds']:.1f} s)"
        )

    return on_epoch


def curve_rows(history: Mapping[str, list[float]], tags: Mapping[str, str]) -> list[dict]:
    """Return the learning curves as rows, one for each epoch, counted from 1."""
    epochs = len(next(iter(history.values()), []))
    return [
        {"epoch": epoch + 1, **tags, **{metric: values[epoch] for metric, values in history.items()}}
        for epoch in range(epochs)
    ]
