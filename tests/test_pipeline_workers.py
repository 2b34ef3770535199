"""A study in a real project with several workers and real servers: one of them dies, and nothing is lost."""

import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient

from genreflow.files import read_json
from genreflow.tracking.store import open_client
from genreflow.tuning.results import count_trials
from genreflow.tuning.trial_states import WORKER, retry_of
from mlflow_server import Server
from pipeline import Project
from postgresql_server import create_database, postgresql
from study_project import running_trials, runs, start, stop_in_trial, study_of, study_project, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    return study_project(tmp_path_factory.mktemp("workers"))


def test_the_local_workers_of_dvc_repro_share_its_study_and_one_may_die(project, tmp_path):
    # Long enough that the lead worker does not run all trials before the other has started.
    project.set(tune={"trials": 8, "epochs": 24}, compute={"trial_workers": 2})
    log = tmp_path / "tune.log"
    process = start(project, "dvc", "repro", "tune", log=log)

    def worker_beside_the_lead(study: optuna.Study) -> int | None:
        running = running_trials(study)
        if len(running) < 2:
            return None
        return next(pid for pid in running if b"--worker" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"))

    victim, interrupted = stop_in_trial(lambda: study_of(project), worker_beside_the_lead, process)
    os.kill(victim, signal.SIGKILL)
    killed = time.time()
    process.wait(900)
    printed = log.read_text()
    assert process.returncode == 0, printed
    assert f"repeats trial {interrupted}, which was interrupted" in printed
    assert f"worker {victim} was ended by SIGKILL" in printed

    study = study_of(project)
    trials = study.get_trials()
    assert count_trials(study) == {"finished": 8, "pruned": 0, "infeasible": 0, "failed": 0, "interrupted": 1}
    assert [retry_of(trial) for trial in trials if retry_of(trial) is not None] == [interrupted]
    detected = trials[interrupted].datetime_complete.timestamp()
    trials_of_survivor = [t for t in trials if t.user_attrs[WORKER]["pid"] != victim and t.duration is not None]
    longest = max(t.duration.total_seconds() for t in trials_of_survivor)
    assert detected - killed < 60 + longest, "the surviving worker looks for orphaned trials between its own"
    parent, *children = runs(open_client(project.folder), study.study_name)
    assert parent.info.status == "FINISHED"
    status = {int(run.data.tags["genreflow.trial"]): run.info.status for run in children}
    assert status == {t.number: "FAILED" if t.number == interrupted else "FINISHED" for t in trials}
    best = read_json(project.folder / "reports" / "best_trial.json")["number"]
    assert trials[best].value == study.best_value  # the loss decides between equal ones


def test_the_mlflow_server_may_be_away_for_a_minute(project, tmp_path):
    project.set(tune={"trials": 4, "epochs": 12}, compute={"trial_workers": 1})
    with Server(tmp_path) as server:
        log = tmp_path / "tune.log"
        environment = project.environment | {"MLFLOW_TRACKING_URI": server.uri}
        process = start(project, "dvc", "repro", "tune", log=log, environment=environment)
        wait_until(lambda: any(number >= 1 for number in running_trials(study_of(project)).values()), process)
        server.kill()
        finished = count_trials(study_of(project))["finished"]
        away = time.monotonic()
        # That a trial ends while the server is away may take longer than a minute on a busy machine.
        wait_until(lambda: count_trials(study_of(project))["finished"] > finished, process)
        time.sleep(max(0, away + 60 - time.monotonic()))
        assert process.poll() is None, "it did not wait for its writes"
        server.start()
        process.wait(900)
        printed = log.read_text()
        assert process.returncode == 0, printed
        # MLflow itself may retry a request that was active when the server went away; then nothing is logged.
        assert ("does not answer" in printed) == ("is back" in printed)
        assert "lost" not in printed

        study = study_of(project)
        client = MlflowClient(tracking_uri=server.uri)
        parent, *children = runs(client, study.study_name)
        assert parent.info.status == "FINISHED"
        assert {int(run.data.tags["genreflow.trial"]): run.info.status for run in children} == dict.fromkeys(
            range(4), "FINISHED"
        )
        for run in children:
            trial = study.get_trials()[int(run.data.tags["genreflow.trial"])]
            curve = client.get_metric_history(run.info.run_id, "val_track_accuracy")
            assert {point.step: point.value for point in curve} == trial.intermediate_values
            # Its times are those of the trial, not of the writes.
            assert run.info.end_time <= trial.datetime_complete.timestamp() * 1000 + 1000


def test_three_workers_on_postgresql_and_an_mlflow_server_one_of_them_killed(project, tmp_path):
    with postgresql() as server:
        storage = create_database(server, "optuna")
        store = create_database(server, "mlflow").replace("postgresql:", "postgresql+psycopg:")
        with Server(tmp_path, store) as mlflow_server:
            environment = project.environment | {
                "GENREFLOW_STORAGE": storage,
                "MLFLOW_TRACKING_URI": mlflow_server.uri,
                "TF_NUM_INTRAOP_THREADS": "1",
                "TF_NUM_INTEROP_THREADS": "1",
            }
            # So many that two workers do not run all of them before the third one has started.
            project.set(tune={"trials": 9, "epochs": 12})
            logs = [tmp_path / f"worker-{k}.log" for k in range(3)]
            command = ("genreflow", "tune", "--worker")
            workers = [start(project, *command, log=log, environment=environment) for log in logs]
            try:
                study = lambda: study_of(project, storage)  # noqa: E731

                def one_of_three(study: optuna.Study) -> int | None:
                    return workers[0].pid if len(running_trials(study)) == 3 else None

                victim, interrupted = stop_in_trial(study, one_of_three, workers[0])
                workers[0].kill()
                for worker in workers:
                    worker.wait(900)
                printed = "\n".join(log.read_text() for log in logs)
                assert sorted(worker.returncode for worker in workers) == [-9, 0, 0], printed
            finally:
                for worker in workers:
                    worker.kill()
                    worker.wait()

            done = study()
            trials = done.get_trials()
            assert count_trials(done) == {"finished": 9, "pruned": 0, "infeasible": 0, "failed": 0, "interrupted": 1}
            assert [retry_of(t) for t in trials if retry_of(t) is not None] == [interrupted]
            completed = {t.user_attrs[WORKER]["pid"] for t in trials if t.state.name == "COMPLETE"}
            assert completed - {victim} == {worker.pid for worker in workers[1:]}

            # The worker of DVC has no trial to start, and writes the reports.
            done = subprocess.run(
                ["dvc", "repro", "tune"],
                cwd=project.folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            assert "9 finished, 1 interrupted" in done.stdout, done.stdout
            client = MlflowClient(tracking_uri=mlflow_server.uri)
            parent, *children = runs(client, study().study_name)
            ended = Counter((run.data.tags["genreflow.trial"], run.info.status) for run in children)
            assert set(ended.values()) == {1}
            assert Counter(status for _, status in ended) == {"FINISHED": 9, "FAILED": 1}
            assert parent.info.status == "FINISHED"
