"""The files of a bundle, as bytes: ``bundle.json``, the hashes of the others, and what a damaged bundle raises.

The supervisor of the service verifies a bundle with this module alone: NumPy, which `genreflow.bundle` imports, would
take 7 MiB of it.
"""

import hashlib
import json
import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from genreflow.errors import GenreflowError, ParameterError
from genreflow.files import sha256

# Name of the service, and of a model that is not registered yet.
MODEL_NAME = "genre-classifier"

METADATA_FILE = "bundle.json"
ONNX_FILE, KERAS_FILE, FILTER_BANK_FILE = "model.onnx", "model.keras", "filters.npz"
PROTOTYPES_FILE, REFERENCE_FILE = "prototypes.npy", "reference.npz"
# Increase it when earlier code would misread a bundle that is written now, or when a field is added or removed.
FORMAT_VERSION = 3


class BundleError(GenreflowError):
    """A bundle that is missing, damaged, or of another format.

    Parameters
    ----------
    path : Path or str
        The file or directory at fault; a str if it is a URI.
    problem : str
        What it must be, and what it is.
    advice : str
        What to do.
    """

    def __init__(self, path: Path | str, problem: str, advice: str) -> None:
        super().__init__(f"{path}: {problem}; {advice}.")
        self.path, self.problem, self.advice = path, problem, advice

    def __reduce__(self) -> tuple[type["BundleError"], tuple[Path | str, str, str]]:
        return type(self), (self.path, self.problem, self.advice)


def write_metadata(directory: Path, metadata: dict[str, Any]) -> None:
    """Write the fields of a bundle as ``bundle.json``, with their checksum."""
    metadata = json.loads(to_json(metadata))  # as it will be read: keys are text, tuples are lists
    text = to_json(metadata | {"checksum": text_sha256(to_json(metadata))})
    (directory / METADATA_FILE).write_text(text, encoding="utf-8")


def read_metadata(path: Path) -> dict[str, Any]:
    """Return the fields of ``bundle.json`` without ``format`` and ``checksum``, which are verified."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        problem = f"must be a bundle; got no {METADATA_FILE}"
        raise BundleError(path.parent, problem, "`dvc repro` or `dvc pull` writes the champion") from None
    except OSError as error:
        raise damaged(path, "must be readable", describe(error)) from error
    try:
        metadata = json.loads(content)
        found = metadata["format"]
        checksum = metadata.pop("checksum", None)
        expected = text_sha256(to_json(metadata))
        # The bytes are compared, too: other bytes can be the same JSON, for example 1E-5 and 1e-5.
        intact = checksum == expected and content == to_json(metadata | {"checksum": expected}).encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(path, "must be a JSON object with a format", describe(error)) from error
    if found != FORMAT_VERSION and not isinstance(found, bool) and isinstance(found, int):
        raise BundleError(
            path,
            f"format must be {FORMAT_VERSION}; got {found}, of another version of genreflow",
            "use that version, or run `dvc repro`, which trains and packages again",
        )
    if not intact:
        raise damaged(path, "checksum must be that of its content", _shorten(checksum))
    del metadata["format"]
    return metadata


def text_sha256(text: str) -> str:
    """Return the SHA-256, in hex, of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def _shorten(value: object) -> str:
    return str(value)[:64]


def describe(error: Exception) -> str:
    """Return the type and the message of an exception, on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def to_json(metadata: dict[str, Any]) -> str:
    """Return JSON that is the same for equal fields; NaN and infinity become null."""
    return json.dumps(_finite(metadata), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: object) -> object:
    """Replace NaN and infinity by None: JSON has neither, and the metric of a genre without tracks may be NaN."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def verify_files(directory: Path) -> dict[str, Any]:
    """Compare the files of a bundle with their hashes, and return the fields of ``bundle.json``."""
    path = directory / METADATA_FILE
    metadata = read_metadata(path)
    with fields_required(path):
        names = [ONNX_FILE, FILTER_BANK_FILE]
        if metadata["familiarity"] is not None:
            names.append(PROTOTYPES_FILE)
        if REFERENCE_FILE in metadata["files"]:
            names.append(REFERENCE_FILE)
        if (directory / KERAS_FILE).exists():  # it may be left out: the service does not load it
            names.append(KERAS_FILE)
        for name in names:
            check_file(directory / name, metadata["files"].get(name))
    return metadata


@contextmanager
def fields_required(path: Path) -> Iterator[None]:
    """Raise a `BundleError` for ``bundle.json`` if the block does not find the fields and files that it needs."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, OSError, zipfile.BadZipFile, ParameterError) as error:
        raise damaged(path, "must hold the fields of a bundle", describe(error)) from error


def check_file(path: Path, expected: str | None) -> None:
    """Raise a `BundleError` unless a file is there and has the expected SHA-256."""
    if not path.is_file():
        raise damaged(path, "must be there", "no such file")
    if expected is None:
        raise damaged(path, f"must have a SHA-256 in {METADATA_FILE}", "none")
    found = sha256(path)
    if found != expected:
        raise damaged(path, f"SHA-256 must be {expected}", found)


def damaged(path: Path, expected: str, found: str) -> BundleError:
    """Return the exception for a damaged file: what it must be, and what it is."""
    problem = f"{expected}; got {found.rstrip('.')}: the bundle is damaged"
    return BundleError(path, problem, "`dvc repro` restores it, or `dvc checkout --force` from DVC's cache")
