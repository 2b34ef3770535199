"""Fetching published datasets: a download that is checked and continues where it stopped, and archives unpacked whole.

pooch and mirdata check what they download but start over when the connection breaks, which decides nothing for a
megabyte and everything for FMA's archives of 7 to 879 GiB. So requests does the transfer here.
"""

import errno
import hashlib
import os
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from genreflow.errors import ParameterError

_CHUNK = 1 << 18  # bytes; what is lost of a transfer that breaks
_TIMEOUT = (10, 60)  # s to connect, s between two arrivals
_BACKOFF = 0.5  # s; doubled from one attempt to connect to the next
_FRUITLESS = 3  # broken transfers in a row that brought nothing new


def fetch(url: str, target: Path, *, checksum: str, size: int | None = None, progress: bool = True) -> Path:
    """Download a file, unless it is there.

    What has arrived is kept in ``<target>.part``: a broken download, or the next run, continues from there where the
    server knows byte ranges (RFC 9110, section 14), and starts over where it does not.

    Parameters
    ----------
    url : str
        ``http://`` or ``https://``; proxies are those of the environment.
    target : Path
        Where the file is wanted; it appears there only when it is whole and its checksum right.
    checksum : str
        ``md5:<hex>``, ``sha1:<hex>`` or ``sha256:<hex>``.
    size : int > 0 [bytes] or None
        As published; None takes what the server says.
    progress : bool
        Show a bar on stderr.

    Returns
    -------
    target : Path

    Raises
    ------
    ParameterError
        Without network, with too little room on the disk, when the server refuses, or when the checksum is another:
        the message says what to fetch and where to put it. A file at `target` is never replaced.
    """
    target = Path(target)
    if target.exists():
        found = checksum_of(target, like=checksum, progress=progress)
        if found == checksum:
            return target
        raise ParameterError(
            f"{target} is there, but its checksum is {found}, not {checksum}; move it away to have it fetched from "
            f"{url}."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    while True:
        continued = part.exists()
        try:
            _receive(url, part, size, progress)
        except _Broken as error:
            kept = f" What has arrived is kept in {part.name}, and the next run continues." if part.exists() else ""
            raise ParameterError(
                f"{url} cannot be fetched: {error}. Fetch it by another way ({checksum}), put it at {target}, and run "
                f"this again.{kept}"
            ) from None
        found = checksum_of(part, like=checksum, progress=progress)
        if found == checksum:
            os.replace(part, target)
            return target
        length = part.stat().st_size
        part.unlink()
        if not continued:  # else what an earlier run left may have been of another file
            raise ParameterError(
                f"{url} gives {length} bytes with the checksum {found}, not {checksum}, so it is not the published "
                f"file. Put that at {target}, and run this again."
            )


def checksum_of(file: Path, *, like: str, progress: bool = False) -> str:
    """Return the checksum of a file, written as `like` is: ``<md5|sha1|sha256>:<hex>``."""
    algorithm = like.partition(":")[0]
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open(file, "rb") as stream, _bar(f"check {file.name}", os.path.getsize(file), progress) as bar:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
            bar.update(len(chunk))
    return f"{algorithm}:{digest.hexdigest()}"


def extract(archive: Path, into: Path, *, inside: str | None = None, progress: bool = True) -> Path:
    """Unpack a zip or tar archive as the folder `into`: whole, or not at all.

    Parameters
    ----------
    archive : Path
        Zip, or tar compressed in any way that `tarfile` knows.
    into : Path
        The folder to make; must not exist, or be empty.
    inside : str or None
        The folder in the archive that becomes `into`; None takes all that it holds.
    progress : bool
        Show a bar on stderr.

    Returns
    -------
    into : Path

    Raises
    ------
    ParameterError
        The archive is damaged, holds a member that would be written outside of `into`, or does not hold `inside`; the
        disk is too small; or `into` holds something.
    """
    archive, into = Path(archive), Path(into)
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise ParameterError(f"{into} is in the way of what {archive} holds; move it away.")
    into.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{into.name}-", dir=into.parent) as temporary:
        unpacked = Path(temporary, "unpacked")
        unpacked.mkdir()
        try:
            (_unzip if zipfile.is_zipfile(archive) else _untar)(archive, unpacked, progress)
        except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError) as error:
            # RuntimeError: encrypted, or compressed in a way that zipfile does not know.
            raise ParameterError(f"{archive} cannot be unpacked: {error}; fetch it again.") from None
        except OSError as error:
            raise ParameterError(f"{archive} cannot be unpacked to {into.parent}: {error.strerror or error}.") from None
        wanted = unpacked / inside if inside else unpacked
        if not wanted.is_dir():
            raise ParameterError(f"{archive} holds no folder {inside}; fetch it again, or give the right archive.")
        os.replace(wanted, into)
    return into


class _Broken(Exception):
    """Why a download cannot go on."""


class _Cut(Exception):
    """The connection ended before the transfer did."""


def _receive(url: str, part: Path, size: int | None, progress: bool) -> None:
    """Bring `part` to its end; a transfer that breaks is continued as long as something new arrives."""
    import requests  # 0.2 s that only a download should cost
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    # Connecting, and answers that a busy server gives for a while; what breaks after that is the loop's business.
    retry = Retry(total=4, backoff_factor=_BACKOFF, status_forcelist=(429, 500, 502, 503, 504), raise_on_status=False)
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retry))
        furthest, fruitless = 0, 0
        while True:
            begun = part.stat().st_size if part.exists() else 0
            if size is not None and begun >= size:
                return  # whole, or too long: the checksum tells
            try:
                _transfer(session, url, part, begun, size, progress)
                return
            except _Cut as error:
                arrived = part.stat().st_size
                furthest, fruitless = max(furthest, arrived), 0 if arrived > furthest else fruitless + 1
                if fruitless == _FRUITLESS:
                    raise _Broken(f"the connection broke {fruitless} times after {arrived} bytes") from error
            except requests.HTTPError as error:
                raise _Broken(f"the server answers {error.response.status_code} {error.response.reason}") from error
            except requests.Timeout as error:
                raise _Broken(f"the server does not answer within {max(_TIMEOUT)} s") from error
            except requests.RequestException as error:
                raise _Broken(f"no connection ({_cause(error)})") from error


def _transfer(session, url: str, part: Path, begun: int, size: int | None, progress: bool) -> None:
    """Ask once for what is missing after the first `begun` bytes, and append it to `part`."""
    from requests import exceptions

    headers = {"Accept-Encoding": "identity"}  # the checksum is that of the bytes as published
    if begun:
        headers["Range"] = f"bytes={begun}-"
    if size is not None:
        need_room(size - begun, part.parent, what=url)
    with session.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        if begun and response.status_code == 416:
            return  # nothing lies beyond: whole, or too long
        response.raise_for_status()
        if response.status_code != 206 or not response.headers.get("Content-Range", "").startswith(f"bytes {begun}-"):
            if response.status_code == 206:
                raise _Broken(f"asked for the bytes from {begun}, the server sends others")
            begun = 0  # it ignores ranges and sends all
        announced = response.headers.get("Content-Length")
        total = begun + int(announced) if announced else size
        if size is None and total is not None:
            need_room(total - begun, part.parent, what=url)
        try:
            with open(part, "ab" if begun else "wb") as file, _bar(part.stem, total, progress, begun) as bar:
                for chunk in response.iter_content(_CHUNK):
                    file.write(chunk)
                    bar.update(len(chunk))
        except (exceptions.ChunkedEncodingError, exceptions.ConnectionError) as error:  # closed early; stalled
            raise _Cut from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise ParameterError(f"The disk of {part.parent} is full; make room and run this again.") from None
            raise


def need_room(wanted: int, folder: Path, *, what: str) -> None:
    """Refuse to begin what the disk of `folder` cannot hold.

    Raises
    ------
    ParameterError
        Fewer than `wanted` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise ParameterError(
            f"{what} needs {wanted / 2**30:.2f} GiB on the disk of {folder}, where {free / 2**30:.2f} GiB are free; "
            "make room, or choose another place."
        )


def _cause(error: Exception) -> str:
    """Return the innermost reason: "Connection refused", not the five exceptions around it."""
    while inner := getattr(error, "reason", None) or error.__cause__ or error.__context__:
        if not isinstance(inner, Exception):
            break
        error = inner
    return str(getattr(error, "strerror", None) or error)


def _unzip(archive: Path, folder: Path, progress: bool) -> None:
    with zipfile.ZipFile(archive) as content:
        members = content.infolist()
        need_room(sum(member.file_size for member in members), folder, what=f"What {archive} holds")
        for member in tqdm(members, desc=f"unpack {archive.name}", unit="file", disable=not progress):
            # zipfile would write such a member elsewhere in the folder; an archive that tries is not to be trusted.
            path = PurePosixPath(member.filename.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts:
                raise zipfile.BadZipFile(f"its member {member.filename!r} would leave the folder")
            content.extract(member, folder)


def _untar(archive: Path, folder: Path, progress: bool) -> None:
    with tarfile.open(archive) as content:
        for member in tqdm(content, desc=f"unpack {archive.name}", unit="file", disable=not progress):
            content.extract(member, folder, filter="data")  # refuses what leaves the folder, devices, and such links
        while content.fileobj.read(_CHUNK):  # to the end of the compressed stream, where its checksum stands
            pass


def _bar(description: str, total: int | None, progress: bool, begun: int = 0) -> tqdm:
    return tqdm(
        desc=description, total=total, initial=begun, unit="B", unit_scale=True, unit_divisor=1024, disable=not progress
    )
