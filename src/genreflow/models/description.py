"""The registry as text and as JSON, for ``genreflow models``."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from genreflow.models.architecture import Architecture
from genreflow.models.build import MODELS, body_parameters, build_model, format_size, get_architecture
from genreflow.models.dimensions import Dimension
from genreflow.models.embedding_head import MUSICNN_COLUMNS

if TYPE_CHECKING:
    import keras

HEADER = ("name", "parameters", "input", "reported", "origin")


def describe(*names: str, input_shape: tuple[int, int] = (80, 80), classes: int = 8) -> list[dict[str, Any]]:
    """Describe models; all models when none is named.

    Parameters
    ----------
    *names : str
        Keys of `MODELS`.
    input_shape : tuple of two int > 0
        Frames and n_mels of a segment.
    classes : int >= 2

    Returns
    -------
    list of dict
        ``name``, ``parameters`` (of the body, for this shape and number of classes), ``image`` ("time x bands", "as
        given" or "embeddings"), ``coefficients`` (number of MFCC or None), ``learning_rate``, ``optimiser``,
        ``hyperparameters`` (kind, range and default of each), ``origin``, ``reported``, ``protocol`` (fields of
        `TrainingProtocol`).

    Raises
    ------
    ParameterError
        Unknown model, or a shape that it cannot be built for.
    """
    import keras

    rows = []
    for row in [get_architecture(name) for name in names or MODELS]:
        with keras.StatelessScope(initialize_variables=False):  # counting needs no weights
            model = _build(row, input_shape, classes)
        rows.append(
            {
                "name": row.name,
                "parameters": body_parameters(model),
                "image": _input(row),
                "coefficients": row.coefficients,
                "learning_rate": _dimension_to_dict(row.learning_rate),
                "optimiser": row.optimiser,
                "hyperparameters": {key: _dimension_to_dict(dimension) for key, dimension in row.space.items()},
                "origin": row.origin,
                "reported": row.reported,
                "protocol": asdict(row.protocol),
            }
        )
    return rows


def _build(row: Architecture, input_shape: tuple[int, int], classes: int) -> "keras.Model":
    if row.embedding:
        size = max(last for _, last in MUSICNN_COLUMNS.values())
        return build_model(row.name, input_shape=(size,), classes=classes, columns=MUSICNN_COLUMNS)
    return build_model(row.name, input_shape=input_shape, classes=classes)


def _input(row: Architecture) -> str:
    if row.embedding:
        return "embeddings"
    return "as given" if row.image is None else format_size(row.image)


def format_models(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines of an aligned table of what `describe` returns, with a header."""
    cells = [HEADER, *map(_cells, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADER) - 1)]
    aligned = [
        [
            cell.rjust(width) if name == "parameters" else cell.ljust(width)
            for cell, width, name in zip(row[:-1], widths, HEADER[:-1], strict=True)
        ]
        for row in cells
    ]
    return ["  ".join([*line, row[-1]]) for line, row in zip(aligned, cells, strict=True)]


def format_details(row: Mapping[str, Any]) -> list[str]:
    """Lines with protocol and hyperparameters of one of the rows of `describe`."""
    protocol = get_architecture(row["name"]).protocol
    options = {"optimiser": row["optimiser"], **protocol.options}
    others = "" if row["reported"] else ", the others as in params.yaml"
    dimensions = {"learning_rate": row["learning_rate"], **row["hyperparameters"]}
    width = max(map(len, dimensions))
    return [
        f"protocol         {protocol.summary}",
        f"options          {', '.join(f'{name} {value}' for name, value in options.items())}{others}",
        *([f"chosen here      {protocol.chosen}: not stated by its authors"] if protocol.chosen else []),
        "hyperparameters",
        *(f"  {name:<{width}}  {_format_dimension(dimension)}" for name, dimension in dimensions.items()),
    ]


def _dimension_to_dict(dimension: Dimension) -> dict[str, Any]:
    return {"kind": type(dimension).__name__.lower(), **asdict(dimension)}


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    model_input = row["image"] + (f", {row['coefficients']} MFCC" if row["coefficients"] else "")
    return row["name"], f"{row['parameters']:,}", model_input, row["reported"] or "-", row["origin"]


def _format_dimension(dimension: Mapping[str, Any]) -> str:
    match dimension["kind"]:
        case "choice":
            values = f"one of {', '.join(map(str, dimension['values']))}"
        case "file":
            values = "a file"
        case _:
            scale = ", on a logarithmic scale" if dimension["log"] else ""
            values = f"{dimension['low']:g} to {dimension['high']:g}{scale}"
    return f"{values}, default {str(dimension['default']) or 'none'}"
