"""A real Prometheus that scrapes the real service, and what is shipped for it: alerts and a dashboard."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import soundfile
import yaml
from prometheus_client.parser import text_string_to_metric_families

from genreflow.costs.service_process import ServiceProcess, reserved_port, served
from serving_toy import unfamiliar_tone, write_tone, write_toy_bundle
from waiting import wait_for

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
TOKEN = "secret-token"

needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")),
    reason="Prometheus is not installed (Debian: apt-get install prometheus)",
)


class Prometheus:
    """A running server."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str, **parameters: str) -> dict:
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=300).raise_for_status().json()
        assert answer["status"] == "success"
        return answer["data"]

    def query(self, expression: str) -> dict[tuple[str, ...], float]:
        """Return the values of an instant query, by their labels without instance and job, in the order of names."""
        found = {}
        for entry in self.get("query", query=expression)["result"]:
            labels = {name: text for name, text in sorted(entry["metric"].items()) if name not in ("instance", "job")}
            found[tuple(text for name, text in labels.items() if name != "__name__")] = float(entry["value"][1])
        return found

    @property
    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=2).is_success
        except httpx.HTTPError:
            return False


@contextmanager
def prometheus(folder: Path, port: int) -> Iterator[Prometheus]:
    """Run Prometheus with the shipped configuration on a service at `port`, scraping often.

    Not once a second: a scrape may take as long as the interval, and one that takes longer, as it may on a busy
    machine, counts as a service that is down.
    """
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "4s", "evaluation_interval": "1s"}
    [scrape] = config["scrape_configs"]
    scrape["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    shutil.copy(DEPLOY / "prometheus/alerts.yml", folder)
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with reserved_port() as own, (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{own}"], cwd=folder, stdout=log, stderr=log
        )
        server = Prometheus(own)
        try:
            wait_for(lambda: server.ready or process.poll() is not None)
            assert process.poll() is None, (folder / "prometheus.log").read_text()
            yield server
        finally:
            process.terminate()
            process.wait(300)


@pytest.fixture(scope="module", params=[None, TOKEN], ids=["without token", "with token"])
def service(request, bento_home, tmp_path_factory) -> Iterator[ServiceProcess]:
    bundle = write_toy_bundle(tmp_path_factory.mktemp("toy") / "bundle", refuse_above=0.6).directory
    environment = {"BENTOML_HOME": bento_home, "GENREFLOW_BUNDLE": str(bundle), "GENREFLOW_PROCESSES": "2"}
    environment["GENREFLOW_PREDICTION_LOG"] = str(tmp_path_factory.mktemp("log"))  # beside it is the check for drift
    environment |= {"GENREFLOW_TOKEN": request.param} if request.param else {}
    with served("genre-classifier:latest", environment=environment, watch=False) as service:
        yield service


def metric_names(text: str) -> set[str]:
    """Return the names of metrics in PromQL."""
    without_labels = re.sub(r"\{[^}]*\}", "", text)
    return set(re.findall(r"\b(?:genreflow|bentoml_service)[a-z0-9_:]+", without_labels))


@pytest.mark.slow
@needs_prometheus
def test_prometheus_scrapes_the_sums_over_all_workers(service, tmp_path):
    tones = {name: write_tone(tmp_path / f"{name}.wav", name, 2.0).read_bytes() for name in ("bass", "drone")}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with prometheus(tmp_path, service.port) as server:
        wait_for(lambda: server.query("up") == {(): 1.0})
        for name in ("bass",) * 6 + ("drone",) * 4:  # a connection of its own reaches either worker
            sent = {"audio": (f"{name}.wav", tones[name])}
            assert httpx.post(f"{service.url}/classify", files=sent, headers=headers, timeout=300).status_code == 200
        words = {"audio": ("words.mp3", b"words")}
        assert httpx.post(f"{service.url}/classify", files=words, headers=headers, timeout=300).status_code == 415
        wait_for(lambda: server.query("genreflow_predictions_total") == {("bass",): 6.0, ("drone",): 4.0})
        wait_for(lambda: server.query("sum by (code) (genreflow_failures_total)") == {("undecodable",): 1.0})
        # Waiting, since a scrape that failed hides all values until the next one.
        wait_for(lambda: server.query("genreflow_confidence_count") == {(): 10.0})
        requests = 'sum by (http_response_code) (bentoml_service_request_total{endpoint="/classify"}) > 0'
        wait_for(lambda: server.query(requests) == {("200",): 10.0, ("415",): 1.0})
        [target] = server.get("targets")["activeTargets"]
        assert target["labels"]["job"] == "genreflow"
        wait_for(lambda: server.get("targets")["activeTargets"][0]["health"] == "up")
        # No alert is active. Tracks are classified, and drift was never checked: that waits for 7 days.
        assert states_of_alerts(server).keys() == {rule["alert"] for rule in alerts()}
        assert states_of_alerts(server)["GenreflowDriftNeverChecked"] in {"inactive", "pending"}
        quiet = {rule["alert"]: "inactive" for rule in alerts() if rule["alert"] != "GenreflowDriftNeverChecked"}
        wait_for(lambda: states_of_alerts(server).items() >= quiet.items())
        # A rate needs a difference between two scrapes.
        for _ in range(3):
            sent = {"audio": ("bass.wav", tones["bass"])}
            httpx.post(f"{service.url}/classify", files=sent, headers=headers, timeout=300)
        wait_for(lambda: server.query("genreflow:latency_seconds:p95_5m").get((), 0) > 0)
        check_dashboard(server)
        print("genreflow_predictions_total:", server.query("genreflow_predictions_total"))
        print("p95:", server.query("genreflow:latency_seconds:p95_5m"))


def states_of_alerts(server: Prometheus) -> dict[str, str]:
    rules = [rule for group in server.get("rules")["groups"] for rule in group["rules"]]
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
    return {rule["name"]: rule["state"] for rule in rules if rule["type"] == "alerting"}


# Every sound was familiar and sure, and drift was never checked.
WITHOUT_DATA = ("abstentions_total", "genreflow_drift_checked", "genreflow:unfamiliar")


def check_dashboard(server: Prometheus) -> None:
    """Evaluate what Grafana would ask for, with its variables replaced."""
    dashboard = json.loads((DEPLOY / "grafana/dashboards/genreflow.json").read_text())
    [instance] = server.get("label/instance/values", **{"match[]": 'up{job="genreflow"}'})
    [_, variable] = dashboard["templating"]["list"]
    assert variable["query"]["query"] == 'label_values(up{job="genreflow"}, instance)'
    for target in (target for panel in dashboard["panels"] for target in panel.get("targets", ())):
        expression = target["expr"].replace("$instance", instance).replace("$__rate_interval", "1m")
        assert "$" not in expression
        has_data, results = not any(name in expression for name in WITHOUT_DATA), []

        def is_as_expected() -> bool:
            results.append(server.get("query", query=expression)["result"])  # noqa: B023 # an invalid one has status 400
            return bool(results[-1]) == has_data  # noqa: B023

        wait_for(is_as_expected)
        for series in results[-1]:
            assert set(re.findall(r"{{(\w+)}}", target.get("legendFormat", ""))) <= series["metric"].keys(), target


@pytest.mark.slow
@needs_prometheus
def test_a_service_that_ends_is_down_for_prometheus(bento_home, tmp_path):
    bundle = write_toy_bundle(tmp_path / "bundle").directory
    environment = {"BENTOML_HOME": bento_home, "GENREFLOW_BUNDLE": str(bundle), "GENREFLOW_PROCESSES": "1"}
    with (
        served("genre-classifier:latest", environment=environment, watch=False) as service,
        prometheus(tmp_path, service.port) as server,
    ):
        wait_for(lambda: server.query("up") == {(): 1.0})
        service.stop()
        wait_for(lambda: server.query("up") == {(): 0.0})
        wait_for(lambda: server.get("alerts")["alerts"])
        [alert] = server.get("alerts")["alerts"]
        assert (alert["labels"]["alertname"], alert["labels"]["severity"]) == ("GenreflowDown", "critical")


def alerts() -> list[dict]:
    [group] = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"]
    return [rule for rule in group["rules"] if "alert" in rule]


def recorded() -> dict[str, str]:
    [group] = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"]
    return {rule["record"]: rule["expr"] for rule in group["rules"] if "record" in rule}


def dashboard_expressions() -> list[str]:
    dashboard = json.loads((DEPLOY / "grafana/dashboards/genreflow.json").read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]


@needs_prometheus
def test_the_rules_are_valid_and_report_what_they_must():
    for arguments in (["check", "rules", "alerts.yml"], ["check", "config", "prometheus.yml"]):
        subprocess.run(["promtool", *arguments], cwd=DEPLOY / "prometheus", check=True, capture_output=True)
    done = subprocess.run(
        ["promtool", "test", "rules", "alerts_test.yml"],
        cwd=DEPLOY / "prometheus",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_with_and_without_its_cause():
    tests = yaml.safe_load((DEPLOY / "prometheus/alerts_test.yml").read_text())["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    names = {rule["alert"] for rule in alerts()}
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == names
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == names


@pytest.mark.slow
def test_alerts_and_dashboard_use_metrics_that_exist(service, tmp_path):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    soundfile.write(tmp_path / "strange.wav", unfamiliar_tone(4.0), 8000)
    write_tone(tmp_path / "bass.wav", "bass", 2.0)
    (tmp_path / "words.wav").write_text("words")
    for path in tmp_path.glob("*.wav"):  # a counter with labels is not shown before its first event
        httpx.post(f"{service.url}/classify", files={"audio": path.open("rb")}, headers=headers, timeout=300)
    text = httpx.get(f"{service.url}/metrics", timeout=300).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    assert any(sample.labels == {"reason": "unfamiliar"} for sample in samples)
    exposed = {sample.name for sample in samples} | recorded().keys()
    used = [*recorded().values(), *(rule["expr"] for rule in alerts()), *dashboard_expressions()]
    assert len(used) > 20
    assert metric_names("\n".join(used)) - exposed == set()
