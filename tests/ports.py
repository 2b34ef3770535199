"""Ports for servers that tests start, kill and start again at the same address."""

import itertools
import os
import socket

# Below those that Linux and macOS give to servers that ask for any port, and to outgoing connections: nothing takes
# one of these while its server is starting, or is away. Each of several test processes begins elsewhere.
_FIRST, _NUMBER = 10_000, 20_000
_candidates = itertools.count(137 * os.getpid())


def free_port() -> int:
    """Return a port that nothing listens on, another one each time."""
    for candidate in _candidates:
        port = _FIRST + candidate % _NUMBER
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
    raise AssertionError
