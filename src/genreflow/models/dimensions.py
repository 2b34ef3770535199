"""Search spaces as plain data: what a study may vary, without a word about the library that varies it."""

import os
from dataclasses import dataclass
from typing import Any

from genreflow.errors import ParameterError


@dataclass(frozen=True, kw_only=True)
class Float:
    """A real number in ``[low, high]``; `log` says that its order of magnitude is what matters."""

    low: float
    high: float
    default: float
    log: bool = False

    def check(self, name: str, value: Any) -> None:
        """Raise ParameterError unless `value` is a number in the range."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            raise ParameterError(f"{name} is {value!r}; a number from {self.low:g} to {self.high:g} is right.")


@dataclass(frozen=True, kw_only=True)
class Int:
    """A whole number in ``[low, high]``; `log` says that its order of magnitude is what matters."""

    low: int
    high: int
    default: int
    log: bool = False

    def check(self, name: str, value: Any) -> None:
        """Raise ParameterError unless `value` is a whole number in the range."""
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            raise ParameterError(f"{name} is {value!r}; a whole number from {self.low} to {self.high} is right.")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of `values`, which have no order."""

    values: tuple[Any, ...]
    default: Any

    def check(self, name: str, value: Any) -> None:
        """Raise ParameterError unless `value` is one of them."""
        if value not in self.values:
            raise ParameterError(f"{name} is {value!r}; one of {', '.join(map(str, self.values))} is right.")


@dataclass(frozen=True, kw_only=True)
class File:
    """A file on this machine, or none (``""``); a study leaves it as it is."""

    default: str = ""

    def check(self, name: str, value: Any) -> None:
        """Raise ParameterError unless `value` is empty or names a file that is there."""
        if value and not os.path.isfile(value):
            raise ParameterError(f"{name} names {value}, which is no file; the path of a file, or none, is right.")


Dimension = Float | Int | Choice | File
