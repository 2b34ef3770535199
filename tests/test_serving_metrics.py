"""The Prometheus metrics of a real service with two workers."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
import soundfile as sf
from prometheus_client.parser import text_string_to_metric_families

from genreflow.costs.service_process import served
from service_client import client_of, wait_for_workers
from serving_toy import tone, unfamiliar_tone, write_tone, write_toy_bundle


@pytest.fixture(scope="module")
def environment(bento_home, tmp_path_factory):
    """The environment of a service whose model often abstains."""
    bundle = write_toy_bundle(tmp_path_factory.mktemp("toy") / "bundle", abstain_below=0.9, refuse_above=0.6).directory
    return {"BENTOML_HOME": bento_home, "GENREFLOW_BUNDLE": str(bundle), "GENREFLOW_MAX_MINUTES": "1"}


@pytest.fixture(scope="module")
def service(environment):
    with served("genre-classifier:latest", environment=environment, watch=False) as service:
        wait_for_workers(service)
        yield service


@pytest.fixture(scope="module")
def client(service):
    with client_of(service) as client:
        yield client


def samples(client) -> dict:
    """Return the samples of the metrics of genreflow, by name and label."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    found = [sample for family in families for sample in family.samples if sample.name.startswith("genreflow_")]
    return {(each.name, *each.labels.values()): each.value for each in found}


def test_predictions_failures_and_errors_are_recorded(client, tmp_path):
    before = samples(client)
    sounds = {name: write_tone(tmp_path / f"{name}.wav", name, 4.0) for name in ("bass", "drone")}
    sf.write(tmp_path / "strange.wav", unfamiliar_tone(4.0), 8000)
    # Two tones at once, on which the model is uncertain.
    sf.write(tmp_path / "both.wav", 0.5 * (tone("bass", 4.0) + tone("whistle", 4.0)), 8000)
    sf.write(tmp_path / "silent.wav", np.zeros(8000), 8000)
    sf.write(tmp_path / "long.flac", np.zeros(8000 * 90, np.int16), 8000)
    (tmp_path / "words.mp3").write_text("words")
    predictions = [
        client.post("/classify", files={"audio": path.open("rb")}).json()
        for path in (sounds["bass"], sounds["bass"], sounds["drone"], tmp_path / "both.wav", tmp_path / "strange.wav")
    ]
    assert [prediction["genre"] for prediction in predictions] == ["bass", "bass", "drone", None, None]
    assert [prediction["reason"] for prediction in predictions] == [None, None, None, "uncertain", "unfamiliar"]
    for name in ("silent.wav", "long.flac", "words.mp3", "words.mp3"):
        client.post("/classify", files={"audio": (tmp_path / name).open("rb")})
    files = [("audios", path.open("rb")) for path in (sounds["drone"], tmp_path / "words.mp3")]
    [drone, _] = client.post("/classify_batch", files=files).json()["results"]
    client.post("/classify", json={})
    client.get("/nowhere")

    after = samples(client)
    increases = {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}
    confidences = [prediction["confidence"] for prediction in [*predictions, drone]]
    expected = {
        ("genreflow_predictions_total", "bass"): 2,
        ("genreflow_predictions_total", "drone"): 2,
        ("genreflow_abstentions_total", "uncertain"): 1,
        ("genreflow_abstentions_total", "unfamiliar"): 1,
        ("genreflow_failures_total", "undecodable"): 3,
        ("genreflow_failures_total", "unusable"): 1,
        ("genreflow_failures_total", "too_long"): 1,
        ("genreflow_refused_requests_total", "undecodable"): 2,
        ("genreflow_refused_requests_total", "unusable"): 1,
        ("genreflow_refused_requests_total", "too_long"): 1,
        ("genreflow_refused_requests_total", "malformed_request"): 1,
        ("genreflow_refused_requests_total", "not_found"): 1,
        ("genreflow_confidence_count",): 6,
        ("genreflow_confidence_sum",): pytest.approx(sum(confidences)),
        ("genreflow_audio_seconds_count",): 6,
        ("genreflow_audio_seconds_sum",): pytest.approx(24.0, abs=0.1),
    }
    assert {name: value for name, value in increases.items() if "bucket" not in name[0]} == expected
    for edge in (0.5, 0.9, 1.0):
        bucket = after["genreflow_confidence_bucket", str(edge)] - before.get(
            ("genreflow_confidence_bucket", str(edge)), 0
        )
        assert bucket == sum(confidence <= edge for confidence in confidences)


def test_two_services_of_one_store_count_separately(client, environment, tmp_path):
    sound = write_tone(tmp_path / "bass.wav", "bass", 2.0).read_bytes()
    client.post("/classify", files={"audio": ("bass.wav", sound)})
    before = samples(client)
    assert before["genreflow_predictions_total", "bass"] > 0
    with (
        served("genre-classifier:latest", environment=environment, watch=False) as service,
        client_of(service) as other,
    ):
        other.post("/classify", files={"audio": ("bass.wav", sound)})
        assert samples(other)["genreflow_predictions_total", "bass"] == 1
        assert samples(client) == before
    assert samples(client) == before


def test_metrics_are_the_sum_of_all_workers_whichever_reports_them(client, service, tmp_path):
    sound = write_tone(tmp_path / "bass.wav", "bass", 2.0).read_bytes()
    before = samples(client).get(("genreflow_predictions_total", "bass"), 0)  # none if it is the first test

    def classify(_):
        with client_of(service) as own:  # a connection of its own reaches either worker
            own.post("/classify", files={"audio": ("bass.wav", sound)})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(classify, range(40)))
    for _ in range(10):
        with client_of(service) as own:
            assert samples(own)["genreflow_predictions_total", "bass"] == before + 40
    directory = service.log.parent / "bentoml" / "prometheus_multiproc_dir"
    workers = {worker.pid for worker in psutil.Process(service.process.pid).children()}
    assert len(workers) == 2
    assert {int(path.stem.partition("_")[2]) for path in directory.glob("counter_*.db")} == workers
