"""Import of files into the project: atomic, and independent of the user's own files."""

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genreflow.errors import ParameterError
from genreflow.files import atomic_directory, atomic_file, remove_leftovers

_FICLONE = 0x40049409  # linux/fs.h: share the extents of another file, copy on write


def file_signature(file: Path) -> tuple[int, int]:
    """Return size [bytes] and modification time [ns] of a file; if both are equal, it is unchanged, as in rsync."""
    facts = file.stat()
    return facts.st_size, facts.st_mtime_ns


def import_file(original: Path, copy: Path, *, previous: Path | None = None) -> bool:
    """Import a file at the lowest cost that leaves `original` independent of the copy.

    Parameters
    ----------
    original : Path
        The user's file; symbolic links are followed.
    copy : Path
        Target; must not exist. Its folder is created.
    previous : Path or None
        Copy of the same, unchanged file that a previous ingest made.

    Returns
    -------
    bool
        Whether `previous` was reused.

    Raises
    ------
    OSError
        `original` cannot be read, or is not a regular file.
    """
    facts = original.stat()
    if not stat.S_ISREG(facts.st_mode):  # reading a named pipe would block
        raise OSError("not a regular file")
    copy.parent.mkdir(parents=True, exist_ok=True)
    if (
        previous is not None
        and not previous.is_symlink()
        and previous.is_file()
        and previous.stat().st_size == facts.st_size
    ):
        os.link(previous, copy)  # both belong to the project
        return True
    # Clone or copy, but never link to the user's file, hard or symbolic: DVC hard-links the raw data into its cache and
    # makes the files read-only, which would affect the user's own music through a link.
    if not _clone(original, copy):
        shutil.copyfile(original, copy)
    return False


def _clone(original: Path, copy: Path) -> bool:
    """Make `copy` share the blocks of `original` if the file system supports it (btrfs, XFS)."""
    with open(original, "rb") as source, open(copy, "wb") as target:
        try:
            fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
        except OSError:
            return False
    return True


@contextmanager
def atomic_import(folder: Path, file: Path) -> Iterator[tuple[Path, Path]]:
    """Write a folder and a file that replace `folder` and `file` together when the block ends.

    If the block raises, the previous ones stay as they are. A process that is killed while they are replaced may leave
    no `file`, but never a new folder with an old file.

    Yields
    ------
    folder, file : Path
        Where to write: an empty folder, and a path at which nothing exists.
    """
    folder, file = Path(folder).resolve(), Path(file)  # a folder that is a link to another disk stays there
    for target in (folder, file):
        remove_leftovers(target.parent, target.name)
    with atomic_file(file) as new_file, atomic_directory(folder) as new_folder:
        yield new_folder, new_file
        if not new_file.is_file():
            raise RuntimeError(f"{new_file} was not written")
        file.unlink(missing_ok=True)


def require_folder(path: Path, *, layout: str) -> Path:
    """Return `path` if it is a folder.

    Raises
    ------
    ParameterError
        It is not; `layout` describes what is expected.
    """
    path = Path(path)
    if not path.is_dir():
        found = "which is not a folder" if path.exists() else "which does not exist"
        raise ParameterError(f"data.path: must be a folder with {layout}; got {path}, {found}.")
    return path
