"""Unpack archives of published datasets, atomically, and never outside of the target folder."""

import os
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from genreflow.datasets.download import check_disk_space
from genreflow.errors import ParameterError
from genreflow.files import temporary_path

_CHUNK = 1 << 18  # bytes


def unpack(archive: Path, target: Path, *, member: str | None = None, progress: bool) -> Path:
    """Unpack a zip or tar archive atomically.

    Parameters
    ----------
    archive : Path
        Zip, or tar with any compression that `tarfile` supports.
    target : Path
        Folder to create; must not exist, or be empty.
    member : str or None
        Folder in the archive that becomes `target`; None unpacks everything.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    target : Path

    Raises
    ------
    ParameterError
        The archive is damaged, has a member outside of the target, or does not have `member`; there is not enough disk
        space; or `target` is not empty.
    """
    archive, target = Path(archive), Path(target)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ParameterError(f"{target}: must be empty or not exist, to unpack {archive.name} there. Move it away.")
    with temporary_path(target) as unpacked:
        try:
            unpacked.mkdir()
            (_unzip if zipfile.is_zipfile(archive) else _untar)(archive, unpacked, progress)
        except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise ParameterError(f"{target.parent}: must be writable; got {error.strerror}.") from None
            # OSError without errno: damaged gzip or bzip2 data. RuntimeError: encrypted, or unsupported by zipfile.
            raise ParameterError(f"{archive}: must be an intact archive; got {error}. Download it again.") from None
        folder = unpacked / member if member else unpacked
        if not folder.is_dir():
            raise ParameterError(f"{archive}: must hold the folder {member}. Download it again.")
        os.replace(folder, target)
    return target


def _unzip(archive: Path, folder: Path, progress: bool) -> None:
    with zipfile.ZipFile(archive) as content:
        members = content.infolist()
        check_disk_space(sum(member.file_size for member in members), folder, what=f"the content of {archive}")
        for member in tqdm(members, desc=f"unpack {archive.name}", unit="file", disable=not progress):
            # zipfile would write such a member elsewhere inside the folder; the archive is not trustworthy.
            path = PurePosixPath(member.filename.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts:
                raise zipfile.BadZipFile(f"the member {member.filename!r} outside of the folder")
            content.extract(member, folder)


def _untar(archive: Path, folder: Path, progress: bool) -> None:
    with tarfile.open(archive) as content:
        for member in tqdm(content, desc=f"unpack {archive.name}", unit="file", disable=not progress):
            content.extract(member, folder, filter="data")  # refuses members and links outside, and devices
        stream = content.fileobj
        while stream is not None and stream.read(_CHUNK):  # to the end of the compressed stream, where its CRC is
            pass
