"""Set a dvc.lock aside that DVC could not finish to write, where a command can do so before DVC starts.

DVC writes dvc.lock in place after each stage. Killed meanwhile, it leaves a part of the file, which it refuses from
then on. Without the file no result is lost: DVC's run cache restores those of stages whose dependencies are the same.
"""

import logging
import os
from pathlib import Path

from genreflow.yaml_files import parse_yaml

LOCK = Path("dvc.lock")

logger = logging.getLogger(__name__)


def set_damaged_lock_aside(path: Path = LOCK) -> None:
    """Rename a dvc.lock that DVC would refuse to ``dvc.lock.damaged``; another one is left as it is.

    Parameters
    ----------
    path : Path
    """
    if not path.exists():
        return
    from dvc.dvcfile import Lockfile  # dvc.api has no function for it
    from dvc.exceptions import DvcException

    try:
        Lockfile.validate(parse_yaml(path.read_text(encoding="utf-8")), str(path))
    except (ValueError, DvcException):
        damaged = path.with_name(f"{path.name}.damaged")
        os.replace(path, damaged)
        logger.warning(
            f"{path}: must be what DVC writes; got a part of it, as a killed run leaves it. It is now {damaged.name}; "
            "results are restored from DVC's cache, and at most the interrupted stage runs again."
        )
