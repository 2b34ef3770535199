"""Unpack archives of published datasets, atomically, and never outside of the target folder."""

import os
import posixpath
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from genreflow.datasets.download import check_disk_space
from genreflow.errors import ParameterError
from genreflow.files import is_resource_error, temporary_path

# Python before 3.11.4, which Debian 12 has, knows no filters; the checks here do not depend on them.
_FILTER: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
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
            if zipfile.is_zipfile(archive):
                _unzip(archive, unpacked, progress)
            else:
                _untar(archive, unpacked, member, progress)
        except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError, OSError) as error:
            if isinstance(error, OSError) and (is_resource_error(error) or isinstance(error, PermissionError)):
                raise ParameterError(f"{target.parent}: must be writable; got {error.strerror}.") from None
            # OSError: damaged gzip data, or a name that no file can have. RuntimeError: encrypted, for example.
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
            _check_name(member.filename.replace("\\", "/"))
            # zipfile would write the target of a link, or an empty file for a device.
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise zipfile.BadZipFile(f"{member.filename!r}, which is neither a file nor a folder")
            content.extract(member, folder)


def _check_name(name: str) -> None:
    """Refuse a member outside of the folder: zipfile and tarfile would write it elsewhere inside."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise tarfile.ReadError(f"the member {name!r} outside of the folder")


def _check_link(member: tarfile.TarInfo, folder: str) -> None:
    """Refuse a link that leaves `folder`, which alone will be left of the archive."""
    start = "" if member.islnk() else posixpath.dirname(member.name)
    target = PurePosixPath(posixpath.normpath(posixpath.join(start, member.linkname)))
    if target.is_absolute() or ".." in target.parts or not target.is_relative_to(folder):
        raise tarfile.ReadError(f"the member {member.name!r}, a link out of the folder")


def _untar(archive: Path, folder: Path, kept: str | None, progress: bool) -> None:
    links: set[PurePosixPath] = set()
    with tarfile.open(archive) as content:
        for member in tqdm(content, desc=f"unpack {archive.name}", unit="file", disable=not progress):
            _check_name(member.name)
            if not links.isdisjoint(PurePosixPath(member.name).parents):
                raise tarfile.ReadError(f"the member {member.name!r} below a link")
            if member.islnk() or member.issym():
                _check_link(member, kept or ".")
                links.add(PurePosixPath(member.name))
            if not (member.isreg() or member.isdir() or member.islnk() or member.issym()):
                raise tarfile.ReadError(f"the member {member.name!r}, a device")
            content.extract(member, folder, set_attrs=False, **_FILTER)
        stream = content.fileobj
        while stream is not None and stream.read(_CHUNK):  # to the end of the compressed stream, where its CRC is
            pass
