"""Training and validation tracks -> hyperparameters, by an Optuna study whose trials are runs in MLflow."""

import logging

from genreflow.files import write_csv, write_json
from genreflow.stages import BEST, TRIALS, TRIALS_CSV
from genreflow.stages.study_worker import CompletedStudy, run_worker

logger = logging.getLogger(__name__)


def main() -> None:
    with run_worker(lead=True) as completed:
        write_results(completed)


def write_results(completed: CompletedStudy) -> None:
    """Write the best trial and all trials to ``reports``, and describe the best one in the study's MLflow run."""
    from genreflow.tracking.summary import describe_best_trial
    from genreflow.tuning.results import best_trial, count_trials, study_record, trials_table

    study, tune, split = completed.study, completed.tune, completed.data.split
    best, counts, rows = best_trial(study, tune), count_trials(study), trials_table(study, tune)
    facts = {"architecture": best.configuration.architecture, "val_track_accuracy": best.track_accuracy}
    describe_best_trial(
        completed.run,
        number=best.number,
        run_id=rows[best.number]["run_id"],
        facts={**facts, **best.costs, **counts},
        lineage=completed.lineage,
    )
    record = study_record(study, tune)
    write_json(TRIALS, {**record, "leaking": split.leaking, "mlflow_run": completed.run.run_id})
    write_csv(TRIALS_CSV, (*rows[0], *split.tags), [{**row, **split.tags} for row in rows])
    write_json(BEST, {"study": study.study_name, "leaking": split.leaking, **best.to_dict()})
    logger.info("%d trials: %s", len(rows), ", ".join(f"{n} {state}" for state, n in counts.items() if n))
    logger.info(
        "best: trial %d, %s, track accuracy %.3f on validation",
        best.number,
        best.configuration.architecture,
        best.track_accuracy,
    )
