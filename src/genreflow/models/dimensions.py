"""Dimensions of a search space, independent of the library that searches it."""

import os
from dataclasses import dataclass
from typing import Any

from genreflow.errors import ParameterError


@dataclass(frozen=True, kw_only=True)
class Float:
    """A real number in ``[low, high]``; with `log`, searched on a logarithmic scale."""

    low: float
    high: float
    default: float
    log: bool = False

    def check(self, name: str, value: Any) -> None:
        """Raise ParameterError unless `value` is a number in the range."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            raise ParameterError(f"{name} must be a number between {self.low:g} and {self.high:g}; got {value!r}.")


@dataclass(frozen=True, kw_only=True)
class Int:
    """An integer in ``[low, high]``; with `log`, searched on a logarithmic scale."""

    low: int
    high: int
    default: int
    log: bool = False

    def check(self, name: str, value: Any) -> None:
        """Raise ParameterError unless `value` is an integer in the range."""
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            raise ParameterError(f"{name} must be an integer between {self.low} and {self.high}; got {value!r}.")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of some values without an order."""

    values: tuple[Any, ...]
    default: Any

    def check(self, name: str, value: Any) -> None:
        """Raise ParameterError unless `value` is one of them."""
        if not any(value == known and isinstance(value, bool) == isinstance(known, bool) for known in self.values):
            raise ParameterError(f"{name} must be one of {', '.join(map(str, self.values))}; got {value!r}.")


@dataclass(frozen=True, kw_only=True)
class File:
    """A file on this machine, or none (``""``); not searched by a study."""

    default: str = ""

    def check(self, name: str, value: Any) -> None:
        """Raise ParameterError unless `value` is empty or the path of a file."""
        if value and not os.path.isfile(value):
            raise ParameterError(f"{name} must be the path of a file, or empty; got {value!r}.")


Dimension = Float | Int | Choice | File
