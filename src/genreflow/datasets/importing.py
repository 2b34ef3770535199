"""Bringing files into the project: never half-written, never tied to the user's own files."""

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genreflow.errors import ParameterError

_FICLONE = 0x40049409  # linux/fs.h: share the extents of another file, to be copied when either is written


def fingerprint(file: Path) -> tuple[int, int]:
    """Size [bytes] and time of change [ns] of a file: as long as both stay, it has not changed, as rsync decides."""
    facts = file.stat()
    return facts.st_size, facts.st_mtime_ns


def bring(original: Path, copy: Path, *, earlier: Path | None = None) -> bool:
    """Bring a file into the project, at the least cost that leaves `original` alone.

    Parameters
    ----------
    original : Path
        The user's file; symbolic links are followed.
    copy : Path
        Where it is wanted; must not exist, its folder is made.
    earlier : Path or None
        What an earlier run brought for the same file, where that has not changed since.

    Returns
    -------
    bool
        True if `earlier` is there and was taken.
    """
    facts = original.stat()
    if not stat.S_ISREG(facts.st_mode):  # a pipe would be waited for without end
        raise OSError("not a regular file")
    copy.parent.mkdir(parents=True, exist_ok=True)
    if (
        earlier is not None
        and not earlier.is_symlink()
        and earlier.is_file()
        and earlier.stat().st_size == facts.st_size
    ):
        os.link(earlier, copy)  # both names are ours
        return True
    # Clone or copy, but never link to the user's file, hard or symbolic: DVC hard-links the folder of raw data into its
    # cache and makes the files read-only, and with a link that would be the user's own music.
    if not _clone(original, copy):
        shutil.copyfile(original, copy)
    return False


def _clone(original: Path, copy: Path) -> bool:
    """Let `copy` share the blocks of `original` where the file system can (btrfs, XFS, ...)."""
    with open(original, "rb") as source, open(copy, "wb") as target:
        try:
            fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
        except OSError:
            return False
    return True


@contextmanager
def replaced_together(folder: Path, file: Path) -> Iterator[tuple[Path, Path]]:
    """Give a folder and a file to write into that take the place of `folder` and `file` when the block succeeds.

    If the block raises, the previous ones stay as they are. A process killed between the renames leaves no `file`,
    never a new folder beside an old file; the next run mends it.
    """
    folder = Path(folder).resolve()  # a folder of raw data that is a link to a larger disk stays there
    file = Path(file)
    partial, previous = (folder.with_name(f".{folder.name}.{role}") for role in ("partial", "previous"))
    partial_file = file.with_name(f".{file.name}.partial")
    if previous.exists() and not folder.exists():
        os.rename(previous, folder)
    for leftover in (partial, previous):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir(parents=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial, partial_file
        if not partial_file.is_file():
            raise RuntimeError(f"{partial_file} was not written")
        file.unlink(missing_ok=True)
        if folder.exists():
            os.rename(folder, previous)
        os.rename(partial, folder)
        os.replace(partial_file, file)
    finally:
        partial_file.unlink(missing_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(previous, ignore_errors=True)


def existing_folder(path: Path, *, layout: str) -> Path:
    """Return `path` if it is a folder that can be read.

    Raises
    ------
    ParameterError
        If it is not; `layout` is what the message says is expected there.
    """
    path = Path(path)
    if not path.exists():
        raise ParameterError(f"data.path names {path}, which does not exist; expected is {layout}.")
    if not path.is_dir():
        raise ParameterError(f"data.path names {path}, which is not a folder; expected is {layout}.")
    return path
