"""Limits of what is in progress at the same time."""

from collections.abc import Iterator
from contextlib import contextmanager

from genreflow.serving.responses import RequestError


class Slots:
    """Counts what is in progress, and refuses what exceeds a limit.

    Parameters
    ----------
    limit : int > 0
    message : str
        Of the error of what is refused, without its period.

    Attributes
    ----------
    used : int
    """

    def __init__(self, limit: int, message: str) -> None:
        self.limit, self.message, self.used = limit, message, 0

    def require(self) -> None:
        """Raise RequestError, status 429, if all are used."""
        if self.used >= self.limit:
            raise RequestError.overloaded(self.message)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Use one while a block runs; RequestError, status 429, if all are used."""
        self.require()
        self.used += 1
        try:
            yield
        finally:
            self.used -= 1
