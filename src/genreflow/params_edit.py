"""Changes to params.yaml that keep its comments and layout."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from genreflow.errors import ParameterError
from genreflow.files import atomic_file
from genreflow.params import PARAMS_FILE, parse_sections, read_params_text, yaml_type
from genreflow.yaml_files import replace_values


def use_source(
    source: str,
    data_path: str,
    *,
    tracks: str | None = None,
    registered_model: str | None = None,
    path: Path = PARAMS_FILE,
) -> str | None:
    """Write another source to the section `data` of params.yaml, atomically; comments and layout stay as they are.

    Parameters
    ----------
    source : str
        A name in `genreflow.datasets.sources.SOURCES`, apart from ``combination``.
    data_path : str
        Folder or file, absolute or relative to the project.
    tracks : str, optional
        The table of tracks; by default the one that is there stays.
    registered_model : str, optional
        The value of `gate.registered_model`, if that is in the file. It is not written if source and path are those
        that are there.
    path : Path

    Returns
    -------
    str or None
        The value of `gate.registered_model`.

    Raises
    ------
    ParameterError
        As `genreflow.params.load_params`, or the file has no such section, or cannot be written.
    """
    _, content = _read(path, ["data"])
    section = content["data"]
    # A selection of genres, a subset or a combination belongs to the source that was there before.
    values: dict[str, Any] = {"source": source, "path": data_path, "genres": [], "subset": None, "sources": []}
    if tracks is not None:
        values["tracks"] = tracks
    gate = content.get("gate")
    gate = gate if isinstance(gate, dict) and "registered_model" in gate else {}
    if gate and (section.get("source"), section.get("path")) != (source, data_path):
        gate = {"registered_model": registered_model}
        write_values({"data": values, "gate": gate}, path=path)
    else:
        write_values({"data": values}, path=path)
    return gate.get("registered_model")


def write_values(sections: Mapping[str, Mapping[str, Any]], *, path: Path = PARAMS_FILE) -> None:
    """Write other values to params.yaml, atomically; comments and layout stay as they are.

    Parameters
    ----------
    sections : mapping of str to mapping
        By section, new values by key: str, None, or an empty list.
    path : Path

    Raises
    ------
    ParameterError
        As `genreflow.params.load_params`, or the file has no such section, or cannot be written.
    """
    text, _ = _read(path, sections)
    try:
        for section, values in sections.items():
            text = replace_values(text, section, values)
        target = path.resolve()  # of a link, so that it stays one
        with atomic_file(target) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="")
            shutil.copymode(target, temporary)
    except ValueError as error:
        raise ParameterError(f"{path} must be a file whose lines can be changed one by one; got {error}.") from None
    except OSError as error:
        raise ParameterError(f"{path} must be writable; got {error.strerror or error}.") from None


def _read(path: Path, sections: Iterable[str]) -> tuple[str, dict]:
    """Return the text of params.yaml and what it holds, with the given sections as mappings."""
    text = read_params_text(path)
    content = parse_sections(text, path)
    for section in sections:
        if not isinstance(content.get(section), dict):
            raise ParameterError(f"{path}: {section} must be a mapping; got {yaml_type(content.get(section))}.")
    return text, content
