"""Have DVC notice that its cache is damaged, where a stage has made anew what was damaged."""

import hashlib
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from genreflow.files import distrust


def distrust_cached(files: Iterable[Path]) -> None:
    """Have DVC compare what its cache holds of some files with their hashes; nothing happens without DVC.

    DVC replaces files that its cache has by links. A damaged file in the cache would take the place of the intact one.
    """
    try:
        command = [sys.executable, "-m", "dvc", "cache", "dir"]
        cache = Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())
    except (OSError, subprocess.CalledProcessError):
        return
    for file in files:
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "md5").hexdigest()
        distrust(cache / "files" / "md5" / digest[:2] / digest[2:])


@contextmanager
def remade(*files: Path) -> Iterator[None]:
    """Call `distrust_cached` for those files that the block changes: their former content may have been damaged."""
    former = {file: file.read_bytes() for file in files if file.is_file()}
    yield
    changed = [file for file, content in former.items() if file.read_bytes() != content]
    if changed:
        distrust_cached(changed)
