"""The log of a real service as JSON: every line is an object, those of requests and exceptions included."""

import json
import logging
import os
import signal
import sys

import psutil
import pytest

from genreflow.costs.service_process import served
from genreflow.errors import ParameterError
from genreflow.serving.json_logs import JsonFormatter
from genreflow.serving.settings import Settings
from service_client import client_of
from serving_toy import write_tone, write_toy_bundle
from waiting import wait_for


def test_an_exception_is_one_line():
    try:
        raise ValueError("a\nb")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "f.py", 1, "Request %s failed.", ("1\n2",), sys.exc_info())
    text = JsonFormatter().format(record)
    assert "\n" not in text
    entry = json.loads(text)
    assert (entry["level"], entry["message"]) == ("error", "Request 1\n2 failed.")
    assert "ValueError: a\nb" in entry["exception"]


def test_another_format_is_refused(monkeypatch):
    monkeypatch.setenv("GENREFLOW_LOG_FORMAT", "xml")
    with pytest.raises(ParameterError, match=r"GENREFLOW_LOG_FORMAT must be .*json.*got 'xml'"):
        Settings.from_environment()


@pytest.mark.slow
def test_every_line_of_a_service_is_an_object(bento_home, tmp_path):
    bundle = write_toy_bundle(tmp_path / "bundle").directory
    environment = {"BENTOML_HOME": bento_home, "GENREFLOW_BUNDLE": str(bundle), "GENREFLOW_LOG_FORMAT": "json"}
    song = write_tone(tmp_path / "bass.wav", "bass", 2.0).read_bytes()
    with served("genre-classifier:latest", environment=environment, watch=False) as service:

        def entries() -> list[dict]:
            lines = service.log.read_text().rpartition("\n")[0]  # the last one may be being written
            return [json.loads(line) for line in lines.splitlines()]

        def requests(request_id: str) -> list[dict]:
            return [entry for entry in entries() if entry.get("request_id") == request_id]

        with client_of(service) as client:
            headers = {"X-Request-ID": "good"}
            assert client.post("/classify", files={"audio": ("a.wav", song)}, headers=headers).status_code == 200
            assert client.get("/line%0abreak", headers={"X-Request-ID": "bad"}).status_code == 404
        wait_for(lambda: requests("good") and requests("bad"))
        [good], [bad] = requests("good"), requests("bad")
        assert {"method": "POST", "path": "/classify", "status": 200, "error": None}.items() <= good.items()
        assert good["milliseconds"] > 0
        assert good["logger"] == "bentoml.access"
        assert {"path": "/line%0Abreak", "status": 404, "error": "not_found"}.items() <= bad.items()
        # What the supervisor says is JSON, too, and what a worker says that replaces one that died.
        assert any(entry["logger"] == "bentoml.serve" for entry in entries())
        workers = {worker.pid for worker in psutil.Process(service.process.pid).children()}
        os.kill(min(workers), signal.SIGKILL)
        wait_for(lambda: len({entry["process"] for entry in entries()} - workers) > 1)
