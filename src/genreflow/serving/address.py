"""The address that `bentoml serve` listens on, checked before its process manager, circus, ends in a traceback."""

import socket

import click
from bentoml._internal.configuration.containers import BentoMLContainer


class AddressError(click.ClickException):
    """The server cannot listen on its address. Click prints the message and ends the process with the exit code."""

    exit_code = 2


def check_address() -> None:
    """Check that ``bentoml serve`` can listen on its host and port; in any other process, do nothing.

    Raises
    ------
    AddressError
        The port is in use, needs more rights, or the host is not an address of this machine.
    """
    context = click.get_current_context(silent=True)
    given = context.params if context else {}
    if not {"bento", "host", "port"} <= given.keys():
        return
    http = BentoMLContainer.http  # from BENTOML_CONFIG, or BentoML's defaults
    host = given["host"] or http.host.get()
    port = http.port.get() if given["port"] is None else given["port"]
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen()
    except (OSError, OverflowError) as error:
        reason = str((error.strerror if isinstance(error, OSError) else None) or error).removesuffix(".")
        raise AddressError(
            f"host and port must be free to listen on; got {host}:{port}: {reason}; another server may be running, and "
            "`bentoml serve --port 3001` takes another port."
        ) from None
