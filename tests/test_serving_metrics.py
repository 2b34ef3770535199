"""What a real service counts."""

import httpx
import numpy as np
import pytest
import soundfile as sf
from prometheus_client.parser import text_string_to_metric_families

from genreflow.costs.service_process import served
from serving_toy import tone, write_tone, write_toy_bundle


@pytest.fixture(scope="module")
def environment(bento_home, tmp_path_factory):
    """A model that is often unsure."""
    bundle = write_toy_bundle(tmp_path_factory.mktemp("toy") / "bundle", abstain_below=0.9).directory
    return {"BENTOML_HOME": bento_home, "GENREFLOW_BUNDLE": str(bundle), "GENREFLOW_MAX_MINUTES": "1"}


@pytest.fixture(scope="module")
def client(environment):
    with (
        served("genre-classifier:latest", environment=environment, watch=False) as service,
        httpx.Client(base_url=service.url, timeout=60) as client,
    ):
        yield client


def counted(client) -> dict:
    """Every sample of ours, by name and label."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    samples = [sample for family in families for sample in family.samples if sample.name.startswith("genreflow_")]
    return {(each.name, *each.labels.values()): each.value for each in samples}


def test_answers_and_failures_are_counted(client, tmp_path):
    before = counted(client)
    sounds = {name: write_tone(tmp_path / f"{name}.wav", name, 4.0) for name in ("bass", "drone")}
    # Two genres at once, for the model to be unsure.
    sf.write(tmp_path / "both.wav", 0.5 * (tone("bass", 4.0) + tone("whistle", 4.0)), 8000)
    sf.write(tmp_path / "silent.wav", np.zeros(8000), 8000)
    sf.write(tmp_path / "long.flac", np.zeros(8000 * 90, np.int16), 8000)
    (tmp_path / "words.mp3").write_text("words")
    answers = [
        client.post("/classify", files={"audio": path.open("rb")}).json()
        for path in (sounds["bass"], sounds["bass"], sounds["drone"], tmp_path / "both.wav")
    ]
    assert [answer["genre"] for answer in answers] == ["bass", "bass", "drone", None]
    for name in ("silent.wav", "long.flac", "words.mp3", "words.mp3"):
        client.post("/classify", files={"audio": (tmp_path / name).open("rb")})
    files = [("audios", path.open("rb")) for path in (sounds["drone"], tmp_path / "words.mp3")]
    [drone, _] = client.post("/classify_batch", files=files).json()["results"]
    client.post("/classify", json={})
    client.get("/nowhere")

    after = counted(client)
    grown = {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}
    confidences = [answer["confidence"] for answer in [*answers, drone]]
    expected = {
        ("genreflow_predictions_total", "bass"): 2,
        ("genreflow_predictions_total", "drone"): 2,
        ("genreflow_abstentions_total",): 1,
        ("genreflow_failures_total", "undecodable"): 3,
        ("genreflow_failures_total", "unusable"): 1,
        ("genreflow_failures_total", "too_long"): 1,
        ("genreflow_refused_requests_total", "undecodable"): 2,
        ("genreflow_refused_requests_total", "unusable"): 1,
        ("genreflow_refused_requests_total", "too_long"): 1,
        ("genreflow_refused_requests_total", "malformed_request"): 1,
        ("genreflow_refused_requests_total", "not_found"): 1,
        ("genreflow_confidence_count",): 5,
        ("genreflow_confidence_sum",): pytest.approx(sum(confidences)),
        ("genreflow_audio_seconds_count",): 5,
        ("genreflow_audio_seconds_sum",): pytest.approx(20.0, abs=0.1),
    }
    assert {name: value for name, value in grown.items() if "bucket" not in name[0]} == expected
    for edge in (0.5, 0.9, 1.0):
        bucket = after["genreflow_confidence_bucket", str(edge)] - before.get(
            ("genreflow_confidence_bucket", str(edge)), 0
        )
        assert bucket == sum(confidence <= edge for confidence in confidences)


def test_another_service_of_the_same_store_counts_for_itself(client, environment, tmp_path):
    sound = write_tone(tmp_path / "bass.wav", "bass", 2.0).read_bytes()
    client.post("/classify", files={"audio": ("bass.wav", sound)})
    before = counted(client)
    assert before["genreflow_predictions_total", "bass"] > 0
    with (
        served("genre-classifier:latest", environment=environment, watch=False) as service,
        httpx.Client(base_url=service.url, timeout=60) as other,
    ):
        other.post("/classify", files={"audio": ("bass.wav", sound)})
        assert counted(other)["genreflow_predictions_total", "bass"] == 1
        assert counted(client) == before
    assert counted(client) == before
