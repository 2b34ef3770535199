"""Memory that the service needs for a bundle, measured on the real service under load."""

import http.client
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from genreflow.bundle import Bundle
from genreflow.costs.clips import make_clip
from genreflow.costs.service_process import ServiceProcess, served
from genreflow.errors import GenreflowError

# The load of benchmarks/bench_service.py, for a fifth of its time: the peak comes within the first dozens of requests.
CLIENTS, LOAD_SECONDS = 8, 4.0
# Longest time for one response under load [s].
RESPONSE_SECONDS = 300.0
_BOUNDARY = "genreflow-clip"


def memory_mib(directory: Path) -> float:
    """Return the memory that a container needs for the service, the peak during its start and under load.

    The service runs with its default settings, so with all its worker processes and their supervisor. Their
    proportional set sizes are summed every `genreflow.costs.service_process.SAMPLE_SECONDS`, while `CLIENTS` clients
    send clips of full length for `LOAD_SECONDS`.

    Parameters
    ----------
    directory : Path
        A bundle.

    Returns
    -------
    float > 0 [MiB]

    Raises
    ------
    GenreflowError
        The directory is not a valid bundle, the service does not start with it, or it does not classify a clip.
    """
    bundle = Bundle.load(directory)
    clip = make_clip(bundle.spec.sample_rate, bundle.spec.clip_seconds)
    with served(environment={"GENREFLOW_BUNDLE": str(Path(directory).resolve())}) as service:
        send_load(service, clip)
        service.raise_if_ended()  # another service might have answered on its port
    return service.peak


def send_load(service: ServiceProcess, clip: bytes) -> None:
    """Send a clip from `CLIENTS` clients at the same time, again and again for `LOAD_SECONDS`.

    Raises
    ------
    GenreflowError
        A response has not status 200, or the service ends.
    """
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="audio"; filename="clip.wav"\r\n\r\n'
    body = head.encode() + clip + f"\r\n--{_BOUNDARY}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
    deadline = time.perf_counter() + LOAD_SECONDS

    def send(_: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=RESPONSE_SECONDS)
        try:
            while True:
                connection.request("POST", "/classify", body, headers)
                response = connection.getresponse()
                text = response.read().decode(errors="replace")
                if response.status != 200:
                    raise GenreflowError(
                        f"The service must classify a clip; got status {response.status}: {text[:300]}"
                    )
                if time.perf_counter() > deadline:
                    return
        except (OSError, http.client.HTTPException) as error:
            service.raise_if_ended()
            raise service.error(f"The service closed a connection ({error!r})") from error
        finally:
            connection.close()

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(send, range(CLIENTS)))
