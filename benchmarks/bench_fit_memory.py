"""Peak memory of a training run on 1,000 tracks of 30 s, per architecture: `python benchmarks/bench_fit_memory.py`.

A process for each: data in a memory-mapped file, as the feature store has it, 800 tracks to train and 200 to validate,
augmentation and batches of params.yaml, some updates, a validation, then the export of the bundle's net and its check.
Resident memory of the whole process, TensorFlow and the mapped pages included [MiB].
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from genreflow.models import MODELS

TRACKS, FRAMES_A_TRACK, FRAMES, BANDS, CLASSES = 1000, 1292, 172, 128, 10
UPDATES = 12


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one(name: str, shard: Path) -> None:
    from genreflow.models import build_model
    from genreflow.models.keras_import import import_keras
    from genreflow.params import load_params

    import_keras()
    from genreflow.export.keras_to_onnx import check_parity, export_onnx
    from genreflow.training.fit import fit
    from genreflow.training.segment_set import SegmentSet

    started = peak()
    frames = np.load(shard, mmap_mode="r")
    seconds = MODELS[name].protocol.seconds if MODELS[name].whole_track else 4
    length = min(FRAMES_A_TRACK, round(FRAMES * seconds / 4))

    def some(first: int, last: int) -> SegmentSet:
        pieces = [frames[i * FRAMES_A_TRACK : (i + 1) * FRAMES_A_TRACK] for i in range(first, last)]
        return SegmentSet(pieces, np.arange(len(pieces)) % CLASSES, range(len(pieces)), length, max(1, length // 2))

    train, valid = some(0, 800), some(800, TRACKS)
    mean, variance = train.band_statistics()
    model = build_model(name, input_shape=(length, BANDS), classes=CLASSES, mean=mean, variance=variance, seed=1)
    options = load_params().train
    few = {"epochs": 1, "segments_per_epoch": UPDATES * options.batch_size, "learning_rate": 1e-4}
    fit(model, train, valid, options.model_copy(update=few))
    fitted = peak()
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(model, Path(folder, "model.onnx"))
        check_parity(model, Path(folder, "model.onnx"), valid.segments(slice(0, 64)))
    print(f"{name:18}{started:10.0f}{fitted:10.0f}{peak():10.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(MODELS))
    parser.add_argument("--shard", type=Path, help=argparse.SUPPRESS)  # set where it calls itself
    arguments = parser.parse_args()
    if arguments.shard:
        one(*arguments.names, arguments.shard)
        return
    print(f"{'peak, MiB':18}{'imports':>10}{'fit':>10}{'export':>10}")
    with tempfile.TemporaryDirectory() as folder:
        shard = Path(folder, "shard.npy")
        shape = (TRACKS * FRAMES_A_TRACK, BANDS)
        frames = np.lib.format.open_memmap(shard, mode="w+", dtype="uint8", shape=shape)
        rng = np.random.default_rng(0)
        for first in range(0, len(frames), FRAMES_A_TRACK):
            frames[first : first + FRAMES_A_TRACK] = rng.integers(0, 256, (FRAMES_A_TRACK, BANDS), dtype="uint8")
        frames.flush()
        for name in arguments.names:
            subprocess.run([sys.executable, __file__, name, "--shard", str(shard)], check=True)


if __name__ == "__main__":
    main()
