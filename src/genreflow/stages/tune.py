"""training and validation tracks -> hyperparameters, by an Optuna study whose trials are runs in MLflow."""

from functools import partial

from genreflow.files import write_csv, write_json
from genreflow.models.start import import_keras
from genreflow.params import Params, load_params
from genreflow.stages import BEST, TRIALS, run_stage, say
from genreflow.stages.inputs import PROJECT, Data


def main() -> None:
    params = load_params()
    data = Data.load()
    # Keras is imported after the parameters and inputs are known to be sound: it takes ten seconds.
    import_keras()
    from genreflow.tracking.runs import lineage_tags
    from genreflow.tracking.store import ensure_experiment, open_client, project_root
    from genreflow.tracking.study import StudyTrials, fail_lost_trials, study_run
    from genreflow.training.data import load_training_data
    from genreflow.training.refit import fit_configuration
    from genreflow.training.search import Search, study_name
    from genreflow.training.tune import run_study

    options = params.train
    search = Search(
        **params.tune.model_dump(exclude={"timeout_minutes"}),
        timeout=params.tune.timeout_minutes and 60 * params.tune.timeout_minutes,
    )
    segmentation = params.segments.model_dump(exclude_none=True)
    name = study_name(search, data.hashes, segmentation, options.model_dump(exclude={"epochs"}))
    name = data.split.marked(name, joint="-")
    segments = load_training_data(
        data.store,
        data.manifest,
        data.split,
        seconds=params.segments.seconds,
        hop_seconds=params.segments.hop_seconds,
        front=params.segments.front,
    )

    def objective(architecture, learning_rate, hyperparameters, on_epoch):
        trial_options = options.model_copy(update={"epochs": search.epochs, "learning_rate": learning_rate})
        model, result = fit_configuration(segments, architecture, hyperparameters, trial_options, on_epoch=on_epoch)
        facts = {"val_loss": result.best["val_loss"], "parameters": model.count_params()}
        return result.best["val_track_accuracy"], result.best_epoch + 1, facts

    client = open_client(PROJECT)
    experiment = ensure_experiment(client, PROJECT)
    tags = lineage_tags(PROJECT, **data.hashes, **data.split.mark)
    with study_run(client, experiment.experiment_id, name, params=_study_params(params), tags=tags) as parent:
        best, table = run_study(
            objective,
            search,
            name=name,
            storage=f"sqlite:///{project_root(PROJECT) / 'optuna.db'}",
            trials=StudyTrials(parent, tags=tags, name=data.split.marked("trial", joint=" ")),
            end_lost=partial(fail_lost_trials, parent),
            say=lambda line: say(data.split.marked(line, joint=" ")),
        )
        parent.set_tags({"best_trial": best.number, "architecture": best.architecture})
    write_csv(TRIALS, (*table[0], *data.split.mark), [{**row, **data.split.mark} for row in table])
    write_json(BEST, {"study": name, "leaking": data.split.leaking, **best.to_dict()})
    validation = data.split.marked("validation", joint=" ")
    say(f"best: trial {best.number + 1}, {best.architecture}, track accuracy {best.value:.3f} on {validation}")


def _study_params(params: Params) -> dict[str, object]:
    return {
        "source": params.data.source,
        "architectures": ", ".join(params.tune.architectures),
        **{f"segment_{name}": value for name, value in params.segments.model_dump(exclude_none=True).items()},
        "split": params.split.method,
        "epochs": params.tune.epochs,
    }


if __name__ == "__main__":
    run_stage(main)
