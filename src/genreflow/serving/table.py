"""The results of a batch as a CSV, JSON Lines or Parquet file."""

import csv
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from genreflow.errors import ParameterError

# Rows that are held before they are written to a Parquet file.
ROW_GROUP = 1000

Write = Callable[[dict], None]


@contextmanager
def open_table(output: Path | None, *, labels: tuple[str, ...]) -> Iterator[Write]:
    """Open a table for the results of `genreflow.serving.batch.iter_results`.

    Parameters
    ----------
    output : Path or None
        ``.csv`` and ``.parquet`` have the columns file, genre, confidence, duration (s), short, error, message and
        ``p_<genre>`` for each genre; ``.jsonl`` has the results as they are. It takes the place of what stood there
        when the block ends, and does not when it fails. None writes nothing.
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
    if output is None:
        yield lambda result: None
        return
    output = Path(output)
    suffix = output.suffix.lower()
    if suffix not in WRITERS:
        raise ParameterError(f"{output} ends in {suffix or 'no suffix'}; one of {', '.join(WRITERS)} is right.")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as folder:
        temporary = Path(folder, output.name)
        with WRITERS[suffix](temporary, labels) as write:
            yield write
        os.replace(temporary, output)


def flatten(result: dict, labels: tuple[str, ...]) -> dict:
    """A result as one flat row; what it lacks is None."""
    row = {name: result.get(name) for name in ("file", "genre", "confidence", "duration", "short")}
    error = result.get("error", {})
    row |= {"error": error.get("code"), "message": error.get("message")}
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
    with path.open("w", encoding="utf-8", errors="surrogateescape") as file:
        yield lambda result: print(json.dumps(result, ensure_ascii=False), file=file)


@contextmanager
def _parquet(path: Path, labels: tuple[str, ...]) -> Iterator[Write]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ParameterError(f"{path.name} needs pyarrow: `pip install pyarrow`, or write .csv or .jsonl.") from None
    types = {"confidence": pa.float64(), "duration": pa.float64(), "short": pa.bool_()}
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
            rows.append(flatten(result, labels))
            if len(rows) >= ROW_GROUP:
                flush()

        yield write
        flush()


WRITERS = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
