"""The results of a batch as a CSV, JSON Lines or Parquet file."""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from genreflow.errors import ParameterError
from genreflow.files import atomic_file, remove_leftovers

# Rows that are held before they are written to a Parquet file.
ROW_GROUP = 1000

Write = Callable[[dict], None]


def check_table(output: Path) -> None:
    """Raise ParameterError where `open_table` would: another suffix, or ``.parquet`` without pyarrow."""
    suffix = output.suffix.lower()
    if suffix not in WRITERS:
        raise ParameterError(f"{output} ends in {suffix or 'no suffix'}; one of {', '.join(WRITERS)} is right.")
    if suffix == ".parquet":
        _pyarrow(output)


@contextmanager
def open_table(output: Path, *, labels: tuple[str, ...]) -> Iterator[Write]:
    """Open a table for the results of `genreflow.inference.batch.iter_results`.

    Parameters
    ----------
    output : Path
        ``.csv`` and ``.parquet`` have the columns file, genre, confidence, duration (s), short, error, message,
        leaking (the model was made with a split that leaks) and ``p_<genre>`` for each genre; ``.jsonl`` has the
        results as they are. It takes the place of what stood there when the block ends, and does not when it fails.
    labels : tuple of str

    Yields
    ------
    callable
        Writes one result.

    Raises
    ------
    ParameterError
        Another suffix, or ``.parquet`` without pyarrow.
    """
    check_table(output)
    remove_leftovers(output.parent, output.name)
    with atomic_file(output) as temporary, WRITERS[output.suffix.lower()](temporary, labels) as write:
        yield write


def flatten(result: dict, labels: tuple[str, ...]) -> dict:
    """A result as one flat row; what it lacks is None."""
    row = {name: result.get(name) for name in ("file", "genre", "confidence", "duration", "short")}
    error = result.get("error", {})
    row |= {"error": error.get("code"), "message": error.get("message"), "leaking": None}
    if "model" in result:
        row["leaking"] = result["model"].get("leaking", False)
    probabilities = result.get("probabilities", {})
    return row | {f"p_{label}": probabilities.get(label) for label in labels}


@contextmanager
def _csv(path: Path, labels: tuple[str, ...]) -> Iterator[Write]:
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.DictWriter(file, list(flatten({}, labels)), lineterminator="\n")
        writer.writeheader()
        yield lambda result: writer.writerow(flatten(result, labels))


@contextmanager
def _jsonl(path: Path, labels: tuple[str, ...]) -> Iterator[Write]:
    with path.open("w", encoding="utf-8") as file:
        yield lambda result: print(_json(result), file=file)


def _json(result: dict) -> str:
    line = json.dumps(result, ensure_ascii=False)
    try:
        line.encode()
    except UnicodeEncodeError:  # the name of a file that is no UTF-8
        line = json.dumps(result)
    return line


@contextmanager
def _parquet(path: Path, labels: tuple[str, ...]) -> Iterator[Write]:
    pa, pq = _pyarrow(path)
    types = {"confidence": pa.float64(), "duration": pa.float64(), "short": pa.bool_(), "leaking": pa.bool_()}
    schema = pa.schema(
        [
            (name, pa.float64() if name.startswith("p_") else types.get(name, pa.string()))
            for name in flatten({}, labels)
        ]
    )
    rows: list[dict] = []

    with pq.ParquetWriter(path, schema) as writer:

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(rows, schema))
            rows.clear()

        def write(result: dict) -> None:
            rows.append({name: _text(value) for name, value in flatten(result, labels).items()})
            if len(rows) >= ROW_GROUP:
                flush()

        yield write
        flush()


def _text(value: object) -> object:
    """Text as UTF-8 has it: the name of a file may be other bytes."""
    return value.encode(errors="surrogateescape").decode(errors="replace") if isinstance(value, str) else value


def _pyarrow(path: Path) -> tuple:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ParameterError(f"{path.name} needs pyarrow: `pip install pyarrow`, or write .csv or .jsonl.") from None
    return pyarrow, pyarrow.parquet


WRITERS = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
