"""The published archives of the FMA, and their download."""

from pathlib import Path
from typing import NamedTuple

from genreflow.datasets.download import check_disk_space, download_file
from genreflow.datasets.unpack import unpack

BASE_URL = "https://os.unil.cloud.switch.ch/fma"
SUBSETS = ("small", "medium", "large", "full")  # each includes the tracks of the previous ones


class Archive(NamedTuple):
    """A published archive: its checksum and its size [GiB]."""

    checksum: str
    gib: float


ARCHIVES = {
    "fma_metadata": Archive("sha1:f0df49ffe5f2a6008d7dc83c6915b31835dfe733", 342 / 1024),
    "fma_small": Archive("sha1:ade154f733639d52e35e32f5593efe5be76c6d70", 7.2),
    "fma_medium": Archive("sha1:c67b69ea232021025fca9231fc1c7c1a063ab50b", 22),
    "fma_large": Archive("sha1:497109f4dd721066b5ce5e5f250ec604dc78939e", 93),
    "fma_full": Archive("sha1:0f0ace23fbe9ba30ecb7e95f763e435ea802b8ab", 879),
}


def download(path: Path, subset: str, *, progress: bool) -> None:
    """Download the metadata and the clips of a subset to `path`, unless they exist.

    Archives are removed after unpacking.

    Parameters
    ----------
    path : Path
        Created if it does not exist.
    subset : str
        One of `SUBSETS`.
    progress : bool
        Show progress bars on stderr.

    Raises
    ------
    ParameterError
        See `download_file` and `unpack`.
    """
    path.mkdir(parents=True, exist_ok=True)
    for name in ("fma_metadata", f"fma_{subset}"):
        if (path / name).is_dir():
            continue
        checksum, gib = ARCHIVES[name]
        archive = path / f"{name}.zip"
        existing = sum(file.stat().st_size for file in path.glob(f"{name}.zip*"))
        # clips do not compress, so the unpacked size is that of the archive
        check_disk_space(round(2 * gib * 2**30) - existing, path, what=f"{name}, packed and unpacked")
        download_file(f"{BASE_URL}/{archive.name}", archive, checksum=checksum, progress=progress)
        unpack(archive, path / name, member=name, progress=progress)
        archive.unlink()
