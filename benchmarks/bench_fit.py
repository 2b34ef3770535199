"""Speed of fit against a plain Keras fit on arrays in memory, per architecture: `python benchmarks/bench_fit.py`.

Same net, batch, optimiser, loss and segments in one run. The plain way is ``keras.Model.fit`` on float32
arrays that hold every segment; ours gathers them from the log-mel of tracks, batch by batch, first without
augmentation, then with that of params.yaml's defaults. The last column is what the input pipeline alone feeds, with
augmentation, in segments a second. An epoch is as many segments as an architecture takes in about two seconds.
"""

import argparse
import statistics
import time

import numpy as np

from genreflow.models import MODELS, build_model
from genreflow.models.start import import_keras
from genreflow.params import load_params
from genreflow.training.options import FitOptions

FRAMES, BANDS, BATCH, CLASSES = 172, 128, 32, 10
ROUNDS = 3


def tracks(n_segments: int):
    from genreflow.training.batches import SegmentSet

    rng = np.random.default_rng(0)
    n_tracks = -(-n_segments // 13)  # 30 s at 4 s every 2 s
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


def measure(name: str, defaults: FitOptions) -> None:
    import keras

    from genreflow.training.batches import training_batch
    from genreflow.training.fit import fit

    def model():
        return build_model(name, input_shape=(FRAMES, BANDS), classes=CLASSES, seed=1)

    few = tracks(BATCH)
    valid = tracks(13)
    base = {"epochs": 2, "batch_size": BATCH, "learning_rate": 1e-3, "optimiser": "adam"}
    trial = Epochs()
    fit(model(), few, valid, FitOptions.plain(**base), callbacks=[trial.callback])
    steps = int(np.clip(2 / (trial.seconds[-1] / (few.n_segments // BATCH)), 4, 200))
    data = tracks(steps * BATCH)
    n = data.n_segments // BATCH * BATCH
    base["epochs"] = 1 + ROUNDS

    plain, ours, augmented = Epochs(), Epochs(), Epochs()
    net = model()
    net.compile(
        keras.optimizers.Adam(1e-3), keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    x, y = data.segments(slice(0, n)), np.eye(CLASSES, dtype="float32")[data.label[:n]]
    net.fit(x, y, batch_size=BATCH, epochs=base["epochs"], verbose=0, callbacks=[plain.callback])
    del x
    fit(model(), data, valid, FitOptions.plain(**base), callbacks=[ours.callback])
    own = defaults.model_copy(update=base | {"patience": 10_000})
    fit(model(), data, valid, own, callbacks=[augmented.callback])
    rates = [n / statistics.median(way.seconds[1:]) for way in (plain, ours, augmented)]

    rng = np.random.default_rng(0)
    begin = time.perf_counter()
    for first in range(0, n - BATCH + 1, BATCH):
        training_batch(data, np.arange(first, first + BATCH), rng, own, CLASSES)
    fed = n / (time.perf_counter() - begin)
    print(
        f"{name:18}{rates[0]:10.0f}{rates[1]:10.0f}{rates[1] / rates[0]:8.2f}{rates[2]:12.0f}{rates[2] / rates[0]:8.2f}"
        f"{fed:10.0f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(MODELS))
    names = parser.parse_args().names
    defaults = load_params().train
    import_keras()
    print(f"segments a second, {FRAMES}x{BANDS}, batches of {BATCH}")
    print(f"{'':18}{'plain':>10}{'ours':>10}{'ratio':>8}{'augmented':>12}{'ratio':>8}{'fed':>10}")
    for name in names:
        measure(name, defaults)


if __name__ == "__main__":
    main()
