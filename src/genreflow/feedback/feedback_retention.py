"""Expiry of records of predictions, by age and by the size of all of them."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from genreflow.feedback.feedback_records import CLAIM_SUFFIX, FeedbackRecords

# Share of the size limit that is used after records were removed, so that this is not done after every one.
_SHARE_LEFT = 0.9


@dataclass(frozen=True)
class Retention:
    """How long and how much is kept.

    Parameters
    ----------
    days : int > 0
    max_bytes : int > 0
        Size of all files, as the disk counts it.
    """

    days: int
    max_bytes: int


@dataclass
class _Files:
    """All files about one prediction."""

    paths: list[Path] = field(default_factory=list)
    size: int = 0
    modified: float = 0.0
    claimed: bool = False


def expire(folder: Path, retention: Retention, *, today: date | None = None) -> int:
    """Remove the records of days that are over, and the oldest ones while all are too large.

    No record is kept for longer than `retention.days` days, with its claim and its audio. If all are too large, those
    without a claim are removed first. Another process that does the same at the moment is left to it.

    Parameters
    ----------
    folder : Path
        See `FeedbackRecords`.
    retention : Retention
    today : date, optional
        In UTC; by default the current one.

    Returns
    -------
    int
        Number of bytes that are left; 0 if another process removes records.

    Raises
    ------
    OSError
        The folder cannot be read or written.
    """
    with _locked(folder) as locked:
        if not locked:
            return 0
        days = FeedbackRecords(folder).days()
        for day in days:
            if ((today or datetime.now(UTC).date()) - date.fromisoformat(day.name)).days >= retention.days:
                shutil.rmtree(day, ignore_errors=True)
        return _shrink(days, retention.max_bytes)


def _shrink(days: list[Path], max_bytes: int) -> int:
    found: dict[str, _Files] = {}
    for day in days:
        for path, facts in _scan(day):
            files = found.setdefault(path.name.split(".")[0], _Files())
            files.paths.append(path)
            files.size += facts.st_blocks * 512
            files.modified = max(files.modified, facts.st_mtime)
            files.claimed |= path.name.endswith(CLAIM_SUFFIX)
    total = sum(files.size for files in found.values())
    if total <= max_bytes:
        return total
    for files in sorted(found.values(), key=lambda files: (files.claimed, files.modified)):
        for path in files.paths:
            path.unlink(missing_ok=True)
        total -= files.size
        if total <= _SHARE_LEFT * max_bytes:
            break
    return total


def _scan(day: Path) -> Iterator[tuple[Path, os.stat_result]]:
    try:
        with os.scandir(day) as entries:
            for entry in entries:
                try:
                    yield Path(entry.path), entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # removed by `genreflow feedback delete`
                    continue
    except FileNotFoundError:
        return


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Lock a folder, which is made where it does not exist; False if another process has locked it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
