"""Repair the files of DVC that a killed DVC left in part, where a command can do so before DVC starts.

DVC writes dvc.lock after each stage, and the list of the paths that it is working on before and after each; both in
place. Killed meanwhile, or on a full disk, it leaves a part of a file, which it refuses from then on. Nothing is lost
without them: DVC's run cache restores the results of stages whose dependencies are the same.
"""

import logging
import os
import time
from pathlib import Path

from genreflow.files import read_json
from genreflow.yaml_files import parse_yaml

LOCK = Path("dvc.lock")
PATHS_IN_USE = Path(".dvc", "tmp", "rwlock")
# A DVC that is running writes the list within milliseconds: what is still damaged after these is left by a dead one.
READS, SECONDS_BETWEEN = 5, 0.1

logger = logging.getLogger(__name__)


def repair_dvc_files() -> None:
    """Repair what is damaged of the project in the working directory."""
    set_damaged_lock_aside(LOCK)
    delete_damaged_paths_in_use(PATHS_IN_USE)


def set_damaged_lock_aside(path: Path) -> None:
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


def delete_damaged_paths_in_use(path: Path) -> None:
    """Delete DVC's list of the paths that are in use if it is damaged; another one is left as it is.

    Parameters
    ----------
    path : Path
    """
    for _ in range(READS):
        try:
            read_json(path)
        except FileNotFoundError:
            return
        except ValueError:
            time.sleep(SECONDS_BETWEEN)
        else:
            return
    path.unlink(missing_ok=True)
    logger.warning(f"{path}: must be what DVC writes; got a part of it, as a killed run leaves it. It is deleted.")
