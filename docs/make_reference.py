"""Write the pages of docs/reference, generated from the code: parameters, stages, command line, HTTP and Python.

Run by `make docs`. The pages are not in git, so that they cannot differ from the code.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import yaml

from genreflow.cli import cli
from genreflow.constraints import expected, unit_and_range
from genreflow.params import Params
from genreflow.serving.openapi import describe
from genreflow.serving.service import GenreClassifier
from genreflow.serving.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs/reference"
PYTHON_MODULES = {
    "Predictions and bundles": ["genreflow.inference.predictor", "genreflow.inference.batch", "genreflow.bundle"],
    "Audio and features": [
        "genreflow.audio.decode",
        "genreflow.features.spec",
        "genreflow.features.logmel",
        "genreflow.features.segments",
        "genreflow.features.store",
    ],
    "Data": ["genreflow.manifest.track", "genreflow.manifest.manifest", "genreflow.audit.manifest"],
    "Splits": ["genreflow.splits.split", "genreflow.splits.methods"],
    "Models": ["genreflow.models.architecture", "genreflow.models.build"],
    "Evaluation": [
        "genreflow.evaluation.metrics",
        "genreflow.evaluation.intervals",
        "genreflow.evaluation.paired",
        "genreflow.evaluation.calibration",
        "genreflow.evaluation.familiarity",
    ],
    "Embedding": ["genreflow.embedding.embedder", "genreflow.export.embedder_graph"],
}


def parameter_comments(text: str) -> dict[str, str]:
    """Return the comment of each parameter of params.yaml by ``section.name``; it may continue on the lines below."""
    found: dict[str, list[str]] = {}
    section, name, column = "", "", -1
    for line in text.splitlines():
        if header := re.match(r"(\w+):", line):
            section, name = header[1], ""
        elif parameter := re.match(r"  (\w+):", line):
            name, column = f"{section}.{parameter[1]}", line.find("# ")
            found[name] = [line[column + 2 :]] if column >= 0 else []
        elif name and column >= 0 and not line[:column].strip() and line[column:].startswith("# "):
            found[name].append(line[column + 2 :])
    return {name: " ".join(map(str.strip, lines)) for name, lines in found.items()}


def parameters() -> Iterator[str]:
    """All parameters: default, type and range of the models, description of params.yaml."""
    text = (ROOT / "params.yaml").read_text("utf-8")
    comments, content, root = parameter_comments(text), yaml.safe_load(text), Params.model_json_schema()
    definitions = root["$defs"]
    yield "# Parameters\n\nAll parameters are in `params.yaml`. The stage `check` refuses unknown names and values"
    yield "out of range. `dvc exp run -S SECTION.NAME=VALUE` runs an experiment with another value."
    for section, reference in root["properties"].items():
        schema = definitions[reference.get("$ref", reference.get("allOf", [{}])[0].get("$ref")).rsplit("/", 1)[-1]]
        yield f"\n## {section}\n\n| parameter | default | must be | |\n| --- | --- | --- | --- |"
        for name, field in schema["properties"].items():
            limits, comment = unit_and_range(field), comments.get(f"{section}.{name}", "")
            value = code(json.dumps(content[section][name], ensure_ascii=False))
            meaning = comment.replace(f"[{limits}]", "").strip() if limits else comment
            unit = re.search(r" *\[([^\[\]]+)\]$", field.get("description", ""))
            accepted = f"{expected(field, definitions)} [{unit[1]}]" if unit else expected(field, definitions)
            yield row(f"`{name}`", value, accepted, meaning)


def stages() -> Iterator[str]:
    """The stages of dvc.yaml."""
    yield "# Stages\n\n`dvc repro` runs the stages that a change affects, `dvc repro STAGE` those up to one.\n"
    yield "| stage | | parameters | outs |\n| --- | --- | --- | --- |"
    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"].items():
        outs = [next(iter(out)) if isinstance(out, dict) else out for out in stage.get("outs", [])]
        outs += [next(iter(out)) if isinstance(out, dict) else out for out in stage.get("metrics", [])]
        sections = [each for each in stage.get("params", []) if isinstance(each, str)]
        yield row(f"`{name}`", stage["desc"], ", ".join(map(code, sections)), ", ".join(map(code, outs)))


def command_line() -> Iterator[str]:
    """The commands of `genreflow`, as their help shows them."""
    yield "# Command line"
    yield from _command(
        cli, click.Context(cli, info_name="genreflow", max_content_width=100, **cli.context_settings), level=1
    )


def _command(command: click.Command, context: click.Context, *, level: int) -> Iterator[str]:
    if level > 1:
        yield f"\n{'#' * level} {context.command_path}"
    yield f"\n```text\n{command.get_help(context).replace(chr(8), '')}\n```"
    for name, each in getattr(command, "commands", {}).items():
        child = click.Context(each, info_name=name, parent=context, max_content_width=100)
        yield from _command(each, child, level=min(level + 1, 3))


def http() -> Iterator[str]:
    """The routes of the service and its settings."""
    document = describe(GenreClassifier, Settings(feedback_dir="feedback"))
    yield "# HTTP\n\nThe service describes itself as OpenAPI at `/docs.json`, with a page at `/docs`."
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"\n## {method.upper()} {path}\n\n{operation['summary']}"
            if form := operation.get("requestBody"):
                yield f"\n{form['description']}"
            if "operationId" in operation:
                yield from _responses(operation["responses"])
    yield "\n## Schemas"
    for name, schema in document["components"]["schemas"].items():
        yield f"\n### {name}\n\n| field | type | |\n| --- | --- | --- |"
        for field, value in schema.get("properties", {}).items():
            yield row(f"`{field}`", _type(value), value.get("description", ""))
    yield "\n## Settings\n\nEnvironment variables.\n\n| variable | default | unit, range | |\n| --- | --- | --- | --- |"
    for name, field in Settings.model_json_schema()["properties"].items():
        default = code(json.dumps(field["default"]))
        meaning = re.sub(r" *\[[^\[\]]+\]$", "", field["description"])
        yield row(f"`{PREFIX}{name.upper()}`", default, unit_and_range(field), meaning)


def _responses(responses: dict[str, Any]) -> Iterator[str]:
    yield "\n| status | | code, for example |\n| --- | --- | --- |"
    for status, response in responses.items():
        examples = response["content"]["application/json"]["examples"]
        yield row(status, response["description"], "" if status == "200" else ", ".join(map(code, examples)))
    for title, example in responses["200"]["content"]["application/json"]["examples"].items():
        text = json.dumps(example["value"], indent=2, ensure_ascii=False)
        yield f"\nExample, {title}:\n\n```json\n{text}\n```"


def _type(schema: dict[str, Any]) -> str:
    """Return a short name of a JSON schema."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if union := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(map(_type, union))
    if schema.get("type") == "array":
        return f"array of {_type(schema.get('items', {}))}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    return schema.get("type", "any")


def python() -> Iterator[str]:
    """Directives that mkdocstrings replaces by the docstrings."""
    yield "# Python\n\nFrom the docstrings. No module here needs DVC, MLflow or a project."
    for title, names in PYTHON_MODULES.items():
        yield f"\n## {title}"
        for name in names:
            yield f"\n::: {name}\n    options:\n      heading_level: 3"


def code(text: str) -> str:
    """Return text as code in a cell of a table."""
    return f"`{text}`" if text else ""


def row(*cells: str) -> str:
    """Return a row of a table."""
    escaped = (cell if cell.startswith("`") else cell.replace("<", "&lt;") for cell in cells)
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in escaped) + " |"


PAGES = {
    "parameters": parameters,
    "stages": stages,
    "command-line": command_line,
    "http": http,
    "python": python,
}

if __name__ == "__main__":
    REFERENCE.mkdir(exist_ok=True)
    for name, make in PAGES.items():
        (REFERENCE / f"{name}.md").write_text("\n".join(make()) + "\n", encoding="utf-8")
