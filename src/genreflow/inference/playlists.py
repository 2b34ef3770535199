"""Playlists of classified files: one extended M3U file in UTF-8 (``.m3u8``) per genre."""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genreflow.errors import ParameterError
from genreflow.file_names import one_line, utf8_name
from genreflow.files import remove_leftovers, write_text

HEAD = "#EXTM3U"
# Second line of a playlist that this module wrote, and the hash of all lines after it.
_MARK = "# Written by genreflow classify --playlists; sha256 of the following lines: "
# Longest file name without its suffix [B]: file systems allow 255, of which a temporary name needs some.
_NAME_BYTES = 200
# Characters that some file system does not allow in a name.
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')


class Playlists:
    """Collects results of `genreflow.inference.batch.iter_results`, and writes one playlist per genre.

    Parameters
    ----------
    folder : Path
        Made where it does not exist.
    labels : sequence of str
        The genres.

    Attributes
    ----------
    left_out : list of str
        Files with a genre that no playlist can name: their paths have a line break, or are not UTF-8.

    Raises
    ------
    ParameterError
        A file with the name of a playlist is there that `write` did not write, or that was changed since.
    """

    def __init__(self, folder: Path, labels: Sequence[str]) -> None:
        self.left_out: list[str] = []
        self._folder = Path(os.path.realpath(folder))
        self._tracks: dict[str, list[str]] = {label: [] for label in labels}
        self._paths = {label: folder / name for label, name in playlist_names(labels).items()}
        for path in self._paths.values():
            _require_own(path)

    def add(self, result: dict[str, Any]) -> None:
        """Add a file to the playlist of its genre; one without a genre is ignored."""
        if result.get("genre") is None:
            return
        path = _relative(Path(result["file"]), self._folder)
        if "\n" in path or "\r" in path or utf8_name(path) != path:
            self.left_out.append(result["file"])
            return
        title = one_line(Path(result["file"]).stem)
        self._tracks[result["genre"]].append(f"#EXTINF:{round(result['duration'])},{title}\n{path}\n")

    def write(self) -> dict[Path, int]:
        """Write the playlists of the genres that have tracks, and replace earlier ones of genres that have none.

        Returns
        -------
        dict of Path to int
            The number of tracks of each playlist that was written.
        """
        written = {}
        for label, path in self._paths.items():
            tracks = self._tracks[label]
            if tracks or path.exists():
                _require_own(path)
                remove_leftovers(path.parent, path.name)
                text = f"#PLAYLIST:{one_line(label)}\n{''.join(tracks)}"
                write_text(path, f"{HEAD}\n{_MARK}{_hash(text)}\n{text}")
                written[path] = len(tracks)
        return written


def playlist_names(labels: Sequence[str]) -> dict[str, str]:
    """Return a file name for the playlist of each genre, unique also where case does not matter."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for label in labels:
        name = _FORBIDDEN.sub("_", utf8_name(label)).strip(" .") or "genre"
        name = stem = name.encode()[:_NAME_BYTES].decode(errors="ignore")
        number = 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem} ({number})"
        taken.add(name.casefold())
        names[label] = f"{name}.m3u8"
    return names


def _relative(file: Path, folder: Path) -> str:
    """Return the path of a file as seen from a folder without symbolic links; absolute on another drive."""
    # Links to folders are followed, since `..` after one is not the folder that holds the link.
    absolute = os.path.join(os.path.realpath(file.parent), file.name)
    try:
        path = os.path.relpath(absolute, folder)
    except ValueError:
        return absolute
    # Otherwise it could be a comment or a URL.
    return f"./{path}" if path[0] in "# \t" or ":" in path.split("/")[0] else path


def _require_own(path: Path) -> None:
    """Raise ParameterError if a file is there that is not a playlist as `Playlists` wrote it."""
    if not os.path.lexists(path):
        return
    try:
        head, mark, text = path.read_bytes().decode().split("\n", 2)
    except (OSError, ValueError):
        head, mark, text = "", "", ""
    if (head, mark) != (HEAD, _MARK + _hash(text)):
        raise ParameterError(
            f"{path}: must be a playlist as genreflow wrote it; got another file, or one that was changed since; move "
            "it, or choose another folder."
        )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
