"""Peak memory of training on 1,000 tracks of 30 s, per architecture: `python benchmarks/bench_fit_memory.py`.

Each architecture runs in a process of its own: frames in a memory-mapped file as in the feature store, 800 tracks for
training and 200 for validation, batches and augmentation of params.yaml, some updates, a validation, then the export to
ONNX and the comparison of logits. Resident memory of the process [MiB], including TensorFlow and mapped pages.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from genreflow.models import MODELS

TRACKS, FRAMES_PER_TRACK, FRAMES, BANDS, CLASSES = 1000, 1292, 172, 128, 10
UPDATES = 12


def peak_memory_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux


def measure(name: str, shard: Path) -> None:
    """Fit and export an architecture in this process, and print a line of the table."""
    from genreflow.models import build_model
    from genreflow.models.keras_import import import_keras
    from genreflow.params import load_params

    import_keras()
    from genreflow.export.keras_to_onnx import check_parity, export_onnx
    from genreflow.training.fit import fit
    from genreflow.training.segment_set import SegmentSet

    imported = peak_memory_mib()
    frames = np.load(shard, mmap_mode="r")
    seconds = MODELS[name].protocol.seconds if MODELS[name].whole_track else 4
    length = min(FRAMES_PER_TRACK, round(FRAMES * seconds / 4))

    def segments_of(first: int, last: int) -> SegmentSet:
        pieces = [frames[i * FRAMES_PER_TRACK : (i + 1) * FRAMES_PER_TRACK] for i in range(first, last)]
        return SegmentSet(pieces, np.arange(len(pieces)) % CLASSES, range(len(pieces)), length, max(1, length // 2))

    train, valid = segments_of(0, 800), segments_of(800, TRACKS)
    mean, variance = train.band_statistics()
    model = build_model(name, input_shape=(length, BANDS), classes=CLASSES, mean=mean, variance=variance, seed=1)
    options = load_params().train
    short = {"epochs": 1, "segments_per_epoch": UPDATES * options.batch_size, "learning_rate": 1e-4}
    fit(model, train, valid, options.model_copy(update=short))
    fitted = peak_memory_mib()
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(model, Path(folder, "model.onnx"))
        check_parity(model, Path(folder, "model.onnx"), valid.segments(slice(0, 64)))
    print(f"{name:18}{imported:10.0f}{fitted:10.0f}{peak_memory_mib():10.0f}", flush=True)


def write_shard(path: Path) -> None:
    """Write the frames of all tracks, noise."""
    shape = (TRACKS * FRAMES_PER_TRACK, BANDS)
    frames = np.lib.format.open_memmap(path, mode="w+", dtype="uint8", shape=shape)
    rng = np.random.default_rng(0)
    for first in range(0, len(frames), FRAMES_PER_TRACK):
        frames[first : first + FRAMES_PER_TRACK] = rng.integers(0, 256, (FRAMES_PER_TRACK, BANDS), dtype="uint8")
    frames.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(MODELS))
    parser.add_argument("--shard", type=Path, help=argparse.SUPPRESS)  # given to the processes that this one starts
    arguments = parser.parse_args()
    if arguments.shard:
        measure(*arguments.names, arguments.shard)
        return
    print(f"{'peak, MiB':18}{'imports':>10}{'fit':>10}{'export':>10}")
    with tempfile.TemporaryDirectory() as folder:
        shard = Path(folder, "shard.npy")
        write_shard(shard)
        for name in arguments.names:
            subprocess.run([sys.executable, __file__, name, "--shard", str(shard)], check=True)


if __name__ == "__main__":
    main()
