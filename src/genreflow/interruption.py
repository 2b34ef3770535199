"""Signals that end a study or a fit: none is lost, wherever it arrives."""

import signal
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import FrameType, TracebackType
from typing import Any, ParamSpec, Self, TypeVar

# That of Ctrl-C, and that of a batch system.
SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Pause until an interruption that was swallowed is raised again.
RETRY_S = 0.1

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Interruption:
    """A block in which SIGTERM raises KeyboardInterrupt, as Ctrl-C does, until one reaches the end of the block.

    Parameters
    ----------
    signals : sequence of int
        Those that raise it.

    The exception may arrive anywhere, and is swallowed in many places: Python ignores exceptions in finalizers and in
    callbacks of weak references, and Keras and TensorFlow have clauses that catch every exception. As long as it is
    propagated or handled there is a reference to it; when there is none any more, it is raised again.
    """

    def __init__(self, signals: Sequence[int] = SIGNALS) -> None:
        self._signals = signals
        self._requested = False
        self._in_flight: weakref.WeakSet[BaseException] = weakref.WeakSet()
        self._previous: Mapping[int, Any] = {}
        self._previous_hook = sys.unraisablehook

    def __enter__(self) -> Self:
        self._previous = {
            **{number: signal.signal(number, self._interrupt) for number in self._signals},
            signal.SIGALRM: signal.signal(signal.SIGALRM, self._raise_again),
        }
        self._previous_hook, sys.unraisablehook = sys.unraisablehook, self._on_unraisable
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.unraisablehook = self._previous_hook
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def guard(self, call: Callable[_P, _R]) -> Callable[_P, _R]:
        """Return `call` with KeyboardInterrupt instead of its result or exception, if a signal has arrived.

        Libraries turn KeyboardInterrupt into other exceptions, too, or go on without what it interrupted.
        """

        def guarded(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            try:
                result = call(*args, **kwargs)
            except Exception:
                self._check()
                raise
            self._check()
            return result

        return guarded

    def _check(self) -> None:
        if self._requested:
            raise self._new_error()

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._requested = True
        signal.setitimer(signal.ITIMER_REAL, RETRY_S, RETRY_S)
        raise self._new_error()

    def _raise_again(self, number: int, frame: FrameType | None) -> None:
        if not self._in_flight:
            self._interrupt(number, frame)

    def _on_unraisable(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """Called with the exceptions that Python ignores; other hooks may keep them."""
        if isinstance(unraisable.exc_value, _SignalError):
            self._in_flight.discard(unraisable.exc_value)
        else:
            self._previous_hook(unraisable)

    def _new_error(self) -> "_SignalError":
        error = _SignalError()  # a variable of the frame that raises it would refer to it as long as it exists
        self._in_flight.add(error)
        return error


class _SignalError(KeyboardInterrupt):
    """KeyboardInterrupt itself takes no weak references."""
