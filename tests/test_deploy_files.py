"""What is shipped in deploy/, where nothing has to run: schemas, names, and how it is marked."""

import json
import re
import subprocess
import sys
from pathlib import Path

import yaml

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
