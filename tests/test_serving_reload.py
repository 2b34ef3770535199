"""A running service takes another bundle that replaces its own, without a lost request."""

import shutil
import threading
import time

import pytest

from genreflow.costs.service_process import served
from genreflow.files import atomic_directory
from service_client import client_of, wait_for_workers
from serving_toy import write_tone, write_toy_bundle
from waiting import wait_for

SECONDS = "0.2"


def replace(bundle, directory):
    """Replace a bundle as the stage `package` does."""
    with atomic_directory(directory) as temporary:
        shutil.copytree(bundle, temporary, dirs_exist_ok=True)


def served_thresholds(client) -> set[float]:
    """Ask often enough that each worker answers."""
    return {client.post("/model", json={}).json()["abstain_below"] for _ in range(12)}


@pytest.fixture
def champion(tmp_path):
    champion = tmp_path / "models" / "champion"
    champion.parent.mkdir()
    write_toy_bundle(champion, temperature=1.0, abstain_below=0.5)
    return champion


@pytest.fixture
def client(champion):
    environment = {"GENREFLOW_RELOAD_SECONDS": SECONDS, "GENREFLOW_PROCESSES": "2"}
    with (
        served(cwd=champion.parents[1], environment=environment, watch=False) as service,
        client_of(service) as client,
    ):
        wait_for_workers(service)  # one that starts later would load the bundle of that time
        yield client


def test_no_request_is_lost_while_the_bundle_is_replaced(champion, client, tmp_path):
    song = write_tone(tmp_path / "bass.wav", "bass", 6.0).read_bytes()
    confidences, statuses, done = [], [], threading.Event()

    def ask() -> None:
        while not done.is_set():
            answer = client.post("/classify", files={"audio": ("bass.wav", song)})
            statuses.append(answer.status_code)
            confidences.append(answer.json().get("confidence"))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    # A bundle could be loaded and replaced within one request: each is replaced only after it has answered one.
    wait_for(lambda: len(set(confidences)) >= 1)
    for number in range(4):
        bundle = tmp_path / f"new {number}"
        threshold = 0.1 + 0.01 * number
        write_toy_bundle(bundle, temperature=2.0 + number, abstain_below=threshold)
        replace(bundle, champion)
        wait_for(lambda: served_thresholds(client) == {threshold})  # noqa: B023
        wait_for(lambda: len(set(confidences)) >= number + 2)  # noqa: B023
    done.set()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200}
    assert len(set(confidences)) == 5, "an answer for each temperature, and none of a mixture"


def test_a_damaged_bundle_replaces_none(champion, client, tmp_path):
    bundle = tmp_path / "new"
    write_toy_bundle(bundle, abstain_below=0.3)
    model = bundle / "model.onnx"
    intact = model.read_bytes()
    model.write_bytes(intact[:-1])
    replace(bundle, champion)
    time.sleep(10 * float(SECONDS))
    assert served_thresholds(client) == {0.5}
    (champion / "model.onnx").write_bytes(intact)
    wait_for(lambda: served_thresholds(client) == {0.3})


def test_a_removed_bundle_stays_in_use(champion, client):
    shutil.rmtree(champion)
    time.sleep(10 * float(SECONDS))
    assert served_thresholds(client) == {0.5}
