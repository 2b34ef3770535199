"""Registry, runs and reports on a real MLflow server with PostgreSQL, and artifacts on a real S3 server."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import mlflow.pyfunc
import pytest

from genreflow.bundle import Bundle
from genreflow.errors import GenreflowError
from genreflow.registry.model_registry import NAME, Registry
from genreflow.tracking.runs import start_run
from genreflow.tracking.store import ensure_experiment, open_client
from genreflow.tracking.summary import log_reports
from genreflow.tracking.writer import MlflowWriter, RunHandle
from mlflow_server import Server
from postgresql_server import create_database, postgresql
from s3_server import s3_server
from serving_toy import write_tone, write_toy_bundle
from waiting import wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("s3")) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server


@pytest.fixture(scope="module", params=["through the server", "directly"])
def server(request, s3, tmp_path_factory):
    direct = request.param == "directly"
    with postgresql() as database:
        store = create_database(database, "mlflow").replace("postgresql:", "postgresql+psycopg:")
        artifacts = f"s3://{s3.bucket}/{'direct' if direct else 'served'}"
        folder = tmp_path_factory.mktemp("server")
        with (
            Server(folder, store, artifacts=artifacts, direct=direct, environment=s3.environment) as server,
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setenv("MLFLOW_TRACKING_URI", server.uri)
            yield server


@pytest.fixture
def connected(s3):
    """The S3 server, connected again after the test."""
    yield s3
    s3.relay.cut()
    s3.relay.connect()


def folder_of(server: Server) -> str:
    return server.artifacts.rpartition("/")[2]


def test_a_version_is_registered_fetched_promoted_and_rolled_back(server, s3, tmp_path):
    registry = Registry.open(tmp_path)
    bundles = [write_toy_bundle(tmp_path / f"bundle-{k}", temperature=1 + k / 10 + server.direct) for k in range(2)]
    first, second = (registry.register(bundle.directory, metrics={"test_track_accuracy": 0.5}) for bundle in bundles)
    assert int(second) == int(first) + 1
    assert any(key.endswith("model.onnx") for key in s3.keys(folder_of(server)))
    assert not (tmp_path / "mlflow.db").exists()
    assert not (tmp_path / "mlruns").exists()

    pointer = tmp_path / "champion.json"
    registry.promote(first, pointer)
    registry.promote(second, pointer)
    assert registry.rollback(pointer).champion.bundle_hash == bundles[0].hash
    fetched = registry.fetch(first, tmp_path / "fetched")
    assert (fetched.hash, fetched.version) == (bundles[0].hash, first)
    assert Bundle.load(tmp_path / "fetched").metrics == {"test_track_accuracy": 0.5}

    model = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    [row] = model.predict([str(write_tone(tmp_path / "bass.wav", "bass"))]).to_dict("records")
    assert row["genre"] == "bass"


def test_an_upload_that_an_outage_ends_is_one_sentence_and_the_next_one_registers(server, connected, tmp_path):
    s3, registry = connected, Registry.open(tmp_path)
    bundle = write_toy_bundle(tmp_path / "bundle", temperature=3.5 + server.direct)
    known = {version.version for version in registry.versions()}
    before = s3.keys(folder_of(server))
    s3.relay.cut_after(3_000)
    with pytest.raises(GenreflowError, match="nothing is registered yet") as raised:
        registry.register(bundle.directory, metrics={})
    assert s3.relay.is_cut
    assert "\n" not in str(raised.value)
    assert {version.version for version in registry.versions()} == known
    s3.relay.connect()
    version = registry.register(bundle.directory, metrics={})
    assert {entry.version for entry in registry.versions()} - known == {version}
    assert registry.fetch(version, tmp_path / "fetched").hash == bundle.hash
    assert s3.keys(folder_of(server)) >= before


def test_a_model_of_a_killed_registration_is_deleted_with_its_files(server, s3, tmp_path, monkeypatch):
    registry = Registry.open(tmp_path)
    experiment = ensure_experiment(registry.client, tmp_path)
    # As a process that was killed leaves it: with files, unregistered.
    tags = {"genreflow.process": f"{__import__('socket').gethostname()} 4194000 1.0"}
    orphan = registry.client.create_logged_model(experiment.experiment_id, name=NAME, tags=tags)
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "MLmodel").write_text("cut off")
    registry.client.log_model_artifacts(orphan.model_id, str(tmp_path / "part"))
    assert any(orphan.model_id in key for key in s3.keys(folder_of(server)))
    bundle = write_toy_bundle(tmp_path / "bundle", temperature=5.5 + server.direct)
    registry.register(bundle.directory, metrics={})
    assert not any(orphan.model_id in key for key in s3.keys(folder_of(server)))
    found = registry.client.search_logged_models([experiment.experiment_id])
    assert orphan.model_id not in {model.model_id for model in found}


def test_a_download_without_s3_is_one_sentence(server, connected, tmp_path):
    registry = Registry.open(tmp_path)
    bundle = write_toy_bundle(tmp_path / "bundle", temperature=7.5 + server.direct)
    version = registry.register(bundle.directory, metrics={})
    connected.relay.cut()
    with pytest.raises(GenreflowError, match="must be readable") as raised:
        registry.fetch(version, tmp_path / "fetched")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "fetched").exists()


def test_artifacts_of_a_run_wait_for_s3(server, connected, tmp_path, caplog):
    client = open_client(tmp_path)
    report = tmp_path / "report.html"
    report.write_text("report " * 1000)
    with start_run(client, ensure_experiment(client, tmp_path).experiment_id, "run") as run:
        run_id = run.run_id
    connected.relay.cut()
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(log_reports, client, run_id, [report], timeout=300)
        wait_for(lambda: any("writes are waiting" in record.getMessage() for record in caplog.records))
        connected.relay.connect()
        assert written.result(timeout=300)
    assert [entry.path for entry in client.list_artifacts(run_id)] == ["report.html"]
    assert sum("fails" in record.getMessage() for record in caplog.records) == 1


def test_an_artifact_that_s3_refuses_is_reported_at_once(server, s3, tmp_path, caplog):
    client = open_client(tmp_path)
    (tmp_path / "report.html").write_text("report")
    experiment = client.create_experiment(f"elsewhere {server.direct}", artifact_location="s3://no-such-bucket/x")
    run = client.create_run(experiment).info.run_id
    writer = MlflowWriter(client)
    with closing(writer):
        writer.log_artifacts(RunHandle("run", run), tmp_path / "report.html", None)
    assert writer.close() == 1
    assert "refused a write" in caplog.text
