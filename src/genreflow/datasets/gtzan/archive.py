"""The published archive of GTZAN: its download, and the comparison of a copy with the published checksums."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from joblib import Parallel, delayed

from genreflow.datasets.download import checksum_of, download_file
from genreflow.datasets.unpack import unpack
from genreflow.errors import ParameterError
from genreflow.files import read_json, require_regular

_MEMBER = "genres"  # folder in the archive that holds those of the genres


@dataclass(frozen=True)
class RemoteFile:
    """A published file: its name, its URL, and its checksum, ``md5:<hex>``."""

    name: str
    url: str
    checksum: str


@dataclass(frozen=True, kw_only=True)
class Archive:
    """Where GTZAN is published.

    Parameters
    ----------
    music : RemoteFile
        Archive with the folder ``genres``.
    index : RemoteFile
        mirdata's JSON index with the MD5 of each file.
    mirdata_index : Path
        Where mirdata stores the index after downloading it.
    """

    music: RemoteFile
    index: RemoteFile
    mirdata_index: Path

    @classmethod
    def from_mirdata(cls) -> "Archive":
        """Return the archive according to mirdata's loader ``gtzan_genre``."""
        from mirdata.datasets import gtzan_genre as loader  # imports librosa, which takes seconds

        music, index = loader.REMOTES["all"], loader.INDEXES[loader.INDEXES["default"]]
        return cls(
            music=RemoteFile(music.filename, music.url, f"md5:{music.checksum}"),
            index=RemoteFile(index.remote.filename, index.remote.url, f"md5:{index.remote.checksum}"),
            mirdata_index=Path(index.get_path()),
        )


def download(archive: Archive, folder: Path, *, progress: bool) -> None:
    """Download the music to ``<folder>/genres``, and the index beside it.

    An interrupted download is resumed by the next call; the archive is removed after unpacking.

    Raises
    ------
    ParameterError
        See `download_file` and `unpack`. A missing index is not an error.
    """
    music = download_file(
        archive.music.url, folder / archive.music.name, checksum=archive.music.checksum, progress=progress
    )
    unpack(music, folder / _MEMBER, member=_MEMBER, progress=progress)
    music.unlink()
    with contextlib.suppress(ParameterError):
        download_file(
            archive.index.url, folder / archive.index.name, checksum=archive.index.checksum, progress=progress
        )


def published_checksums(archive: Archive, folder: Path) -> Mapping[str, str]:
    """Return the published checksums by file name, from the index in `folder` or mirdata's own; empty without index.

    Raises
    ------
    ParameterError
        The index is invalid.
    """
    path = next((path for path in (folder / archive.index.name, archive.mirdata_index) if path.is_file()), None)
    if path is None:
        return {}
    try:
        files = [track["audio"] for track in read_json(path)["tracks"].values()]
        return {Path(name).name: f"md5:{digest}" for name, digest in files}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ParameterError(
            f"{path}: must be mirdata's index of GTZAN. Delete it, or download {archive.index.url}."
        ) from None


def mismatching_files(files: Sequence[Path], checksums: Mapping[str, str], *, n_jobs: int) -> list[str]:
    """Return the names of the files whose checksum differs from that in `checksums`."""

    def mismatches(file: Path) -> bool:
        try:
            require_regular(file)
            return checksum_of(file, like="md5:") != checksums[file.name]
        except OSError:  # reported when the file is decoded
            return True

    listed = [file for file in files if file.name in checksums]
    # Threads: hashing releases the GIL.
    results = Parallel(n_jobs=n_jobs, prefer="threads")(delayed(mismatches)(file) for file in listed)
    return [file.name for file, mismatch in zip(listed, results, strict=True) if mismatch]
