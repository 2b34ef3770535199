"""A signal interrupts a study wherever it arrives, also where the exception that it raises is swallowed or replaced."""

import contextlib
import os
import signal
import time
import weakref

import pytest

from genreflow.interruption import SIGNALS, Interruption

# A signal that is lost is noticed after this time; one that is not ends the wait at once.
LONG_S = 60


def send(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.01)  # the handler runs here


class SendsInFinalizer:
    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        send(self.number)


class Anything:
    pass


def nowhere_special(number: int) -> None:
    send(number)


def in_a_finalizer(number: int) -> None:
    SendsInFinalizer(number)


def in_the_callback_of_a_weak_reference(number: int) -> None:
    referenced = Anything()
    reference = weakref.ref(referenced, lambda _: send(number))
    del referenced
    assert reference() is None


def where_all_exceptions_are_caught(number: int) -> None:
    with contextlib.suppress(BaseException):  # as the bare "except:" in Keras and TensorFlow
        send(number)


def twice(number: int) -> None:
    where_all_exceptions_are_caught(number)
    where_all_exceptions_are_caught(number)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize(
    "interrupt",
    [
        nowhere_special,
        in_a_finalizer,
        in_the_callback_of_a_weak_reference,
        where_all_exceptions_are_caught,
        twice,
    ],
)
def test_a_signal_interrupts_wherever_it_arrives(interrupt, number):
    before = [signal.getsignal(one) for one in (*SIGNALS, signal.SIGALRM)]
    started = time.monotonic()

    def study() -> None:
        with Interruption():
            interrupt(number)
            time.sleep(LONG_S)

    with pytest.raises(KeyboardInterrupt):
        study()
    assert time.monotonic() - started < LONG_S
    assert [signal.getsignal(one) for one in (*SIGNALS, signal.SIGALRM)] == before
    time.sleep(0.2)  # and not once more afterwards


def test_an_interruption_is_not_raised_again_while_it_is_handled():
    """Or what ends a trial would be interrupted: processes that are stopped, entries in databases."""
    handled = []

    def study() -> None:
        with Interruption():
            try:
                send(signal.SIGTERM)
            finally:
                time.sleep(0.5)
                handled.append(True)

    with pytest.raises(KeyboardInterrupt):
        study()
    assert handled


def converts(number: int) -> None:
    try:
        send(number)
    except KeyboardInterrupt as error:
        raise ValueError("the layer cannot be built") from error


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("call", [converts, where_all_exceptions_are_caught])
def test_no_result_and_no_error_counts_after_a_signal(call, number):
    handled = []

    def study() -> None:
        with Interruption() as interruption:
            try:
                interruption.guard(call)(number)
            finally:
                time.sleep(0.5)
                handled.append(True)

    with pytest.raises(KeyboardInterrupt):
        study()
    assert handled, "it was raised again"


def test_a_guarded_call_without_a_signal_is_as_before():
    with Interruption() as interruption:
        assert interruption.guard(divmod)(7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            interruption.guard(divmod)(7, 0)
