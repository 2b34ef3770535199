"""The baseline of `bench_service.py`, a plain service: Flask, librosa and Keras' `model.predict`.

python benchmarks/plain_service.py BUNDLE PORT
"""

import io
import sys
from pathlib import Path

import flask
import keras
import librosa
import numpy as np

from genreflow.bundle import Bundle
from genreflow.embedding.checkpoint import read_weights
from genreflow.embedding.conversion import to_patches
from genreflow.embedding.musicnn import build_musicnn
from genreflow.embedding.zero_filters import prune


def musicnn(name: str) -> keras.Model:
    """Return musicnn in Keras, pruned, with the values that a classifier behind it takes."""
    network = build_musicnn(prune(read_weights(name)))
    values = [network.output[part] for part in ("penultimate", "max", "mean")]
    return keras.Model(network.input, keras.layers.Concatenate()(values))


def make_app(directory: Path) -> flask.Flask:
    bundle = Bundle.load(directory)
    spec, length, hop = bundle.spec, bundle.segment_frames, bundle.segment_hop
    model = keras.models.load_model(bundle.keras_path)
    network = musicnn(bundle.embedder["name"]) if bundle.embedder else None
    app = flask.Flask("plain")

    @app.get("/readyz")
    def ready() -> str:
        return ""

    @app.post("/classify")
    def classify() -> dict:
        y, _ = librosa.load(io.BytesIO(flask.request.files["audio"].read()), sr=spec.sample_rate)
        mel = librosa.feature.melspectrogram(
            y=y,
            sr=spec.sample_rate,
            n_fft=spec.n_fft,
            hop_length=spec.hop_length,
            n_mels=spec.n_mels,
            fmin=spec.fmin,
            fmax=spec.fmax,
        )
        levels = librosa.power_to_db(mel, ref=np.max, top_db=spec.top_db).T / spec.top_db + 1
        starts = range(0, max(1, len(levels) - length + 1), hop)
        segments = np.stack([levels[start : start + length] for start in starts]).astype("float32")
        if network is not None:
            segments = network.predict(to_patches(segments, spec), verbose=0)
        logits = model.predict(segments, verbose=0) / bundle.temperature
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        track = (shares / shares.sum(axis=1, keepdims=True)).mean(axis=0)
        best = int(track.argmax())
        return {"genre": bundle.labels[best], "confidence": float(track[best])}

    return app


if __name__ == "__main__":
    make_app(Path(sys.argv[1])).run(port=int(sys.argv[2]), threaded=True)
