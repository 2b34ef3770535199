"""What is shipped in deploy/, where nothing has to run: schemas, names, and how it is marked."""

import json
import re
import subprocess
import sys
from pathlib import Path

import click
import yaml

from genreflow.serving.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"


def test_the_compose_file_has_the_schema_of_compose_and_says_that_it_was_not_built():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, DEPLOY / "compose.yaml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "Not built here" in (DEPLOY / "compose.yaml").read_text().partition("services:")[0]


def test_the_files_that_the_compose_file_mounts_exist():
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"].values()
    mounted = [volume.split(":")[0] for service in services for volume in service.get("volumes", ())]
    assert [path for path in mounted if path.startswith("./") and not (DEPLOY / path).exists()] == []


def test_the_services_that_share_a_network_are_reached_where_it_is():
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    shared = {name: service["network_mode"] for name, service in services.items() if "network_mode" in service}
    assert shared == dict.fromkeys(("classifier", "nginx", "prometheus"), "service:network")
    assert not any("ports" in services[name] for name in shared)  # Docker refuses these
    [source] = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://network:9090"


def test_the_variables_of_the_service_are_settings_of_it():
    service = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["classifier"]
    assert {name.removeprefix(PREFIX).lower() for name in service["environment"]} <= Settings.model_fields.keys()


def test_mlflow_has_the_options_of_its_command():
    import mlflow.cli

    program, command, *options = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["mlflow"]["command"]
    assert program == "mlflow"
    server = mlflow.cli.cli.commands[command]
    given, rest, _ = server.make_parser(click.Context(server)).parse_args(options)
    assert (len(given), rest) == (5, [])
    assert "127.0.0.1:5000" in given["allowed_hosts"]  # the address in env.example


def test_the_variables_of_the_compose_file_are_in_the_example():
    listed = set(re.findall(r"^#?([A-Z_0-9]+)=", (DEPLOY / "env.example").read_text(), re.MULTILINE))
    used = set(re.findall(r"\$\{([A-Z_0-9]+)", (DEPLOY / "compose.yaml").read_text()))
    assert used - listed == set()
    documented = "".join(path.read_text("utf-8") for path in (ROOT / "docs").rglob("*.md"))
    assert [name for name in listed - used if name not in documented] == []


def test_the_dashboard_says_that_it_was_not_opened_and_its_panels_do_not_overlap():
    dashboard = json.loads((DEPLOY / "grafana/dashboards/genreflow.json").read_text())
    assert "Not built here" in dashboard["description"]
    cells = [
        (x, y)
        for panel in dashboard["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
