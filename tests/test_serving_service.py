"""The service as it is shipped: a bento, built from the project and served by `bentoml serve` in another folder."""

import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile as sf

from genreflow.bundle import stamp
from genreflow.serving.batch import classify_files
from genreflow.serving.predictor import Predictor
from serving_toy import LABELS, write_tone, write_toy_bundle

ROOT = Path(__file__).parents[1]
BENTOML = [sys.executable, "-m", "bentoml"]
# Small limits, so that the tests reach them.
LIMITS = {
    "GENREFLOW_MAX_MEGABYTES": "2",
    "GENREFLOW_MAX_MINUTES": "0.5",
    "GENREFLOW_MAX_FILES": "5",
    "GENREFLOW_STALL_SECONDS": "1",
}


def environment(home: Path) -> dict:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GENREFLOW_", "BENTOML_"))}
    # Every import of every process is told on standard error.
    return kept | LIMITS | {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", "PYTHONPROFILEIMPORTTIME": "1"}


@contextmanager
def serving(arguments, *, cwd, home, log):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [*BENTOML, "serve", *arguments, "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=cwd, env=environment(home), stdout=file, stderr=file)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            for _ in range(600):
                assert process.poll() is None, log.read_text(errors="replace")[-3000:]
                try:
                    if client.get("/readyz").status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                time.sleep(0.1)
            else:
                pytest.fail(f"the service did not become ready: {log.read_text(errors='replace')[-3000:]}")
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project folder as `dvc pull` leaves it, with things beside it that must stay out of the bento."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("bentofile.yaml", "requirements-service.lock"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "src" / "genreflow", folder / "src" / "genreflow")
    write_toy_bundle(folder / "plain")
    stamp(folder / "plain", folder / "models" / "champion", version="3", metrics={"accuracy": 0.75})
    for name in (".venv/bin/python", "data/raw/a.wav", "mlruns/0/meta.yaml", "models/champion/model.keras"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("not for the bento")
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("bentoml")


@pytest.fixture(scope="module")
def bento(project, home):
    subprocess.run([*BENTOML, "build"], cwd=project, env=environment(home), check=True, capture_output=True)
    [version] = [path for path in (home / "bentos" / "genre-classifier").iterdir() if path.is_dir()]
    return version


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("log") / "serve.log"


@pytest.fixture(scope="module")
def client(bento, home, log, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with serving(["genre-classifier:latest"], cwd=elsewhere, home=home, log=log) as client:
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
    """The code of an answer that is the caller's error, in the shape that every such answer has."""
    answer = response.json()
    assert set(answer) == {"error"}
    assert set(answer["error"]) == {"code", "message"}
    assert answer["error"]["message"].endswith(".")
    return response.status_code, answer["error"]["code"]


def test_the_answer_is_the_predictors(client, project, songs):
    predictor = Predictor(project / "models" / "champion")
    for name, genre in (("bass.wav", "bass"), ("drone.mp3", "drone"), ("whistle.flac", "whistle")):
        response = post(client, songs / name, "audio")
        assert response.status_code == 200
        assert response.json() == predictor.classify(songs / name).to_dict(predictor.model)
        assert response.json()["genre"] == genre
        assert response.json()["model"] == {"name": "genre-classifier", "version": "3"}


def test_a_batch_keeps_the_order_and_survives_failures(client, project, songs, tmp_path):
    names = ["words.mp3", "whistle.flac", "silence.wav", "bass.wav", "drone.mp3"]
    files = [("audios", (name, (songs / name).read_bytes())) for name in names]
    response = client.post("/classify_batch", files=files)
    assert response.status_code == 200
    results = response.json()["results"]
    assert [result["file"] for result in results] == names
    assert [result.get("genre") for result in results] == [None, "whistle", None, "bass", "drone"]
    assert [result.get("error", {}).get("code") for result in results] == [
        "undecodable", None, "unusable", None, None
    ]  # fmt: skip
    # The command line's rows are the same.
    output = tmp_path / "out.jsonl"
    classify_files([songs / name for name in names], project / "models" / "champion", output=output, progress=False)
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    for row, result in zip(rows, results, strict=True):
        assert Path(row.pop("file")).name == result.pop("file")
        assert row.get("error", {}).get("code") == result.get("error", {}).get("code")
        if "error" not in row:
            assert row == result


def test_what_is_served_is_told(client, project):
    card = client.post("/model").json()
    assert (card["name"], card["version"], card["metrics"]) == ("genre-classifier", "3", {"accuracy": 0.75})
    assert card["labels"] == list(LABELS)
    assert card["hash"] == Predictor(project / "models" / "champion").bundle.hash
    assert client.post("/model", content=b"\xff{", headers={"content-type": "application/json"}).json() == card
    junk = {"content-type": "multipart/form-data; boundary=x"}
    assert client.post("/model", content=b"junk", headers=junk).json() == card


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
def test_bentomls_own_routes_are_kept(client, path):
    assert client.get(path).status_code == 200


def test_metrics_count_requests(client, songs):
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
    answer = docs["components"]["schemas"][reference.rpartition("/")[2]]
    assert {"type": "null"} in answer["properties"]["genre"]["anyOf"]
    assert {"genre", "confidence", "probabilities", "segments", "duration", "model"} <= set(answer["properties"])
    assert "/model" in docs["paths"]


def test_undecodable_is_415_and_unusable_is_422(client, songs, tmp_path):
    assert error_of(post(client, songs / "words.mp3", "audio")) == (415, "undecodable")
    assert error_of(post(client, songs / "silence.wav", "audio")) == (422, "unusable")
    spoilt = {
        "empty.wav": (b"", 415),
        "header.wav": ((songs / "bass.wav").read_bytes()[:20], 415),
        "garbage.flac": (b"fLaC" + bytes(range(256)) * 20, 415),
    }
    for name, (data, status) in spoilt.items():
        response = client.post("/classify", files={"audio": (name, data)})
        assert error_of(response)[0] == status, name
    for name, samples in (("nan", np.full(8000, np.nan)), ("inf", np.full(8000, np.inf)), ("none", np.zeros(0))):
        sf.write(tmp_path / f"{name}.wav", samples, 8000, subtype="FLOAT")
        assert error_of(post(client, tmp_path / f"{name}.wav", "audio")) == (422, "unusable"), name


def test_a_truncated_file_is_classified_as_far_as_it_goes(client, songs):
    data = (songs / "bass.wav").read_bytes()
    response = client.post("/classify", files={"audio": ("cut.wav", data[: len(data) // 2])})
    assert response.json()["genre"] == "bass"
    assert response.json()["duration"] == pytest.approx(2.5, abs=0.1)


def test_too_long_is_413_however_small_the_file(client, tmp_path):
    path = tmp_path / "silence.flac"
    sf.write(path, np.zeros(8000 * 3600, np.int16), 8000)
    assert path.stat().st_size < 1_000_000
    assert error_of(post(client, path, "audio")) == (413, "too_long")


def test_too_large_is_413(client):
    big = {"audio": ("big.wav", bytes(3_000_000))}
    assert error_of(client.post("/classify", files=big)) == (413, "too_large")

    def chunks():  # no length is declared
        yield b'--x\r\nContent-Disposition: form-data; name="audio"; filename="a.wav"\r\n\r\n'
        for _ in range(300):
            yield bytes(10_000)
        yield b"\r\n--x--\r\n"

    kind = {"content-type": "multipart/form-data; boundary=x"}
    assert error_of(client.post("/classify", content=chunks(), headers=kind)) == (413, "too_large")


def head(client, *lines):
    return "\r\n".join(["POST /classify HTTP/1.1", f"Host: {client.base_url.netloc.decode()}", *lines, "", ""]).encode()


def connect(client):
    return socket.create_connection((client.base_url.host, client.base_url.port), timeout=20)


def test_a_body_over_the_limit_is_not_waited_for(client):
    declared = ["Content-Type: multipart/form-data; boundary=x", "Content-Length: 10000000000"]
    for expect in ([], ["Expect: 100-continue"]):
        with connect(client) as connection:
            connection.sendall(head(client, *declared, *expect))
            assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_clients_that_stall_or_vanish_cost_nothing(client, songs):
    begun = head(client, "Content-Type: multipart/form-data; boundary=x", "Content-Length: 1000") + b"--x\r\n"
    with connect(client) as connection:
        connection.sendall(begun)
        assert connection.recv(1000).startswith(b"HTTP/1.1 408 ")
    with connect(client) as connection:
        connection.sendall(begun)
    assert post(client, songs / "bass.wav", "audio").status_code == 200


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


def test_an_address_is_not_fetched(client):
    hits = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            hits.append(self.path)
            self.send_error(404)

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as trap:
        threading.Thread(target=trap.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{trap.server_port}/song.wav"
        for path, field in (("/classify", "audio"), ("/classify_batch", "audios")):
            for body in (
                {"files": {field: (None, url)}},
                {"data": {field: url}},
                {"json": {field: url}},
                {"content": url.encode(), "headers": {"content-type": "application/json"}},
            ):
                assert error_of(client.post(path, **body)) == (400, "malformed_request")
        assert error_of(client.post("/classify", files={"audio": (url, url.encode())})) == (415, "undecodable")
        trap.shutdown()
    assert hits == []


def test_a_path_as_file_name_is_but_a_name(client, songs):
    name = "../../../../etc/passwd"
    files = [("audios", (name, (songs / "whistle.flac").read_bytes())), ("audios", (name, b"junk"))]
    results = client.post("/classify_batch", files=files).json()["results"]
    assert [result["file"] for result in results] == [name, name]
    assert "root:" not in json.dumps(results)


def test_many_at_once_get_their_own_answers(client, songs):
    data = {name: (songs / name).read_bytes() for name in ("bass.wav", "drone.mp3", "whistle.flac")}
    answers = {}

    def ask(index):
        name = list(data)[index % 3]
        answer = client.post("/classify", files={"audio": (name, data[name])}).json()
        answers[index] = (answer["genre"], name.split(".")[0])

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 12
    assert all(got == sent for got, sent in answers.values())


def test_the_bento_holds_the_source_the_bundle_and_the_locked_requirements(bento):
    files = {str(path.relative_to(bento)) for path in bento.rglob("*") if path.is_file()}
    held = {name for name in files if "__pycache__" not in name and not name.startswith("src/genreflow/")}
    assert {"src/models/champion/model.onnx", "src/models/champion/bundle.json"} <= held
    assert "src/genreflow/serving/service.py" in files
    assert not [name for name in held if "not for the bento" in (bento / name).read_text(errors="replace")]
    locked = re.findall(r"^([a-z0-9-]+)==", (bento / "env/python/requirements.txt").read_text(), re.MULTILINE)
    assert {"bentoml", "onnxruntime", "numpy", "scipy", "soundfile", "soxr"} <= set(locked)
    assert not {"tensorflow", "keras", "mlflow", "dvc", "librosa", "pandas"} & set(locked)


def test_the_bento_runs_its_own_source(bento, home, tmp_path):
    code = (
        "import sys, bentoml; bentoml.load('genre-classifier:latest');"
        "print(sys.modules['genreflow.serving.service'].__file__)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(home), check=True, capture_output=True, text=True
    )
    assert Path(run.stdout.strip()).is_relative_to(bento)


def test_serve_without_arguments_in_the_project_folder(project, songs, tmp_path):
    # With a home of its own: a server that starts empties the metrics of another that shares it.
    with serving([], cwd=project, home=tmp_path, log=tmp_path / "log") as client:
        assert post(client, songs / "bass.wav", "audio").json()["genre"] == "bass"


# The two that look back at all that the service of this module did come last.
def test_nothing_was_answered_with_5xx(client):
    counts = re.findall(r'_request_total\{.*http_response_code="(\d+)".*\} (\S+)', client.get("/metrics").text)
    codes = {code for code, count in counts if float(count) > 0}
    assert {"200", "400", "408", "413", "415", "422"} <= codes
    assert not [code for code in codes if code.startswith("5")]


def test_nothing_heavy_was_imported(client, log):
    imported = set(re.findall(r"^import time:.*\| +([\w.]+)$", log.read_text(errors="replace"), re.MULTILINE))
    assert {"bentoml", "onnxruntime", "soundfile", "genreflow.serving.predictor"} <= imported
    roots = {name.partition(".")[0] for name in imported}
    heavy = "tensorflow keras mlflow optuna dvc librosa numba pandas sklearn matplotlib onnx torch"
    assert not roots & set(heavy.split())
