"""The limit of open files, and with it of connections, of a worker process."""

import sys

# Systems often allow 1,024, for the sake of select(), which nothing here calls.
OPEN_FILES = 8192


def raise_open_file_limit() -> None:
    """Allow this process `OPEN_FILES` open files, as far as the system's hard limit permits.

    Clients that connect and never finish the head of a request hold a connection each; the others must still get one.
    """
    if sys.platform == "win32":  # it has no such limit
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
