"""A study in a real project by several workers and on real servers: one of them goes away, and nothing is lost."""

import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from mlflow import MlflowClient

from genreflow.files import read_json
from genreflow.tracking.store import open_client
from genreflow.tuning.results import counts
from genreflow.tuning.storage import began_as
from mlflow_server import Server
from pipeline import Project
from postgresql_server import create_database, postgresql
from study_project import busy, runs, start, study_of, study_project, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    return study_project(tmp_path_factory.mktemp("workers"))


def test_the_workers_of_one_command_share_its_study_and_one_of_them_may_die(project, tmp_path):
    # Long enough that the one that leads does not do it all while the other starts.
    project.set(tune={"trials": 8, "epochs": 24}, compute={"trial_workers": 2})
    log = tmp_path / "tune.log"
    process = start(project, "dvc", "repro", "tune", log=log)
    wait_until(lambda: len(busy(study_of(project))) == 2, process)
    at = busy(study_of(project))
    beside = next(pid for pid in at if b"--worker" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"))
    os.kill(beside, signal.SIGKILL)
    process.wait(600)
    said = log.read_text()
    assert process.returncode == 0, said
    assert f"takes up trial {at[beside]}, which was cut off" in said
    assert f"worker {beside}, which worked beside this one, was ended by SIGKILL" in said

    study = study_of(project)
    trials = study.get_trials()
    assert counts(study) == {"finished": 8, "pruned": 0, "infeasible": 0, "failed": 0, "interrupted": 1}
    assert [began_as(trial) for trial in trials if began_as(trial) is not None] == [at[beside]]
    parent, *children = runs(open_client(project.folder), study.study_name)
    assert parent.info.status == "FINISHED"
    status = {int(run.data.tags["genreflow.trial"]): run.info.status for run in children}
    assert status == {t.number: "FAILED" if t.number == at[beside] else "FINISHED" for t in trials}
    best = read_json(project.folder / "reports" / "best_trial.json")["number"]
    assert trials[best].value == study.best_value  # among equals the loss decides


def test_mlflows_server_may_be_away_for_a_minute(project, tmp_path):
    project.set(tune={"trials": 4, "epochs": 12}, compute={"trial_workers": 1})
    with Server(tmp_path) as server:
        log = tmp_path / "tune.log"
        environment = project.environment | {"MLFLOW_TRACKING_URI": server.uri}
        process = start(project, "dvc", "repro", "tune", log=log, environment=environment)
        wait_until(lambda: any(number >= 1 for number in busy(study_of(project)).values()), process)
        server.kill()
        cut = counts(study_of(project))["finished"]
        time.sleep(60)
        assert process.poll() is None, "it did not wait for what it had to write"
        assert counts(study_of(project))["finished"] > cut, "no trial ended while the server was away"
        server.start()
        process.wait(600)
        said = log.read_text()
        assert process.returncode == 0, said
        # A write that was on its way when the server went is tried again by MLflow itself, and nothing needs saying.
        assert ("does not answer" in said) == ("is back" in said)
        assert "lost" not in said

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
            # The times are those of the trial, not those of the writes.
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
            project.set(tune={"trials": 6, "epochs": 12})
            logs = [tmp_path / f"worker-{k}.log" for k in range(3)]
            command = ("genreflow", "tune", "--worker")
            workers = [start(project, *command, log=log, environment=environment) for log in logs]
            try:
                study = lambda: study_of(project, storage)  # noqa: E731
                wait_until(lambda: any(number >= 1 for number in busy(study()).values()), workers[0])
                at = busy(study())
                victim = next(worker for worker in workers if worker.pid in at)
                victim.kill()
                for worker in workers:
                    worker.wait(600)
                said = "\n".join(log.read_text() for log in logs)
                assert sorted(worker.returncode for worker in workers) == [-9, 0, 0], said
            finally:
                for worker in workers:
                    worker.kill()
                    worker.wait()

            done = study()
            trials = done.get_trials()
            assert counts(done) == {"finished": 6, "pruned": 0, "infeasible": 0, "failed": 0, "interrupted": 1}
            assert [began_as(t) for t in trials if began_as(t) is not None] == [at[victim.pid]]
            assert len({t.user_attrs["process"]["pid"] for t in trials if t.state.name == "COMPLETE"}) == 2

            # DVC's own worker finds nothing left to try, and says what was found.
            done = subprocess.run(
                ["dvc", "repro", "tune"],
                cwd=project.folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            assert "6 finished, 1 interrupted" in done.stdout
            client = MlflowClient(tracking_uri=mlflow_server.uri)
            parent, *children = runs(client, study().study_name)
            ended = Counter((run.data.tags["genreflow.trial"], run.info.status) for run in children)
            assert set(ended.values()) == {1}
            assert Counter(status for _, status in ended) == {"FINISHED": 6, "FAILED": 1}
            assert parent.info.status == "FINISHED"
