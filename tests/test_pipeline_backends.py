"""The pipeline with every part on a server: MLflow and Optuna on PostgreSQL, data and artifacts on S3.

All are real; only S3's is a server for tests. They run in the order of the file, on one project.
"""

import json
from pathlib import Path

import httpx
import optuna
import pytest
import soundfile
from mlflow import MlflowClient

from genreflow.bundle import Bundle
from genreflow.costs.service_process import served
from mlflow_server import Server
from pipeline import RATE, Project, quick_project, tone
from postgresql_server import create_database, postgresql
from s3_server import S3Server, s3_server
from study_project import storage_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="module")
def databases():
    with postgresql() as server:
        yield {name: create_database(server, name) for name in ("mlflow", "optuna")}


@pytest.fixture(scope="module")
def server(s3, databases, tmp_path_factory):
    store = databases["mlflow"].replace("postgresql:", "postgresql+psycopg:")
    artifacts = f"s3://{s3.bucket}/mlflow"
    with Server(tmp_path_factory.mktemp("mlflow"), store, artifacts=artifacts, environment=s3.environment) as server:
        yield server


@pytest.fixture(scope="module")
def project(s3, databases, server, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        environment = s3.environment | {"MLFLOW_TRACKING_URI": server.uri, "GENREFLOW_STORAGE": databases["optuna"]}
        for name, value in environment.items():
            patch.setenv(name, value)
        project = quick_project(tmp_path_factory.mktemp("backends"))
        project.set(gate={"min_probability": 0.5}, bundle={"abstain_below": 0.1})
        project.repro()
        project.run("dvc", "remote", "add", "--default", "store", f"s3://{s3.bucket}/dvc")
        project.commit("first champion")
        yield project


def load(folder: Path, name: str):
    return json.loads((folder / name).read_text())


def versions(project: Project) -> dict[str, dict]:
    listed = json.loads(project.run("genreflow", "registry", "list", "--json").stdout)
    return {entry["version"]: entry for entry in listed}


def keys_of_models(s3: S3Server) -> set[str]:
    """The folders of the models that the server has stored."""
    return {"/".join(key.split("/")[:4]) for key in s3.keys("mlflow/") if "/models/" in key}


def test_nothing_is_kept_in_the_project_that_a_server_keeps(project, s3, databases, server):
    for name in ("mlflow.db", "mlruns", "optuna.db"):
        assert not (project.folder / name).exists()
    [study] = optuna.get_all_study_summaries(storage_of(databases["optuna"]))
    assert study.n_trials == 2
    client = MlflowClient(tracking_uri=server.uri)
    [parent] = client.search_runs(
        [client.get_experiment_by_name("genreflow").experiment_id],
        f"tags.`genreflow.study` = '{study.study_name}'",
    )
    assert parent.info.artifact_uri.startswith("mlflow-artifacts:/")
    assert any(entry.path == "study" for entry in client.list_artifacts(parent.info.run_id))
    assert any(key.endswith(f"{parent.info.run_id}/artifacts/study/study.html") for key in s3.keys("mlflow/"))
    [version] = versions(project).values()
    assert version["aliases"] == ["candidate", "champion"]
    assert load(project.folder, "models/champion.json")["bundle_hash"] == version["bundle_hash"]
    assert "version 1" in project.run("genreflow", "status").stdout.lower()


def test_a_clone_serves_the_same_champion_from_s3(project, tmp_path, monkeypatch):
    pushed = project.run("genreflow", "push").stdout
    assert "sent to s3://" in pushed
    clone = tmp_path / "clone"
    project.git("clone", "--quiet", str(project.folder), str(clone))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # it needs no registry
    project.run("genreflow", "pull", "models/champion", cwd=clone)
    champion = Bundle.load(project.folder / "models/champion")
    assert Bundle.load(clone / "models/champion").hash == champion.hash

    audio = tmp_path / "treble.wav"
    soundfile.write(audio, tone(1000, seed=5), RATE)
    local = json.loads(project.run("genreflow", "classify", str(audio), "--json").stdout)
    environment = {"PYTHONPATH": str(clone / "src")}
    with (
        served(".", cwd=clone, environment=environment, watch=False) as service,
        httpx.Client(base_url=service.url, timeout=60) as client,
    ):
        answer = client.post("/classify", files={"audio": audio.open("rb")}).json()
        model = client.post("/model").json()
    assert model["hash"] == champion.hash
    assert answer["model"]["version"] == champion.version == "1"
    assert answer["probabilities"] == pytest.approx(local["probabilities"], abs=1e-6)


def test_an_outage_of_s3_while_a_model_is_registered_loses_nothing(project, s3):
    pointer, before = load(project.folder, "models/champion.json"), keys_of_models(s3)
    project.set(bundle={"abstain_below": 0.2})
    project.repro("evaluate")
    s3.relay.cut_after(3_000)
    try:
        printed = project.repro(ok=False)
        assert s3.relay.is_cut
    finally:
        s3.relay.cut()
        s3.relay.connect()
    [sentence] = [line for line in printed.splitlines() if line.startswith("genreflow: ")]
    assert "must be writable to store the model" in sentence
    assert "Traceback" not in printed
    assert set(versions(project)) == {"1"}
    assert load(project.folder, "models/champion.json") == pointer
    assert Bundle.load(project.folder / "models/champion").hash == pointer["bundle_hash"]

    project.repro()
    assert set(versions(project)) == {"1", "2"}
    assert load(project.folder, "models/champion.json")["version"] == "2"
    assert load(project.folder, "models/champion/bundle.json")["abstain_below"] == 0.2
    assert load(project.folder, "reports/gate.json")["rule"] == "compared", "the champion was fetched from S3"
    assert len(keys_of_models(s3) - before) == 1, "the files of the first attempt are deleted"


def test_a_rollback_packages_the_previous_champion_from_s3(project):
    project.run("genreflow", "registry", "rollback")
    printed = project.repro()
    assert "Running stage 'package'" in printed
    assert load(project.folder, "models/champion/bundle.json")["version"] == "1"
    assert versions(project)["1"]["aliases"] == ["champion"]


def test_an_outage_of_s3_while_reports_are_added_names_the_command_that_adds_them(project, s3, server):
    s3.relay.cut()
    try:
        printed = project.repro("--single-item", "--force", "study-report")
    finally:
        s3.relay.connect()
    assert "Traceback" not in printed
    assert "`dvc repro --single-item --force study-report` adds them later" in printed
    assert "later" not in project.repro("--single-item", "--force", "study-report")
