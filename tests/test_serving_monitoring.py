"""The log of predictions of a real service, and what `genreflow drift` found in its metrics."""

import json
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
import soundfile as sf
from prometheus_client.parser import text_string_to_metric_families

from genreflow.bundle import Bundle
from genreflow.costs.service_process import served
from genreflow.inference.predictor import Predictor
from genreflow.monitoring.last_check import CHECK_FILE
from genreflow.monitoring.log_files import delete
from genreflow.monitoring.logged_prediction import from_line
from service_client import client_of
from serving_toy import unfamiliar_tone, write_tone
from waiting import wait_for


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("service") / "predictions"


@pytest.fixture(scope="module")
def service(bento_home, log):
    environment = {"BENTOML_HOME": bento_home, "GENREFLOW_PREDICTION_LOG": str(log)}
    with served("genre-classifier:latest", environment=environment, watch=False) as service:
        yield service


@pytest.fixture(scope="module")
def client(service):
    with client_of(service) as client:
        yield client


def lines(log) -> list[bytes]:
    return [line for path in log.glob("predictions.*.jsonl") for line in path.read_bytes().splitlines()]


def metric(client, name: str) -> float:
    families = text_string_to_metric_families(client.get("/metrics").text)
    [value] = [sample.value for family in families for sample in family.samples if sample.name == name]
    return value


def post(client, path, **headers):
    return client.post("/classify", files={"audio": (path.name, path.read_bytes())}, headers=headers)


def test_each_classified_file_is_logged_once_and_never_its_name_or_sound(client, log, toy_project, tmp_path):
    song = write_tone(tmp_path / "confidential-name.wav", "bass", 5.0)
    sf.write(tmp_path / "strange.wav", unfamiliar_tone(4.0), 8000)
    (tmp_path / "words.mp3").write_text("words")
    begin = time.monotonic()
    answers = [post(client, song, **{"X-Request-ID": "chosen"}).json()]
    elapsed = time.monotonic() - begin
    answers.append(post(client, tmp_path / "strange.wav").json())
    files = [("audios", (name, (tmp_path / name).read_bytes())) for name in (song.name, "words.mp3", song.name)]
    results = client.post("/classify_batch", files=files).json()["results"]
    answers += [result for result in results if "error" not in result]
    assert post(client, tmp_path / "words.mp3").status_code == 415
    wait_for(lambda: len(lines(log)) >= 4)

    logged = {found.prediction_id: found for found in map(from_line, lines(log))}
    assert [logged[answer["prediction_id"]].genre for answer in answers] == ["bass", None, "bass", "bass"]
    assert len(logged) == 4
    first, strange = (logged[answer["prediction_id"]] for answer in answers[:2])
    assert (first.request_id, strange.reason) == ("chosen", "unfamiliar")
    bundle = Bundle.load(toy_project / "models" / "champion")
    assert (first.version, first.bundle) == (bundle.version, bundle.hash)
    analysis = Predictor(bundle.directory).analyse(song)
    assert first.to_features() == pytest.approx(
        {**analysis.inputs.to_features(), "confidence": answers[0]["confidence"], "unfamiliarity": 0}, abs=0.006
    )
    np.testing.assert_array_equal(first.embedding, analysis.embedding)
    assert (first.duration, dict(first.probabilities)) == (5.0, pytest.approx(answers[0]["probabilities"], abs=1e-4))
    assert 0 < first.seconds < elapsed
    written = b"".join(path.read_bytes() for path in log.iterdir())
    assert b"confidential" not in written
    assert b"127.0.0.1" not in written


def test_a_prediction_can_be_deleted_while_the_service_goes_on(client, log, tmp_path):
    song = write_tone(tmp_path / "a.wav", "drone", 2.0)
    first = post(client, song).json()["prediction_id"]
    wait_for(lambda: first.encode() in b"".join(lines(log)))
    assert delete(log, first) == 1
    with ThreadPoolExecutor(8) as pool:
        others = [answer.json()["prediction_id"] for answer in pool.map(lambda _: post(client, song), range(40))]
    wait_for(lambda: all(other.encode() in b"".join(lines(log)) for other in others))
    assert first.encode() not in b"".join(lines(log))
    assert all(from_line(line) for line in lines(log))


def test_the_last_check_is_in_the_metrics_of_all_workers(service, client, log, toy_project):
    names = "genreflow_drift_detected", "genreflow_drift_checked_timestamp_seconds"
    verdict = {
        "format": 1,
        "drift": True,
        "checked": "2026-11-26T08:00:00Z",
        "model": {"hash": Bundle.load(toy_project / "models" / "champion").hash},
    }
    log.mkdir(exist_ok=True)
    for drift, expected in ((True, 1), (False, 0), (True, 1)):
        (log / CHECK_FILE).write_text(json.dumps(verdict | {"drift": drift}))
        for _ in range(6):
            with client_of(service) as own:  # a connection of its own reaches either worker
                assert [metric(own, name) for name in names] == [expected, 1795680000.0]
    other = json.dumps(verdict | {"model": {"hash": "that of the former champion"}})
    for content in (other, other[:20], ""):
        (log / CHECK_FILE).write_text(content)
        assert [metric(client, name) for name in names] == [0, 0]


def test_a_log_that_cannot_be_written_breaks_no_answer_and_is_reported_once(bento_home, tmp_path):
    (tmp_path / "file").touch()
    song = write_tone(tmp_path / "a.wav", "bass", 2.0)
    environment = {"BENTOML_HOME": bento_home, "GENREFLOW_PREDICTION_LOG": str(tmp_path / "file" / "log")}
    environment["GENREFLOW_PROCESSES"] = "1"
    with (
        served("genre-classifier:latest", environment=environment, watch=False) as service,
        client_of(service) as client,
    ):
        assert {post(client, song).status_code for _ in range(5)} == {200}
        wait_for(lambda: metric(client, "genreflow_lost_log_records_total") == 5)
        wait_for(lambda: "predictions cannot be logged" in service.log.read_text())  # after they are counted
        output = service.log.read_text()
        assert output.count("predictions cannot be logged") == 1
        assert "Traceback" not in output
        (tmp_path / "file").unlink()  # whoever runs the service corrects it
        assert post(client, song).status_code == 200
        wait_for(lambda: (tmp_path / "file" / "log").is_dir() and len(lines(tmp_path / "file" / "log")) == 1)


@pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit")
def test_a_full_disk_breaks_no_answer_and_cuts_no_line(bento_home, tmp_path):
    song = write_tone(tmp_path / "a.wav", "bass", 2.0)
    environment = {"BENTOML_HOME": bento_home, "GENREFLOW_PREDICTION_LOG": "log", "GENREFLOW_PROCESSES": "1"}
    with (
        served("genre-classifier:latest", cwd=tmp_path, environment=environment, watch=False) as service,
        client_of(service) as client,
    ):
        log = tmp_path / "log"  # relative to where the service was started
        post(client, song)
        wait_for(lambda: len(lines(log)) == 1)
        [worker] = psutil.Process(service.process.pid).children()
        limits = worker.rlimit(psutil.RLIMIT_FSIZE)
        worker.rlimit(psutil.RLIMIT_FSIZE, (len(lines(log)[0]) + 100, limits[1]))
        assert {post(client, song).status_code for _ in range(3)} == {200}
        wait_for(lambda: metric(client, "genreflow_lost_log_records_total") == 3)
        worker.rlimit(psutil.RLIMIT_FSIZE, limits)
        last = post(client, song).json()["prediction_id"]
    # What waits to be written when a service is stopped is not lost.
    assert len(lines(log)) == 2
    assert from_line(lines(log)[1]).prediction_id == last


def test_without_the_setting_nothing_is_written(bento_home, tmp_path):
    song = write_tone(tmp_path / "a.wav", "bass", 2.0)
    folder = tmp_path / "empty"
    folder.mkdir()
    with (
        served("genre-classifier:latest", cwd=folder, environment={"BENTOML_HOME": bento_home}, watch=False) as service,
        client_of(service) as client,
    ):
        assert re.fullmatch("[0-9a-f]{32}", post(client, song).json()["prediction_id"])
    assert not list(folder.iterdir())
