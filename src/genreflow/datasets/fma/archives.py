"""The published archives of the FMA, and their download."""

from pathlib import Path
from typing import NamedTuple

from genreflow.datasets.download import extract, fetch, need_room

BASE_URL = "https://os.unil.cloud.switch.ch/fma"
SUBSETS = ("small", "medium", "large", "full")  # each holds the tracks of those before it


class Archive(NamedTuple):
    """A published archive: its checksum, and its size [GiB]."""

    checksum: str
    gib: float


ARCHIVES = {
    "fma_metadata": Archive("sha1:f0df49ffe5f2a6008d7dc83c6915b31835dfe733", 342 / 1024),
    "fma_small": Archive("sha1:ade154f733639d52e35e32f5593efe5be76c6d70", 7.2),
    "fma_medium": Archive("sha1:c67b69ea232021025fca9231fc1c7c1a063ab50b", 22),
    "fma_large": Archive("sha1:497109f4dd721066b5ce5e5f250ec604dc78939e", 93),
    "fma_full": Archive("sha1:0f0ace23fbe9ba30ecb7e95f763e435ea802b8ab", 879),
}


def download(path: Path, subset: str, *, base_url: str | None = None, progress: bool = True) -> None:
    """Fetch the tables and the clips of `subset` into `path`; what is there is not fetched again.

    An archive is removed once it is unpacked.

    Parameters
    ----------
    path : Path
        Made if it is not there.
    subset : str
        One of `SUBSETS`.
    base_url : str or None
        Where the archives lie; None is `BASE_URL`.
    progress : bool
        Show bars on stderr.

    Raises
    ------
    ParameterError
        As `fetch` and `extract`.
    """
    path.mkdir(parents=True, exist_ok=True)
    for name in ("fma_metadata", f"fma_{subset}"):
        if (path / name).is_dir():
            continue
        checksum, gib = ARCHIVES[name]
        archive = path / f"{name}.zip"
        there = sum(file.stat().st_size for file in path.glob(f"{name}.zip*"))
        need_room(round(2 * gib * 2**30) - there, path, what=f"{name}, packed and unpacked,")  # clips do not compress
        fetch(f"{base_url or BASE_URL}/{archive.name}", archive, checksum=checksum, progress=progress)
        extract(archive, path / name, inside=name, progress=progress)
        archive.unlink()
