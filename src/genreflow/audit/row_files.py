"""Temporary files of rows, which are written in several pieces and read once."""

from pathlib import Path

import numpy as np


def append_rows(stem: Path, rows: np.ndarray, numbers: np.ndarray) -> None:
    """Append each row to the file of its number.

    Parameters
    ----------
    stem : Path
        Of all files; the number is appended to its name.
    rows : np.ndarray [shape=(n,)]
    numbers : np.ndarray [shape=(n,), dtype=int, non-negative]

    Raises
    ------
    OSError
        They cannot be written.
    """
    order = np.argsort(numbers, kind="stable")
    rows, bounds = rows[order], np.cumsum([0, *np.bincount(numbers.astype(np.intp))])
    for number in np.flatnonzero(np.diff(bounds)):
        with stem.with_name(f"{stem.name}{number}").open("ab") as file:
            # Not `tofile`, whose error of a full disk has no number.
            file.write(rows[bounds[number] : bounds[number + 1]].tobytes())


def take_rows(file: Path, dtype: np.dtype) -> np.ndarray:
    """Return all rows of a file and delete it; none if it does not exist.

    Parameters
    ----------
    file : Path
    dtype : np.dtype
        That the rows had when they were appended.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=dtype]
    """
    if not file.exists():
        return np.empty(0, dtype)
    rows = np.fromfile(file, dtype)
    file.unlink()
    return rows
