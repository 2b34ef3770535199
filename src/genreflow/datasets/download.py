"""Download files of published datasets; interrupted transfers are resumed, and checksums verified.

pooch and mirdata verify downloads but restart them when the connection breaks, which does not matter for a megabyte but
does for FMA's archives of 7 to 879 GiB. Therefore requests does the transfer here.
"""

import errno
import hashlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from genreflow.errors import ParameterError

if TYPE_CHECKING:
    from requests import Response, Session

_CHUNK = 1 << 18  # bytes; the most that is lost when a transfer breaks
_TIMEOUT = (10, 60)  # seconds to connect, and between two reads
_BACKOFF = 0.5  # seconds; doubled from one attempt to connect to the next
_MAX_FRUITLESS = 3  # consecutive interrupted transfers without new data


def download_file(url: str, target: Path, *, checksum: str, size: int | None = None, progress: bool) -> Path:
    """Download a file, unless it exists.

    Received data are kept in ``<target>.part``. After an interruption, the transfer resumes from there, also in the
    next run, if the server supports byte ranges (RFC 9110, section 14); else it restarts.

    Parameters
    ----------
    url : str
        ``http://`` or ``https://``; proxies are taken from the environment.
    target : Path
        Created when the file is complete and its checksum correct. An existing file is never replaced.
    checksum : str
        ``md5:<hex>``, ``sha1:<hex>`` or ``sha256:<hex>``.
    size : int > 0 [bytes] or None
        Published size; None takes that announced by the server.
    progress : bool
        Show progress bars on stderr.

    Returns
    -------
    target : Path

    Raises
    ------
    ParameterError
        There is no connection or not enough disk space, the server refuses, or the checksum is wrong. The message says
        how to provide the file by other means.
    """
    target = Path(target)
    if target.exists():
        if not target.is_file():
            raise ParameterError(f"{target}: must be a file; move what is there away to download {url}.")
        found = checksum_of(target, like=checksum, progress=progress)
        if found == checksum:
            return target
        raise ParameterError(
            f"{target}: checksum must be {checksum}; got {found}. Move the file away to have it downloaded from {url}."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    while True:
        resumed = part.exists()
        try:
            _receive(url, part, size, progress)
        except _DownloadFailed as error:
            resume = f" {part.name} is kept, and the next run resumes the download." if part.exists() else ""
            raise ParameterError(
                f"{url}: download failed: {error}. Download it by other means to {target} ({checksum}) and run this "
                f"again.{resume}"
            ) from None
        found = checksum_of(part, like=checksum, progress=progress)
        if found == checksum:
            os.replace(part, target)
            return target
        length = part.stat().st_size
        part.unlink()
        if not resumed:  # otherwise the leftover may have belonged to another file
            raise ParameterError(
                f"{url}: checksum must be {checksum}; got {found} of {length} bytes. Put the published file at "
                f"{target} and run this again."
            )


def checksum_of(file: Path, *, like: str, progress: bool = False) -> str:
    """Return the checksum of a file, ``<algorithm>:<hex>``, with the algorithm of the checksum `like`."""
    algorithm = like.partition(":")[0]
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open(file, "rb") as stream, _progress_bar(f"check {file.name}", os.path.getsize(file), progress) as bar:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
            bar.update(len(chunk))
    return f"{algorithm}:{digest.hexdigest()}"


class _DownloadFailed(Exception):
    """The download cannot be continued."""


class _Interrupted(Exception):
    """The connection closed before the transfer was complete."""


def _receive(url: str, part: Path, size: int | None, progress: bool) -> None:
    """Complete `part`; interrupted transfers are resumed as long as they make progress."""
    import requests  # takes 0.2 s, needed only for downloads
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    # Retries of connections and of responses of a busy server; interrupted transfers are handled below.
    retry = Retry(total=4, backoff_factor=_BACKOFF, status_forcelist=(429, 500, 502, 503, 504), raise_on_status=False)
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retry))
        furthest, fruitless = 0, 0
        while True:
            offset = part.stat().st_size if part.exists() else 0
            if size is not None and offset >= size:
                return  # complete, or too long, which the checksum shows
            try:
                _transfer(session, url, part, offset, size, progress)
                return
            except _Interrupted as error:
                received = part.stat().st_size
                furthest, fruitless = max(furthest, received), 0 if received > furthest else fruitless + 1
                if fruitless == _MAX_FRUITLESS:
                    raise _DownloadFailed(f"the connection broke {fruitless} times after {received} bytes") from error
            except requests.HTTPError as error:
                raise _DownloadFailed(f"HTTP {error.response.status_code} {error.response.reason}") from error
            except requests.Timeout as error:
                raise _DownloadFailed(f"no response within {max(_TIMEOUT)} s") from error
            except requests.RequestException as error:
                raise _DownloadFailed(f"no connection ({_root_cause(error)})") from error


def _transfer(session: "Session", url: str, part: Path, offset: int, size: int | None, progress: bool) -> None:
    """Request the bytes from `offset` once, and append them to `part`."""
    headers = {"Accept-Encoding": "identity"}  # the checksum is that of the published bytes
    if offset:
        headers["Range"] = f"bytes={offset}-"
    if size is not None:
        check_disk_space(size - offset, part.parent, what=url)
    with session.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        if offset and response.status_code == 416:
            return  # nothing after the offset: complete, or too long
        response.raise_for_status()
        if response.status_code != 206:
            offset = 0  # the server ignores ranges and sends everything
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
            raise _DownloadFailed(f"the server must send the bytes from {offset}; got others")
        announced = response.headers.get("Content-Length")
        total = offset + int(announced) if announced else size
        if size is None and total is not None:
            check_disk_space(total - offset, part.parent, what=url)
        with _progress_bar(part.stem, total, progress, offset) as bar:
            _append(response, part, offset, bar)


def _append(response: "Response", part: Path, offset: int, bar: tqdm) -> None:
    from requests import exceptions

    try:
        with open(part, "ab" if offset else "wb") as file:
            for chunk in response.iter_content(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    except (exceptions.ChunkedEncodingError, exceptions.ConnectionError) as error:  # closed early, or no more data
        raise _Interrupted from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ParameterError(f"{part.parent}: the disk is full. Free space and run this again.") from None
        raise


def check_disk_space(needed: int, folder: Path, *, what: str) -> None:
    """Check that `needed` bytes are free on the disk of `folder`.

    Raises
    ------
    ParameterError
        They are not; `what` is the name of what needs them.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ParameterError(
            f"{folder}: free disk space must be >= {needed / 2**30:.2f} GiB for {what}; got {free / 2**30:.2f} GiB."
        )


def _root_cause(error: BaseException) -> str:
    """Return the innermost cause, such as "Connection refused", without the exceptions around it."""
    while inner := getattr(error, "reason", None) or error.__cause__ or error.__context__:
        if not isinstance(inner, Exception):
            break
        error = inner
    return str(getattr(error, "strerror", None) or error)


def _progress_bar(description: str, total: int | None, progress: bool, initial: int = 0) -> tqdm:
    return tqdm(
        desc=description,
        total=total,
        initial=initial,
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        disable=not progress,
    )
