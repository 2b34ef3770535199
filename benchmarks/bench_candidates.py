"""Time and memory of the search for candidates among many tracks: `python benchmarks/bench_candidates.py`.

Fingerprints are those of random peaks, as many as real music has: two tracks of 30 s share 3.6 hashes by chance, two
real ones five. A hundred tracks have a copy, 0.7 s later and with 70 % of the peaks, which leaves a third of the
hashes or less. Each size is measured in a process of its own; making the fingerprints is not included in the time.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from genreflow.audit.candidates import find_candidates
from genreflow.audit.fingerprint import Fingerprint, hash_peaks

PEAKS_PER_SECOND = 12.3
HASHES_PER_SECOND = 74
COPIES, KEPT, DELAY = 100, 0.7, 0.7


def make_fingerprint(number: int, seconds: float, *, copy: bool = False) -> Fingerprint:
    """Return the fingerprint of random peaks, the same for the same number."""
    rng = np.random.default_rng(number)
    count = round(PEAKS_PER_SECOND * seconds)
    times, bands = rng.uniform(0, seconds, count), rng.uniform(1, 62, count)
    kept = rng.random(count) < KEPT
    return hash_peaks(times[kept] + DELAY, bands[kept]) if copy else hash_peaks(times, bands)


def fingerprints(n_tracks: int, seconds: float) -> Iterator[tuple[int, Fingerprint]]:
    for number in range(n_tracks):
        yield number, make_fingerprint(number, seconds)
    for number in range(COPIES):
        yield n_tracks + number, make_fingerprint(number * n_tracks // COPIES, seconds, copy=True)


def measure(n_tracks: int, seconds: float, directory: Path | None) -> None:
    """Search once, and print a row of the table."""
    begin = time.process_time()
    for _ in fingerprints(n_tracks, seconds):
        pass
    making = time.process_time() - begin
    n_hashes = round(HASHES_PER_SECOND * seconds) * (n_tracks + COPIES)
    with tempfile.TemporaryDirectory(dir=directory) as temporary:
        begin = time.process_time()
        found = {
            (one.first, one.second)
            for one in find_candidates(fingerprints(n_tracks, seconds), Path(temporary), n_hashes=n_hashes)
        }
        processor = time.process_time() - begin - making
    copies = sum((number * n_tracks // COPIES, n_tracks + number) in found for number in range(COPIES))
    # ru_maxrss is in KiB on Linux, in bytes on macOS
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    print(
        f"| {n_tracks} | {n_hashes / 1e6:.1f} | {processor:.1f} | {1000 * processor / n_tracks:.2f} | {peak:.0f} | "
        f"{copies / COPIES:.0%} | {len(found) - copies} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, nargs="+", default=[1000, 3000], help="sizes of the collection")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of each track")
    parser.add_argument("--directory", type=Path, help="folder for temporary files")
    options = parser.parse_args()
    if len(options.tracks) == 1:
        measure(options.tracks[0], options.seconds, options.directory)
        return
    print("| tracks | million hashes | processor [s] | per track [ms] | peak [MiB] | copies found | other candidates |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for n_tracks in sorted(options.tracks):
        arguments = ["--tracks", str(n_tracks), "--seconds", str(options.seconds)]
        if options.directory:
            arguments += ["--directory", str(options.directory)]
        subprocess.run([sys.executable, __file__, *arguments], check=True)


if __name__ == "__main__":
    main()
