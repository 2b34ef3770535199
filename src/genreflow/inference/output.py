"""The results of a batch as a CSV, JSON Lines or Parquet file."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from genreflow.errors import ParameterError
from genreflow.file_names import utf8_name
from genreflow.files import atomic_file, csv_writer, json_line, remove_leftovers

# Rows per row group of a Parquet file.
ROW_GROUP = 1000

# Columns with values of the same names in a result.
COLUMNS = ("file", "genre", "reason", "confidence", "unfamiliarity", "duration", "short")

Write = Callable[[dict[str, Any]], None]


def check_output(output: Path) -> None:
    """Check that `open_output` can write a file.

    Parameters
    ----------
    output : Path

    Raises
    ------
    ParameterError
        Its suffix is unknown, or ``.parquet`` and pyarrow is not installed.
    """
    if output.suffix.lower() not in WRITERS:
        raise ParameterError(f"{output}: suffix must be one of {', '.join(WRITERS)}; got {output.suffix or 'none'}.")
    if output.suffix.lower() == ".parquet":
        _import_pyarrow(output)


@contextmanager
def open_output(output: Path, *, labels: tuple[str, ...]) -> Iterator[Write]:
    r"""Write the results of `genreflow.inference.batch.iter_results` to a file, atomically.

    Parameters
    ----------
    output : Path
        ``.csv`` and ``.parquet`` have the columns file, genre, reason, confidence, unfamiliarity, duration [s], short,
        error, message, leaking (the model was trained with a split that has train/test leakage) and ``p_<genre>`` for
        each genre.
        ``.jsonl`` has the results as they are. Bytes of file names that are not UTF-8 are written as ``\xNN``.
    labels : tuple of str

    Yields
    ------
    callable
        Writes one result.

    Raises
    ------
    ParameterError
        As `check_output`.
    """
    check_output(output)
    remove_leftovers(output.parent, output.name)
    with atomic_file(output) as temporary, WRITERS[output.suffix.lower()](temporary, labels) as write:
        yield lambda result: write(with_utf8_names(result))


def with_utf8_names(result: dict[str, Any]) -> dict[str, Any]:
    """Return a result whose file name and message can be encoded; see `utf8_name`."""
    named = {**result, "file": utf8_name(result["file"])}
    if "error" in result:
        named["error"] = {**result["error"], "message": utf8_name(result["error"]["message"])}
    return named


def flatten(result: dict[str, Any], labels: tuple[str, ...]) -> dict[str, Any]:
    """Return a result as one row without nesting; missing values are None."""
    row = {name: result.get(name) for name in COLUMNS}
    error = result.get("error", {})
    row |= {"error": error.get("code"), "message": error.get("message"), "leaking": None}
    if "model" in result:
        row["leaking"] = result["model"].get("leaking", False)
    probabilities = result.get("probabilities", {})
    return row | {f"p_{label}": probabilities.get(label) for label in labels}


@contextmanager
def _open_csv(path: Path, labels: tuple[str, ...]) -> Iterator[Write]:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv_writer(file, list(flatten({}, labels)))
        writer.writeheader()
        yield lambda result: writer.writerow(flatten(result, labels))


@contextmanager
def _open_jsonl(path: Path, labels: tuple[str, ...]) -> Iterator[Write]:
    with path.open("w", encoding="utf-8") as file:

        def write(result: dict[str, Any]) -> None:
            file.write(json_line(result) + "\n")

        yield write


@contextmanager
def _open_parquet(path: Path, labels: tuple[str, ...]) -> Iterator[Write]:
    pa, pq = _import_pyarrow(path)
    numbers = dict.fromkeys(("confidence", "unfamiliarity", "duration"), pa.float64())
    types = {**numbers, "short": pa.bool_(), "leaking": pa.bool_()}
    schema = pa.schema(
        [
            (name, pa.float64() if name.startswith("p_") else types.get(name, pa.string()))
            for name in flatten({}, labels)
        ]
    )
    rows: list[dict[str, Any]] = []

    with pq.ParquetWriter(path, schema) as writer:

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(rows, schema))
            rows.clear()

        def write(result: dict[str, Any]) -> None:
            rows.append(flatten(result, labels))
            if len(rows) >= ROW_GROUP:
                flush()

        yield write
        flush()


def _import_pyarrow(path: Path) -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ParameterError(
            f"{path}: must be .csv or .jsonl unless pyarrow is installed (`pip install pyarrow`); got .parquet."
        ) from None
    return pyarrow, pyarrow.parquet


WRITERS: dict[str, Callable[[Path, tuple[str, ...]], AbstractContextManager[Write]]] = {
    ".csv": _open_csv,
    ".jsonl": _open_jsonl,
    ".parquet": _open_parquet,
}
