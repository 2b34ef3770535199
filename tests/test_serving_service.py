"""The service as it is shipped: a bento, built from the project and served by `bentoml serve` in another directory."""

import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from packaging.requirements import Requirement

from conftest import ROOT
from genreflow.costs.service_process import served
from genreflow.inference.batch import classify_files
from genreflow.inference.predictor import Predictor
from service_client import client_of
from serving_toy import LABELS, write_tone

# Low limits, which the tests exceed.
LIMITS = {
    "GENREFLOW_MAX_MEGABYTES": "2",
    "GENREFLOW_MAX_MINUTES": "0.5",
    "GENREFLOW_MAX_FILES": "5",
}
# Python logs every import of every process to standard error.
LOG_IMPORTS = {"PYTHONPROFILEIMPORTTIME": "1"}


@pytest.fixture(scope="module")
def user_home(tmp_path_factory):
    """The home directory of the user who runs the service."""
    return tmp_path_factory.mktemp("user")


@pytest.fixture(scope="module")
def service(bento_home, user_home):
    user = {"HOME": str(user_home), "XDG_CACHE_HOME": str(user_home)}
    environment = {"BENTOML_HOME": bento_home, **user, **LIMITS, **LOG_IMPORTS}
    with served("genre-classifier:latest", environment=environment, watch=False) as service:
        yield service


@pytest.fixture(scope="module")
def client(service):
    with client_of(service) as client:
        yield client


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("songs")
    write_tone(folder / "bass.wav", "bass", 5.0, rate=16000)
    write_tone(folder / "drone.mp3", "drone", 6.0, rate=44100, channels=2)
    write_tone(folder / "whistle.flac", "whistle", 1.0, rate=22050)
    (folder / "words.mp3").write_text("these are words")
    sf.write(folder / "silence.wav", np.zeros(16000), 8000)
    return folder


def post(client, path, field):
    return client.post("/classify", files={field: (path.name, path.read_bytes())})


def error_of(response):
    """Return status and code of an error response, and check its format."""
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message"}
    assert body["error"]["message"].endswith(".")
    return response.status_code, body["error"]["code"]


def test_the_response_is_the_predictors_result(client, toy_project, songs):
    predictor = Predictor(toy_project / "models" / "champion")
    for name, genre in (("bass.wav", "bass"), ("drone.mp3", "drone"), ("whistle.flac", "whistle")):
        response = post(client, songs / name, "audio")
        assert response.status_code == 200
        body = response.json()
        assert re.fullmatch("[0-9a-f]{32}", body.pop("prediction_id"))
        assert body == predictor.classify(songs / name).to_dict(predictor.model)
        assert body["genre"] == genre
        assert response.json()["model"] == {"name": "genre-classifier", "version": "3"}


def test_a_batch_keeps_the_order_and_reports_failures_in_place(client, toy_project, songs, tmp_path):
    names = ["words.mp3", "whistle.flac", "silence.wav", "bass.wav", "drone.mp3"]
    files = [("audios", (name, (songs / name).read_bytes())) for name in names]
    response = client.post("/classify_batch", files=files)
    assert response.status_code == 200
    results = response.json()["results"]
    assert [result["file"] for result in results] == names
    assert [result.get("genre") for result in results] == [None, "whistle", None, "bass", "drone"]
    identified = [result.pop("prediction_id") for result in results if "error" not in result]
    assert len(set(identified)) == 3
    assert [result.get("error", {}).get("code") for result in results] == [
        "undecodable", None, "unusable", None, None
    ]  # fmt: skip
    # `genreflow classify` writes the same rows.
    output = tmp_path / "out.jsonl"
    classify_files([songs / name for name in names], toy_project / "models" / "champion", output=output, progress=False)
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    for row, result in zip(rows, results, strict=True):
        assert Path(row.pop("file")).name == result.pop("file")
        assert row.get("error", {}).get("code") == result.get("error", {}).get("code")
        if "error" not in row:
            assert row == result


def test_each_prediction_has_an_id_that_no_client_can_choose(client, songs):
    chosen = {"X-Request-ID": "0" * 32}
    sent = [post(client, songs / "bass.wav", "audio"), client.post("/classify_batch", headers=chosen, files=[
        ("audios", ("bass.wav", (songs / "bass.wav").read_bytes())) for _ in range(3)
    ])]  # fmt: skip
    assert sent[1].headers["x-request-id"] == "0" * 32
    identified = [sent[0].json()["prediction_id"], *(each["prediction_id"] for each in sent[1].json()["results"])]
    assert len(set(identified)) == 4
    assert "0" * 32 not in identified


def test_the_model_is_described_without_the_hashes_of_its_tracks(client, toy_project):
    info = client.post("/model").json()
    bundle = Predictor(toy_project / "models" / "champion").bundle
    assert (info["name"], info["version"], info["metrics"]) == ("genre-classifier", "3", {"accuracy": 0.75})
    assert info["labels"] == list(LABELS)
    assert info["familiarity"] == {"refuse_above": 0.6, "tracks": 20, "share": 0.05}
    assert info["hash"] == bundle.hash
    assert {"train_tracks", "valid_tracks"} < set(bundle.lineage)
    assert info["lineage"] == {"manifest": "none"}
    assert "notice" not in info


def test_the_body_of_a_model_request_is_ignored(client):
    info = client.post("/model").json()
    assert client.post("/model", content=b"\xff{", headers={"content-type": "application/json"}).json() == info
    multipart = {"content-type": "multipart/form-data; boundary=x"}
    assert client.post("/model", content=b"junk", headers=multipart).json() == info


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
def test_the_probes_of_bentoml_are_served(client, path):
    assert client.get(path).status_code == 200


def test_the_metrics_of_bentoml_count_requests(client, songs):
    post(client, songs / "bass.wav", "audio")
    text = client.get("/metrics").text
    assert re.search(r'request_total\{.*endpoint="/classify".*http_response_code="200"', text)


def test_the_openapi_has_the_routes_and_their_fields(client):
    docs = client.get("/docs.json").json()
    for path, field in (("/classify", "audio"), ("/classify_batch", "audios")):
        content = docs["paths"][path]["post"]["requestBody"]["content"]
        assert list(content) == ["multipart/form-data"]
        assert list(content["multipart/form-data"]["schema"]["properties"]) == [field]
    reference = docs["paths"]["/classify"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
    schema = docs["components"]["schemas"][reference.rpartition("/")[2]]
    assert {"type": "null"} in schema["properties"]["genre"]["anyOf"]
    assert {"genre", "reason", "confidence", "unfamiliarity", "probabilities", "segments", "duration", "model"} <= set(
        schema["properties"]
    )
    assert "/model" in docs["paths"]


def test_undecodable_is_415_and_unusable_is_422(client, songs, tmp_path):
    assert error_of(post(client, songs / "words.mp3", "audio")) == (415, "undecodable")
    assert error_of(post(client, songs / "silence.wav", "audio")) == (422, "unusable")
    damaged = {
        "empty.wav": (b"", 415),
        "header.wav": ((songs / "bass.wav").read_bytes()[:20], 415),
        "garbage.flac": (b"fLaC" + bytes(range(256)) * 20, 415),
    }
    for name, (data, status) in damaged.items():
        response = client.post("/classify", files={"audio": (name, data)})
        assert error_of(response)[0] == status, name
    for name, samples in (("nan", np.full(8000, np.nan)), ("inf", np.full(8000, np.inf)), ("none", np.zeros(0))):
        sf.write(tmp_path / f"{name}.wav", samples, 8000, subtype="FLOAT")
        assert error_of(post(client, tmp_path / f"{name}.wav", "audio")) == (422, "unusable"), name


def test_a_truncated_file_is_classified_up_to_its_end(client, songs):
    data = (songs / "bass.wav").read_bytes()
    response = client.post("/classify", files={"audio": ("cut.wav", data[: len(data) // 2])})
    assert response.json()["genre"] == "bass"
    assert response.json()["duration"] == pytest.approx(2.5, abs=0.1)


def test_audio_that_is_too_long_is_413_even_if_the_file_is_small(client, tmp_path):
    path = tmp_path / "silence.flac"
    sf.write(path, np.zeros(8000 * 3600, np.int16), 8000)
    assert path.stat().st_size < 1_000_000
    assert error_of(post(client, path, "audio")) == (413, "too_long")


def test_a_body_that_is_too_large_is_413(client):
    big = {"audio": ("big.wav", bytes(3_000_000))}
    assert error_of(client.post("/classify", files=big)) == (413, "too_large")

    def chunks():  # without Content-Length
        yield b'--x\r\nContent-Disposition: form-data; name="audio"; filename="a.wav"\r\n\r\n'
        for _ in range(300):
            yield bytes(10_000)
        yield b"\r\n--x--\r\n"

    multipart = {"content-type": "multipart/form-data; boundary=x"}
    assert error_of(client.post("/classify", content=chunks(), headers=multipart)) == (413, "too_large")


@pytest.mark.parametrize(
    "request_parts",
    [
        {"files": {"file": ("a.wav", b"RIFF")}},
        {"files": [("audio", ("a.wav", b"RIFF")), ("audio", ("b.wav", b"RIFF"))]},
        {"files": [("audio", ("a.wav", b"RIFF")), ("extra", ("b.wav", b"RIFF"))]},
        {"files": {"audio": ("a.wav", b"RIFF")}, "data": {"top": "3"}},
        {"files": {"audio": (None, "plain words")}},
        {"data": {"audio": "plain words"}},
        {"json": {"audio": "plain words"}},
        {"json": "plain words"},
        {"content": b"RIFF", "headers": {"content-type": "audio/wav"}},
        {"content": b"RIFF"},
        {"content": b""},
        {"content": b"junk", "headers": {"content-type": "multipart/form-data"}},
        {"content": b"junk", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        {"content": b"junk", "headers": {"content-type": b"multipart/form-data; boundary=\xff\xfe"}},
        {"content": b"", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        {"content": b"--x--\r\n", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        {"content": b"--x\r\n\r\nno name\r\n--x--\r\n", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        {
            "content": b'--x\r\nContent-Disposition: form-data; name="audio"; filename="a"\r\n\r\nno end',
            "headers": {"content-type": "multipart/form-data; boundary=x"},
        },
    ],
)
def test_a_malformed_request_is_400(client, request_parts):
    assert error_of(client.post("/classify", **request_parts)) == (400, "malformed_request")


def test_a_batch_has_a_limit(client, songs):
    one = ("audios", ("a.flac", (songs / "whistle.flac").read_bytes()))
    assert len(client.post("/classify_batch", files=[one] * 5).json()["results"]) == 5
    assert error_of(client.post("/classify_batch", files=[one] * 6)) == (413, "too_many_files")
    assert error_of(client.post("/classify_batch", files={"audio": one[1]})) == (400, "malformed_request")


def test_concurrent_requests_get_their_own_responses(client, songs):
    data = {name: (songs / name).read_bytes() for name in ("bass.wav", "drone.mp3", "whistle.flac")}
    results = {}

    def classify(index):
        name = list(data)[index % 3]
        body = client.post("/classify", files={"audio": (name, data[name])}).json()
        results[index] = (body["genre"], name.split(".")[0])

    threads = [threading.Thread(target=classify, args=(index,)) for index in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 12
    assert all(got == sent for got, sent in results.values())


def files_below(directory):
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def test_the_bento_holds_the_source_and_the_bundle(bento, toy_project):
    held = {name for name in files_below(bento) if "__pycache__" not in name}  # the service writes them
    bundle = {f"src/models/champion/{name}" for name in ("model.onnx", "bundle.json", "filters.npz", "prototypes.npy")}
    package = toy_project / "src" / "genreflow"
    source = {f"src/genreflow/{name}" for name in files_below(package) if "__pycache__" not in name}
    assert {"src/genreflow/serving/ui/static/index.html", "src/genreflow/serving/service.py"} <= source
    assert "src/genreflow/serving/ui/static/vendor/wavesurfer/LICENSE" in source
    by_bentoml = {"bento.yaml", "README.md", "src/bentofile.yaml", "apis/openapi.yaml", "apis/schema.json"}
    by_bentoml |= {"env/docker/Dockerfile", "env/docker/entrypoint.sh"}
    by_bentoml |= {"env/python/requirements.in", "env/python/requirements.txt"}
    assert held == bundle | source | by_bentoml
    assert not list(bento.rglob("a.pyc"))


def locked_in(text):
    """Return version and hashes by name and marker, from a requirements file."""
    found = {}
    for line in re.sub(r"\\\n", " ", text).splitlines():
        requirement, *hashes = re.split(r"\s--hash=", line.partition("#")[0].strip())
        if requirement and not requirement.startswith("-"):
            parsed = Requirement(requirement)
            key = (parsed.name, str(parsed.marker or ""))
            found.setdefault(key, (str(parsed.specifier), frozenset(map(str.strip, hashes))))
    return found


def test_the_requirements_of_the_bento_are_the_lock(bento):
    requirements = (bento / "env/python/requirements.txt").read_text()
    # BentoML adds a line with its own version, without a hash.
    added = [line for line in requirements.splitlines() if re.fullmatch(r"bentoml==[0-9.]+", line)]
    assert len(added) == 1
    lock = locked_in((ROOT / "requirements-service.lock").read_text())
    assert locked_in(requirements) == lock
    assert all(specifier.startswith("==") and hashes for specifier, hashes in lock.values())
    versions = {name: specifier.removeprefix("==") for (name, _), (specifier, _) in lock.items()}
    assert added == [f"bentoml=={versions['bentoml']}"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in map(Requirement, project["dependencies"]):
        assert versions[requirement.name] in requirement.specifier
    # Nothing that only training needs is in the lock.
    training = {Requirement(each).name for each in project["optional-dependencies"]["train"]}
    heavy = {"tensorflow", "keras", "mlflow", "optuna", "librosa", "dvc", "numba", "scikit-learn", "onnx"}
    assert heavy <= training | {"pandas"}
    assert not (heavy | {"pandas", "tensorflow-cpu"}) & set(versions)


def test_the_containerfile_installs_the_lock_and_serves_as_a_user(bento):
    lines = (bento / "env/docker/Dockerfile").read_text()
    assert "\nFROM python:3.11-slim " in lines
    assert "uv venv --python 3.11 /app/.venv" in lines
    assert "pip install -r $BENTO_PATH/env/python/requirements.txt" in lines
    assert re.findall(r"^EXPOSE (\d+)", lines, re.MULTILINE)[0] == "3000"
    assert re.findall(r"^USER (\w+)", lines, re.MULTILINE) == ["bentoml"]
    assert "ARG BENTO_USER_UID=1034\n" in lines
    for setting in ("OPENBLAS_NUM_THREADS=1", "MALLOC_TRIM_THRESHOLD_=32000000", "BENTOML_DO_NOT_TRACK=True"):
        name = setting.partition("=")[0]
        assert f"ARG {setting}\nENV {name}=${name}\n" in lines
    assert "TOKEN" not in lines


def test_the_bento_runs_its_own_source(bento, bento_home, tmp_path):
    code = (
        "import sys, bentoml; bentoml.load('genre-classifier:latest');"
        "print(sys.modules['genreflow.serving.service'].__file__)"
    )
    environment = os.environ | {"BENTOML_HOME": bento_home}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert Path(run.stdout.strip()).is_relative_to(bento)


def test_serve_without_arguments_in_the_project_folder(toy_project, songs):
    with (
        served(".", cwd=toy_project, watch=False) as service,
        client_of(service) as client,
    ):
        assert post(client, songs / "bass.wav", "audio").json()["genre"] == "bass"


# The tests from here on cover all that the service of this module did.
def test_nothing_was_answered_with_5xx(client):
    counts = re.findall(r'_request_total\{.*http_response_code="(\d+)".*\} (\S+)', client.get("/metrics").text)
    codes = {code for code, count in counts if float(count) > 0}
    assert {"200", "413", "415", "422"} <= codes
    assert not [code for code in codes if code.startswith("5")]


def test_nothing_heavy_was_imported(client, service):
    imported = set(re.findall(r"^import time:.*\| +([\w.]+)$", service.log.read_text(errors="replace"), re.MULTILINE))
    assert {"bentoml", "onnxruntime", "soundfile", "genreflow.inference.predictor"} <= imported
    roots = {name.partition(".")[0] for name in imported}
    heavy = "tensorflow keras mlflow optuna dvc librosa numba pandas sklearn matplotlib onnx torch"
    assert not roots & set(heavy.split())


def test_nothing_was_written_into_the_home_folder_of_its_user(client, user_home):
    # ONNX Runtime would store its telemetry there.
    assert list(user_home.iterdir()) == []
