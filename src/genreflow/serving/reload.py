"""A running service takes the new champion when its bundle is replaced, between two requests, without a restart."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from genreflow.errors import GenreflowError

if TYPE_CHECKING:  # BentoML's supervisor, which imports this too, needs no predictor
    from genreflow.inference.predictor import Predictor

# BentoML sets this logger up.
logger = logging.getLogger("bentoml.serve")


class BundleWatch:
    """Looks for another bundle in a directory, in a thread of its own.

    A bundle that is missing or damaged replaces none; the log says so once, and the former one stays in use.

    Parameters
    ----------
    predictor : Predictor
        The one in use, whose directory is watched.
    load : callable
        Returns the predictor of the bundle that the directory has now.
    use : callable
        Is called with each new predictor. Where other threads read it from, it must be one assignment.
    """

    def __init__(
        self, predictor: "Predictor", load: Callable[[], "Predictor"], use: Callable[["Predictor"], None]
    ) -> None:
        self._bundle, self._load, self._use = predictor.bundle, load, use
        self._file = self._bundle.directory / "bundle.json"
        self._seen, self._content, self._problem = _state(self._file), _read(self._file), ""

    def start(self, seconds: float) -> None:
        """Look every so many seconds, until the process ends."""

        def look_again_and_again() -> None:
            pause = threading.Event()
            while not pause.wait(seconds):
                self.look()

        threading.Thread(target=look_again_and_again, name="bundle-watch", daemon=True).start()

    def look(self) -> None:
        """Look once, and load the bundle if it is another one."""
        state = _state(self._file)
        if state is None or state == self._seen:
            return
        content = _read(self._file)  # it has the hashes of all other files
        if content == self._content:  # DVC made the file anew
            self._seen = state
            return
        try:
            predictor = self._load()
        except (GenreflowError, OSError, MemoryError) as error:  # tried again: it may be written at the moment
            if (problem := str(error)) != self._problem:
                logger.warning("Version %s is still served: %s", self._bundle.version, problem)
                self._problem = problem
            return
        self._use(predictor)
        logger.info("Version %s is served from now on, instead of %s.", predictor.bundle.version, self._bundle.version)
        self._bundle, self._seen, self._content, self._problem = predictor.bundle, state, content, ""


def _state(file: Path) -> tuple[int, ...] | None:
    """Return what changes when a file is written or replaced; None if there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _read(file: Path) -> bytes:
    """Return the content of a file; empty if it cannot be read."""
    try:
        return file.read_bytes()
    except OSError:
        return b""
