"""Options that several commands have, and options that are made from a parameter model."""

from collections.abc import Callable
from typing import TypeVar

import click
from pydantic import BaseModel

Command = TypeVar("Command", bound=Callable[..., object])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
jobs_option = click.option("--jobs", type=click.IntRange(min=1), help="Parallel workers.  [default: one per core]")


def parameter_options(model: type[BaseModel]) -> Callable[[Command], Command]:
    """Give a command one option per parameter of a model: name, default, range and help are the model's.

    Parameters
    ----------
    model : type
        Its fields are numbers and booleans with a default and a description.
    """
    options = [_option(name, schema) for name, schema in model.model_json_schema()["properties"].items()]

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _option(name: str, schema: dict) -> Callable[[Command], Command]:
    flag = name.replace("_", "-")
    text = schema["description"][:1].upper() + schema["description"][1:] + "."
    if schema["type"] == "boolean":
        return click.option(f"--{flag}/--no-{flag}", name, default=schema["default"], show_default=True, help=text)
    number = {"integer": click.IntRange, "number": click.FloatRange}[schema["type"]]
    accepted = number(
        min=schema.get("minimum", schema.get("exclusiveMinimum")),
        max=schema.get("maximum", schema.get("exclusiveMaximum")),
        min_open="exclusiveMinimum" in schema,
        max_open="exclusiveMaximum" in schema,
    )
    return click.option(f"--{flag}", name, type=accepted, default=schema["default"], show_default=True, help=text)
