"""Time and memory of the embedder with and without its zero filters: `python benchmarks/bench_embedder.py`.

Each network runs in a process of its own, on one thread and in turns, on the ten segments of a clip of 30 s. Memory is
what a process that has the libraries loaded needs more at its peak. Skipped without the pretrained weights.
"""

# ruff: noqa: E402
import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import json
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from genreflow.embedding.checkpoint import CHECKPOINTS, read_weights
from genreflow.embedding.conversion import PATCH_SPEC
from genreflow.embedding.embedder import Embedder
from genreflow.embedding.musicnn import PATCH
from genreflow.embedding.zero_filters import prune
from genreflow.errors import GenreflowError

SEGMENTS = 10
MIB = 2**20


def peak() -> float:
    """Largest memory of this process so far [MiB]."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage on Linux begins with the memory of the parent process
        return int(re.search(r"VmHWM:\s*(\d+) kB", status.read_text())[1]) * 1024 / MIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB


def measure(path: Path, repeats: int) -> dict[str, float]:
    """Median time of a clip [ms] and memory [MiB], in this process."""
    segments = np.random.default_rng(0).random((SEGMENTS, *PATCH), dtype=np.float32)
    before = peak()
    embedder = Embedder(path)
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        embedder.embed(segments)
        times.append(time.perf_counter() - begin)
    return {"ms": 1000 * statistics.median(times), "least": 1000 * min(times), "mib": peak() - before}


def in_process(path: Path, repeats: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", str(path), "--repeats", str(repeats)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def export(folder: Path, name: str) -> dict[str, Path]:
    from genreflow.models.keras_import import import_keras

    import_keras()
    from genreflow.export.export_embedder import export_embedder

    weights = read_weights(name)
    paths = {}
    for kind, arrays in {"all filters": weights, "pruned": prune(weights)}.items():
        paths[kind] = folder / f"{name} {kind}.onnx"
        export_embedder(paths[kind], arrays, name=name, spec=PATCH_SPEC)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.repeats)))
        return
    print(f"{'30 s on one thread':<28}{'median':>10}{'least':>10}{'memory':>11}{'file':>10}")
    with tempfile.TemporaryDirectory() as folder:
        for name in CHECKPOINTS:
            try:
                paths = export(Path(folder), name)
            except GenreflowError as error:
                print(f"skipped: {error}")
                return
            found = {kind: [] for kind in paths}
            for _ in range(3):  # in turns, since others may use the machine
                for kind, path in paths.items():
                    found[kind].append(in_process(path, arguments.repeats))
            best = {kind: {key: min(run[key] for run in runs) for key in runs[0]} for kind, runs in found.items()}
            for kind, path in paths.items():
                row, size = best[kind], path.stat().st_size / MIB
                times = f"{row['ms']:>7.1f} ms{row['least']:>7.1f} ms{row['mib']:>7.0f} MiB"
                print(f"{name + ', ' + kind:<28}{times}{size:>6.2f} MiB")
            ratios = {key: best["all filters"][key] / best["pruned"][key] for key in ("least", "mib")}
            print(f"{'':<28}{'ratio':>10}{ratios['least']:>9.1f}x{ratios['mib']:>10.1f}x")


if __name__ == "__main__":
    main()
