"""The published archive of GTZAN: what mirdata knows of it, its download, and which files are not as in it."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from joblib import Parallel, delayed

from genreflow.datasets.download import checksum_of, extract, fetch
from genreflow.errors import ParameterError

_INSIDE = "genres"  # the folder in the archive that holds those of the genres


@dataclass(frozen=True)
class RemoteFile:
    """A published file: its name, its URL, and its checksum as ``md5:<hex>``."""

    name: str
    url: str
    checksum: str


@dataclass(frozen=True, kw_only=True)
class Archive:
    """Where GTZAN is published.

    Parameters
    ----------
    music : RemoteFile
        The archive, whose folder ``genres`` holds the files.
    index : RemoteFile
        JSON of mirdata with the MD5 of each file.
    known_index : Path
        Where mirdata keeps the index once it has fetched it.
    """

    music: RemoteFile
    index: RemoteFile
    known_index: Path

    @classmethod
    def of_mirdata(cls) -> "Archive":
        """Return what mirdata's loader ``gtzan_genre`` says."""
        from mirdata.datasets import gtzan_genre as loader  # imports librosa: seconds

        music, index = loader.REMOTES["all"], loader.INDEXES[loader.INDEXES["default"]]
        return cls(
            music=RemoteFile(music.filename, music.url, f"md5:{music.checksum}"),
            index=RemoteFile(index.remote.filename, index.remote.url, f"md5:{index.remote.checksum}"),
            known_index=Path(index.get_path()),
        )


def download(archive: Archive, folder: Path, *, progress: bool = True) -> None:
    """Bring the music as ``<folder>/genres``, and the index beside it.

    What has arrived is kept, so that the next run continues; the archive is deleted once it is unpacked whole.

    Raises
    ------
    ParameterError
        Without network, for a wrong checksum, without room: the message says what to fetch and where to put it.
    """
    music = fetch(archive.music.url, folder / archive.music.name, checksum=archive.music.checksum, progress=progress)
    extract(music, folder / _INSIDE, inside=_INSIDE, progress=progress)
    music.unlink()
    with contextlib.suppress(ParameterError):  # only to compare with: the music is usable without
        fetch(archive.index.url, folder / archive.index.name, checksum=archive.index.checksum, progress=progress)


def published_checksums(archive: Archive, folder: Path) -> Mapping[str, str]:
    """Return the checksum of each published file by its name, from the index in `folder` or mirdata's own.

    Empty where there is no index.

    Raises
    ------
    ParameterError
        The index cannot be read.
    """
    path = next((path for path in (folder / archive.index.name, archive.known_index) if path.is_file()), None)
    if path is None:
        return {}
    try:
        files = [track["audio"] for track in json.loads(path.read_text("utf-8"))["tracks"].values()]
        return {Path(name).name: f"md5:{digest}" for name, digest in files}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ParameterError(f"{path} is not mirdata's index; delete it, or fetch {archive.index.url}.") from None


def differing(files: Sequence[Path], checksums: Mapping[str, str], *, n_jobs: int = -1) -> list[str]:
    """Return the names of those `files` that `checksums` names and that are not as published."""

    def differs(file: Path) -> bool:
        try:
            return checksum_of(file, like="md5:") != checksums[file.name]
        except OSError:  # reported with its reason when it is decoded
            return True

    named = [file for file in files if file.name in checksums]
    # Threads do, since hashing leaves Python's lock.
    found = Parallel(n_jobs=n_jobs, prefer="threads")(delayed(differs)(file) for file in named)
    return [file.name for file, other in zip(named, found, strict=True) if other]
