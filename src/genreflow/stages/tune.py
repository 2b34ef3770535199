"""training and validation tracks -> hyperparameters, by an Optuna study whose trials are runs in MLflow."""

from genreflow.files import write_csv, write_json
from genreflow.stages import BEST, TRIALS, TRIALS_CSV, run_stage, say
from genreflow.stages.study import Finished, work


def main() -> None:
    with work(lead=True) as done:
        _report(done)


def _report(done: Finished) -> None:
    from genreflow.tracking.summary import show_best
    from genreflow.tuning.results import best_trial, counts, study_record, table

    study, split = done.study, done.data.split
    best, ended, rows = best_trial(study, done.goals), counts(study), table(study, done.goals)
    found = {"architecture": best.configuration.architecture, "val_track_accuracy": best.track_accuracy}
    run_id = next(row["run_id"] for row in rows if row["number"] == best.number)
    show_best(
        done.run, best=best.number, best_run_id=run_id, facts={**found, **best.costs, **ended}, lineage=done.lineage
    )
    record = study_record(study, done.goals)
    write_json(TRIALS, {**record, "leaking": split.leaking, "mlflow_run": done.run.run_id})
    write_csv(TRIALS_CSV, (*rows[0], *split.tags), [{**row, **split.tags} for row in rows])
    write_json(BEST, {"study": study.study_name, "leaking": split.leaking, **best.to_dict()})
    say(f"{', '.join(f'{count} {how}' for how, count in ended.items() if count)}")
    say(
        f"best: trial {best.number}, {best.configuration.architecture}, track accuracy {best.track_accuracy:.3f} on "
        f"{split.prefixed('validation', sep=' ')}"
    )


if __name__ == "__main__":
    run_stage(main)
