"""Training speed compared with a plain Keras fit, per architecture: `python benchmarks/bench_fit.py`.

Both fit the same model with the same batches, optimiser and loss, alternating in one process. The plain fit is
``keras.Model.fit`` on float32 arrays that hold all segments. Ours reads segments from the uint8 log-mel frames of
tracks, once without augmentation and once with that of params.yaml. At the end the input pipeline is measured alone,
with augmentation.

The fastest epoch counts, since on a shared host slower ones were disturbed. An epoch has as many segments as the model
trains on in about a second, and at least four batches.
"""

import argparse
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from genreflow.models import MODELS, build_model
from genreflow.models.keras_import import import_keras
from genreflow.params import load_params
from genreflow.training.options import FitOptions

FRAMES, BANDS, BATCH, CLASSES = 172, 128, 32, 10
EPOCHS = 3


def make_segments(n_segments: int):
    """At least so many segments, of tracks of noise."""
    from genreflow.training.segment_set import SegmentSet

    rng = np.random.default_rng(0)
    n_tracks = -(-n_segments // 14)  # 30 s have 14 segments of 4 s every 2 s
    pieces = [rng.integers(0, 256, (1292, BANDS), dtype=np.uint8) for _ in range(n_tracks)]
    return SegmentSet(pieces, np.arange(n_tracks) % CLASSES, range(n_tracks), FRAMES, FRAMES // 2)


def make_timer():
    """A callback that measures each epoch [s], from its begin to the end of its last update."""
    import keras

    class EpochTimer(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.seconds: list[float] = []

        def on_epoch_begin(self, epoch, logs=None) -> None:
            self.begin = time.perf_counter()

        def on_train_batch_end(self, batch, logs=None) -> None:
            self.end = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None) -> None:
            self.seconds.append(self.end - self.begin)

    return EpochTimer()


def measure(name: str, augmentation: FitOptions, repeats: int) -> float:
    """Print a line of the table; return the throughput of our fit without augmentation [segments/s]."""
    import keras

    from genreflow.training.fit import fit, measure_throughput

    def make_model():
        return build_model(name, input_shape=(FRAMES, BANDS), classes=CLASSES, seed=1)

    common = {"epochs": 1 + EPOCHS, "batch_size": BATCH, "learning_rate": 1e-3, "optimiser": "adam", "patience": 10_000}
    options, augmented = FitOptions.unregularised(**common), augmentation.model_copy(update=common)
    rate = measure_throughput(make_model(), make_segments(4 * BATCH), options, seconds=1)
    data, valid = make_segments(int(np.clip(rate / BATCH, 4, 200)) * BATCH), make_segments(13)
    n = data.n_segments // BATCH * BATCH
    x, y = data.segments(slice(0, n)), np.eye(CLASSES, dtype="float32")[data.label[:n]]

    def fit_plain(model, timer) -> None:
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
        model.fit(x, y, batch_size=BATCH, epochs=1 + EPOCHS, verbose=0, callbacks=[timer])

    fits: dict[str, Callable] = {
        "plain": fit_plain,
        "ours": lambda model, timer: fit(model, data, valid, options, callbacks=[timer]),
        "augmented": lambda model, timer: fit(model, data, valid, augmented, callbacks=[timer]),
    }
    seconds: dict[str, list[float]] = {kind: [] for kind in fits}
    for _ in range(repeats):
        for kind, run in fits.items():
            timer = make_timer()
            run(make_model(), timer)
            seconds[kind] += timer.seconds[1:]  # the first epoch compiles
            keras.utils.clear_session()
    rates = {kind: n / min(values) for kind, values in seconds.items()}
    print(
        f"{name:18}{rates['plain']:10.0f}{rates['ours']:10.0f}{rates['ours'] / rates['plain']:8.2f}"
        f"{rates['augmented']:12.0f}{rates['augmented'] / rates['plain']:8.2f}   {options.resolve(name).precision}",
        flush=True,
    )
    return rates["ours"]


def measure_input_pipeline(augmentation: FitOptions, threads: int) -> float:
    """Throughput of the input pipeline alone [segments/s]."""
    data = make_segments(8_000)
    batches = np.array_split(np.random.default_rng(0).permutation(data.n_segments), data.n_segments // BATCH)
    local = threading.local()  # memory is used again, as in a fit

    def make_batch(number: int) -> int:
        if len(getattr(local, "buffer", ())) != len(batches[number]):
            local.buffer = np.empty((len(batches[number]), FRAMES, BANDS), "float32")
        rng = np.random.default_rng(number)
        return len(data.augmented_batch(batches[number], rng, augmentation, CLASSES, out=local.buffer)[0])

    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(1 + 2 * EPOCHS):
            begin = time.perf_counter()
            best = max(best, sum(pool.map(make_batch, range(len(batches)))) / (time.perf_counter() - begin))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(MODELS))
    parser.add_argument("--repeats", type=int, default=2, help="of the three fits, alternating")
    arguments = parser.parse_args()
    augmentation = load_params().train
    import_keras()
    print(f"segments/s, {FRAMES}x{BANDS}, batches of {BATCH}")
    print(f"{'':18}{'plain':>10}{'ours':>10}{'ratio':>8}{'augmented':>12}{'ratio':>8}   precision")
    fastest = max(measure(name, augmentation, arguments.repeats) for name in arguments.names)
    for threads in (1, 2):
        rate = measure_input_pipeline(augmentation, threads)
        print(f"input pipeline alone, {threads} thread(s): {rate:,.0f}, {rate / fastest:.1f} of the fastest above")


if __name__ == "__main__":
    main()
