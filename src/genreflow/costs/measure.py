"""What a bundle costs where it is served: the time of an answer and the memory of the service.

Both are measured in fresh processes, so that neither what else the caller has loaded nor its threads enter the figures.
"""

import http.client
import io
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile as sf

from genreflow.bundle import Bundle
from genreflow.costs.service_process import Served, served
from genreflow.errors import GenreflowError
from genreflow.inference.environment import ENVIRONMENT

WARM_UP_CALLS = 3
# A slow net is timed by fewer calls, since they differ by a smaller share, but by three at least.
LATENCY_SECONDS, LEAST_CALLS = 5.0, 3
# The load of the benchmark, a fifth as long: its peak is reached within the first dozens of requests.
CLIENTS, LOAD_SECONDS = 8, 4.0
# Of one answer under load.
ANSWER_SECONDS = 300.0
_BOUNDARY = "genreflow-clip"


def latency_ms(directory: Path, *, calls: int = 15) -> float:
    """Time that one core needs to answer one clip, without HTTP.

    Decoding, features and net: a 16-bit mono wav of the spec's clip length and sample rate, in memory, through
    `genreflow.inference.predictor.Predictor.classify`, with the service's thread settings. It is the processor's time
    that is counted: alone on a core it is the time on the clock, and beside other work it stays what it was.

    Parameters
    ----------
    directory : Path
        A bundle.
    calls : int > 0
        Timed calls, after some to warm up; fewer of a net that takes long.

    Returns
    -------
    float > 0 [ms]
        Their median.

    Raises
    ------
    GenreflowError
        The folder holds no sound bundle, or ONNX Runtime cannot run its net.
    """
    bundle = Bundle.load(directory)
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(Path(directory).resolve()), str(calls)],
        env=os.environ | ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise GenreflowError(f"The latency of {bundle.directory} could not be measured: {last[0]}")
    return statistics.median(json.loads(done.stdout))


def memory_mib(directory: Path) -> float:
    """Memory that a container has to have for the service: the peak over its start and a load.

    The proportional set sizes of all processes of ``bentoml serve`` summed, looked at every
    `genreflow.costs.service_process.SAMPLE_SECONDS`, while `CLIENTS` clients send clips of full length for
    `LOAD_SECONDS`.

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
        The folder holds no sound bundle, the service does not start with it, or it refuses a clip.
    """
    bundle = Bundle.load(directory)
    clip = make_clip(bundle.spec.sample_rate, bundle.spec.clip_seconds)
    with served(environment={"GENREFLOW_BUNDLE": str(Path(directory).resolve())}) as service:
        _load(service, clip)
        service.check()  # otherwise the port may have been answered by another one
    return service.peak


def make_clip(sample_rate: int, seconds: float, *, format: str = "WAV") -> bytes:
    """A file of something like music: tones that pulse, and noise; mono, 16 bit where the format counts bits.

    Parameters
    ----------
    sample_rate : int > 0 [Hz]
    seconds : float > 0 [s]
    format : str
        A format of soundfile.
    """
    rng = np.random.default_rng(0)
    time_axis = np.arange(round(seconds * sample_rate)) / sample_rate
    highest = min(4000.0, 0.4 * sample_rate)
    y = sum(np.sin(2 * np.pi * f * time_axis + rng.random()) for f in rng.uniform(80, highest, 12)) / 24
    y *= 0.6 + 0.4 * np.sign(np.sin(2 * np.pi * 2 * time_axis))
    y += 0.02 * rng.standard_normal(len(y))
    file = io.BytesIO()
    sf.write(file, y, sample_rate, format=format)
    return file.getvalue()


def _load(service: Served, clip: bytes) -> None:
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="audio"; filename="clip.wav"\r\n\r\n'
    body = head.encode() + clip + f"\r\n--{_BOUNDARY}--\r\n".encode()
    end = time.perf_counter() + LOAD_SECONDS

    def send(_: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=ANSWER_SECONDS)
        try:
            while True:
                connection.request(
                    "POST", "/classify", body, {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
                )
                answer = connection.getresponse()
                text = answer.read().decode(errors="replace")
                if answer.status != 200:
                    raise GenreflowError(
                        f"The service answered a clip with status {answer.status}, not 200: {text[:300]}"
                    )
                if time.perf_counter() > end:
                    return
        except (OSError, http.client.HTTPException) as error:
            service.check()
            raise service.failed(f"The service broke off an answer ({error!r})") from error
        finally:
            connection.close()

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(send, range(CLIENTS)))


def _time_calls(directory: Path, calls: int) -> list[float]:
    """Milliseconds of processor time of each call, in this process."""
    from genreflow.inference.predictor import Predictor

    predictor = Predictor(directory)
    clip = make_clip(predictor.bundle.spec.sample_rate, predictor.bundle.spec.clip_seconds)
    for _ in range(WARM_UP_CALLS):
        predictor.classify(io.BytesIO(clip))
    times: list[float] = []
    while len(times) < calls and (len(times) < LEAST_CALLS or sum(times) < 1000 * LATENCY_SECONDS):
        begin = time.process_time()
        predictor.classify(io.BytesIO(clip))
        times.append(1000 * (time.process_time() - begin))
    return times


if __name__ == "__main__":
    print(json.dumps(_time_calls(Path(sys.argv[1]), int(sys.argv[2]))))
