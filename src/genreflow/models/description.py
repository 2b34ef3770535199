"""The registry for people: one line a model, or all that is known of one."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from genreflow.models.build import MODELS, body_parameters, build_model, get_architecture, size_text
from genreflow.models.dimensions import Dimension

HEAD = ("name", "parameters", "input", "reported", "origin")


def describe(*names: str, input_shape: tuple[int, int] = (80, 80), classes: int = 8) -> list[dict[str, Any]]:
    """What the table of ``genreflow models`` shows; all models when none is named.

    Returns
    -------
    list of dict
        ``name``, ``parameters`` (of the body, for this shape and these classes), ``image`` ("time x bands", or "as
        given"), ``coefficients`` (number or None), ``learning_rate``, ``optimiser``, ``hyperparameters`` (by name,
        their kind, range and default), ``origin``, ``reported``, ``protocol`` (fields of `Protocol`).
    """
    import keras

    rows = []
    for row in [get_architecture(name) for name in names or MODELS]:
        with keras.StatelessScope(initialize_variables=False):  # counting needs no weights
            model = build_model(row.name, input_shape=input_shape, classes=classes)
        rows.append(
            {
                "name": row.name,
                "parameters": body_parameters(model),
                "image": "as given" if row.image is None else size_text(row.image),
                "coefficients": row.coefficients,
                "learning_rate": _dimension(row.learning_rate),
                "optimiser": row.optimiser,
                "hyperparameters": {key: _dimension(dimension) for key, dimension in row.space.items()},
                "origin": row.origin,
                "reported": row.reported,
                "protocol": asdict(row.protocol),
            }
        )
    return rows


def _dimension(dimension: Dimension) -> dict[str, Any]:
    return {"kind": type(dimension).__name__.lower(), **asdict(dimension)}


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines of an aligned table of what `describe` gives, the first of them the header."""
    cells = [HEAD, *map(_cells, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEAD) - 1)]
    aligned = [
        [
            cell.rjust(width) if name == "parameters" else cell.ljust(width)
            for cell, width, name in zip(row[:-1], widths, HEAD[:-1], strict=True)
        ]
        for row in cells
    ]
    return ["  ".join([*line, row[-1]]) for line, row in zip(aligned, cells, strict=True)]


def details(row: Mapping[str, Any]) -> list[str]:
    """Protocol and hyperparameters of one of the rows of `describe`, as lines."""
    protocol = get_architecture(row["name"]).protocol
    options = {"optimiser": row["optimiser"], **protocol.options}
    others = "" if row["reported"] else ", the others as params.yaml has them"
    own = {"learning_rate": row["learning_rate"], **row["hyperparameters"]}
    width = max(map(len, own))
    return [
        f"protocol         {protocol.in_words}",
        f"options          {', '.join(f'{name} {value}' for name, value in options.items())}{others}",
        *([f"chosen here      {protocol.chosen}: not stated by its authors"] if protocol.chosen else []),
        "hyperparameters",
        *(f"  {name:<{width}}  {_range(dimension)}, default {_shown(dimension)}" for name, dimension in own.items()),
    ]


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    seen = row["image"] + (f", {row['coefficients']} MFCC" if row["coefficients"] else "")
    return row["name"], f"{row['parameters']:,}", seen, row["reported"] or "-", row["origin"]


def _range(dimension: Mapping[str, Any]) -> str:
    if dimension["kind"] == "choice":
        return f"one of {', '.join(map(str, dimension['values']))}"
    if dimension["kind"] == "file":
        return "a file"
    return f"{dimension['low']:g} to {dimension['high']:g}{', by order of magnitude' if dimension['log'] else ''}"


def _shown(dimension: Mapping[str, Any]) -> str:
    return str(dimension["default"]) or "none"
