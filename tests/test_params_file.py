"""params.yaml as shipped: every parameter is there, with its default and a comment that has its unit and range."""

import json
import re

import pytest
import yaml

from genreflow.constraints import unit_and_range
from genreflow.embedding.conversion import PATCH_SPEC
from genreflow.features.spec import FeatureSpec
from genreflow.params import Params

# Parameters whose shipped value is not the model's default, and why.
OVERRIDES: dict[str, str] = {
    "data.tracks": "dvc.yaml depends on this file, which may be empty; the default, no table, is for use without DVC",
    "tune.search": "by default only architecture and learning rate are searched; the demo searches more",
}


def sections() -> dict[str, dict]:
    """JSON schema of every section."""
    schema = Params.model_json_schema()
    found = {}
    for name, section in schema["properties"].items():
        reference = section.get("$ref") or section["allOf"][0]["$ref"]
        found[name] = schema["$defs"][reference.rsplit("/", 1)[-1]]
    return found


def parameters() -> dict[str, dict]:
    return {f"{s}.{name}": field for s, schema in sections().items() for name, field in schema["properties"].items()}


@pytest.fixture(scope="module")
def text(root) -> str:
    return (root / "params.yaml").read_text("utf-8")


@pytest.fixture(scope="module")
def content(text) -> dict:
    return yaml.safe_load(text)


@pytest.fixture(scope="module")
def comments(text) -> dict[str, str]:
    """The comment of each parameter: at the end of its line, and continued below in the same column."""
    found: dict[str, list[str]] = {}
    section = name = column = None
    for line in text.splitlines():
        if header := re.match(r"(\w+):", line):
            section, name = header[1], None
        elif parameter := re.match(r"  (\w+):", line):
            name = f"{section}.{parameter[1]}"
            column = line.find("# ") if "# " in line else None
            found[name] = [line[column + 2 :]] if column else []
        elif name and column and line[:column].strip() == "" and line[column:].startswith("# "):
            found[name].append(line[column + 2 :])
    return {name: " ".join(map(str.strip, lines)) for name, lines in found.items()}


def test_the_file_holds_every_parameter(content):
    assert list(content) == list(Params.model_fields)
    for section, schema in sections().items():
        assert sorted(content[section]) == sorted(schema["properties"]), section


def test_values_are_the_defaults_of_the_models(content):
    changed = {}
    for name, field in parameters().items():
        section, _, key = name.partition(".")
        required = key in sections()[section].get("required", ())
        if not required and content[section][key] != field.get("default", {} if field.get("type") == "object" else []):
            changed[name] = content[section][key]
    assert set(changed) == set(OVERRIDES), changed


@pytest.mark.parametrize("architecture", ["musicnn", "efficient"])
def test_comments_state_the_features_that_architectures_need(content, comments, architecture):
    spec = Params.model_validate(content | {"tune": {"architectures": [architecture]}}).feature_spec
    assert spec == (PATCH_SPEC if architecture == "musicnn" else FeatureSpec())
    left = [name for name, value in content["features"].items() if value is None and name != "frames_kept"]
    assert len(left) == 7
    for name in left:
        value = getattr(spec, name)
        before = "null: " if architecture == "musicnn" else "else "
        assert before + (value if isinstance(value, str) else f"{value:g}") in comments[f"features.{name}"]


@pytest.mark.parametrize("name", parameters())
def test_a_comment_has_unit_range_and_choices(name, comments):
    field = parameters()[name]
    comment = comments[name]
    assert comment
    if wanted := unit_and_range(field):
        assert f"[{wanted}]" in comment
    kinds = [field, *field.get("anyOf", ()), field.get("items", {})]
    for value in [value for kind in kinds for value in kind.get("enum", [kind["const"]] if "const" in kind else [])]:
        assert re.search(rf"\b{value}\b", comment), value
    if name not in OVERRIDES and any(kind.get("type") == "null" for kind in field.get("anyOf", ())):
        assert "null" in comment
    assert len(json.dumps(comment)) < 400
