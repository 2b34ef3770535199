"""Speed of fit against a plain Keras fit on arrays in memory, per architecture: `python benchmarks/bench_fit.py`.

Same net, batch, optimiser, loss and segments in one run, in turns. The plain way is ``keras.Model.fit`` on float32
arrays that hold every segment; ours gathers them from the log-mel of tracks, batch by batch, first without
augmentation, then with that of params.yaml. Last comes what the input pipeline alone feeds, with that augmentation.
Of each way the fastest epoch counts: on a shared machine, whatever is slower was disturbed. An epoch is as many
segments as the architecture takes in about a second, and at least four batches.
"""

import argparse
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from genreflow.models import MODELS, build_model
from genreflow.models.keras_import import import_keras
from genreflow.params import load_params
from genreflow.training.options import FitOptions

FRAMES, BANDS, BATCH, CLASSES = 172, 128, 32, 10
EPOCHS = 3


def tracks(n_segments: int):
    from genreflow.training.segment_set import SegmentSet

    rng = np.random.default_rng(0)
    n_tracks = -(-n_segments // 14)  # 30 s at 4 s every 2 s
    pieces = [rng.integers(0, 256, (1292, BANDS), dtype=np.uint8) for _ in range(n_tracks)]
    return SegmentSet(pieces, np.arange(n_tracks) % CLASSES, range(n_tracks), FRAMES, FRAMES // 2)


class Epochs:
    """Seconds of each epoch of a fit, without what comes before and behind it."""

    def __init__(self):
        import keras

        watch = self

        class Watch(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                watch.begin = time.perf_counter()

            def on_train_batch_end(self, batch, logs=None):
                watch.last = time.perf_counter()

            def on_epoch_end(self, epoch, logs=None):
                watch.seconds.append(watch.last - watch.begin)

        self.seconds: list[float] = []
        self.callback = Watch()


def measure(name: str, augmentation: FitOptions, turns: int) -> float:
    """Print a line; gives the segments a second of our fit."""
    import keras

    from genreflow.training.fit import fit, measure_throughput

    def model():
        return build_model(name, input_shape=(FRAMES, BANDS), classes=CLASSES, seed=1)

    base = {"epochs": 1 + EPOCHS, "batch_size": BATCH, "learning_rate": 1e-3, "optimiser": "adam", "patience": 10_000}
    options = FitOptions.unregularised(**base)
    rate = measure_throughput(model(), tracks(4 * BATCH), options, seconds=1)
    data, valid = tracks(int(np.clip(rate / BATCH, 4, 200)) * BATCH), tracks(13)
    n = data.n_segments // BATCH * BATCH
    x, y = data.segments(slice(0, n)), np.eye(CLASSES, dtype="float32")[data.label[:n]]
    ways: dict[str, list[float]] = {}

    def timed(way, run):
        watch = Epochs()
        run(model(), watch.callback)
        ways.setdefault(way, []).extend(watch.seconds[1:])
        keras.utils.clear_session()

    def plain(net, watch):
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        net.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
        net.fit(x, y, batch_size=BATCH, epochs=1 + EPOCHS, verbose=0, callbacks=[watch])

    for _ in range(turns):
        timed("plain", plain)
        timed("ours", lambda net, watch: fit(net, data, valid, options, callbacks=[watch]))
        more = augmentation.model_copy(update=base)
        timed("augmented", lambda net, watch, more=more: fit(net, data, valid, more, callbacks=[watch]))
    rates = {way: n / min(seconds) for way, seconds in ways.items()}
    print(
        f"{name:18}{rates['plain']:10.0f}{rates['ours']:10.0f}{rates['ours'] / rates['plain']:8.2f}"
        f"{rates['augmented']:12.0f}{rates['augmented'] / rates['plain']:8.2f}   {options.resolve(name).precision}",
        flush=True,
    )
    return rates["ours"]


def feed(augmentation: FitOptions, threads: int) -> float:
    """Segments a second that are made ready when nothing learns from them."""
    data = tracks(8_000)
    batches = np.array_split(np.random.default_rng(0).permutation(data.n_segments), data.n_segments // BATCH)

    own = threading.local()  # memory is used again, as in a fit

    def batch(number: int) -> int:
        if len(getattr(own, "memory", ())) != len(batches[number]):
            own.memory = np.empty((len(batches[number]), FRAMES, BANDS), "float32")
        rng = np.random.default_rng(number)
        return len(data.augmented_batch(batches[number], rng, augmentation, CLASSES, out=own.memory)[0])

    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(1 + 2 * EPOCHS):
            begin = time.perf_counter()
            best = max(best, sum(pool.map(batch, range(len(batches)))) / (time.perf_counter() - begin))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(MODELS))
    parser.add_argument("--turns", type=int, default=2, help="of the three ways, one after the other")
    arguments = parser.parse_args()
    augmentation = load_params().train
    import_keras()
    print(f"segments a second, {FRAMES}x{BANDS}, batches of {BATCH}")
    print(f"{'':18}{'plain':>10}{'ours':>10}{'ratio':>8}{'augmented':>12}{'ratio':>8}   precision")
    fastest = max(measure(name, augmentation, arguments.turns) for name in arguments.names)
    for threads in (1, 2):
        fed = feed(augmentation, threads)
        print(f"input pipeline alone, {threads} thread(s): {fed:,.0f}, {fed / fastest:.1f} of the fastest above")


if __name__ == "__main__":
    main()
