"""Latency of a bundle: the processor time of one classification, measured in a process of its own.

Run as a module, it prints the times of several calls; `latency_ms` starts it so.
"""

import io
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from genreflow.bundle import Bundle
from genreflow.costs.clips import make_clip
from genreflow.errors import GenreflowError
from genreflow.inference.environment import ENVIRONMENT

WARM_UP_CALLS = 3
# No further call is timed after this processor time [s], once there are `MIN_CALLS`: a slow model needs fewer, since
# its times vary less in proportion.
MAX_SECONDS, MIN_CALLS = 5.0, 3


def latency_ms(directory: Path, *, calls: int = 15) -> float:
    """Return the time that one core needs to classify one clip, without HTTP.

    A 16-bit mono wav file in memory, with the clip length and sample rate of the bundle's spec, is decoded, transformed
    and classified by `genreflow.inference.predictor.Predictor` with the service's thread settings. Processor time is
    measured, which is the elapsed time on a core of its own and does not depend on the load of the machine.

    Parameters
    ----------
    directory : Path
        A bundle.
    calls : int > 0
        Timed calls after the warm-up; fewer for a slow model.

    Returns
    -------
    float > 0 [ms]
        The median.

    Raises
    ------
    GenreflowError
        The directory is not a valid bundle, or ONNX Runtime cannot run its model.
    """
    bundle = Bundle.load(directory)
    run = subprocess.run(
        [sys.executable, "-m", __name__, str(Path(directory).resolve()), str(calls)],
        env=os.environ | ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if run.returncode:
        last = run.stderr.strip().splitlines()[-1:] or [f"exit code {run.returncode}"]
        raise GenreflowError(f"{bundle.directory}: the latency cannot be measured: {last[0]}")
    return statistics.median(json.loads(run.stdout))


def time_calls(directory: Path, calls: int) -> list[float]:
    """Return the processor time of each of several classifications in this process [ms]."""
    from genreflow.inference.predictor import Predictor

    predictor = Predictor(directory)
    clip = make_clip(predictor.bundle.spec.sample_rate, predictor.bundle.spec.clip_seconds)
    for _ in range(WARM_UP_CALLS):
        predictor.classify(io.BytesIO(clip))
    times: list[float] = []
    while len(times) < calls and (len(times) < MIN_CALLS or sum(times) < 1000 * MAX_SECONDS):
        begin = time.process_time()
        predictor.classify(io.BytesIO(clip))
        times.append(1000 * (time.process_time() - begin))
    return times


if __name__ == "__main__":
    print(json.dumps(time_calls(Path(sys.argv[1]), int(sys.argv[2]))))
