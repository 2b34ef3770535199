"""A bundle whose model finds the frequency band with the most energy, without training, and tones to classify.

Also a project folder with it as the champion, whose bento the tests of the service start.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import soundfile as sf
from onnx import TensorProto, helper, numpy_helper

from conftest import ROOT
from genreflow.bundle import Bundle, Familiarity, stamp, write_bundle
from genreflow.features.logmel import LogMel
from genreflow.features.spec import FeatureSpec, FilterBank

SPEC = FeatureSpec(sample_rate=8000, n_fft=512, hop_length=256, n_mels=30, fmin=0.0, fmax=4000.0, clip_seconds=6.0)
LABELS = ("bass", "drone", "whistle")
SEGMENT_SECONDS = 2.0
# Frequency of the tone of each label [Hz].
TONES = {"bass": 300.0, "drone": 2000.0, "whistle": 3500.0}


def write_toy_bundle(
    directory: Path,
    *,
    abstain_below: float = 0.5,
    temperature: float = 1.5,
    labels: tuple[str, str, str] = LABELS,
    leaking: bool = False,
    lineage: dict | None = None,
    embedder: dict | None = None,
    keras_path: Path | None = None,
    refuse_above: float | None = None,
) -> Bundle:
    """Write a bundle whose logit k is proportional to the mean level of the k-th third of the mel bands.

    With `refuse_above` it has the mean levels of the three tones as prototypes, five times, so that a tone is as far
    from the five nearest ones as from the nearest.
    """
    bands, bins = SPEC.n_mels, 1 + SPEC.n_fft // 2
    centres = np.linspace(0, bins - 1, bands + 2)
    distance = np.abs(np.arange(bins) - centres[1:-1, None]) / (centres[1] - centres[0])
    bank = FilterBank(
        mel=np.maximum(0, 1 - distance).astype(np.float32), window=np.hanning(SPEC.n_fft).astype(np.float32)
    )
    weights = np.kron(np.eye(3), np.ones((bands // 3, 1))).astype(np.float32) * 3
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["segments", "axes"], ["embeddings"], keepdims=0),
            helper.make_node("MatMul", ["embeddings", "weights"], ["logits"]),
        ],
        "toy",
        [helper.make_tensor_value_info("segments", TensorProto.FLOAT, ["n", SPEC.frames(SEGMENT_SECONDS), bands])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3]),
            helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["n", bands]),
        ],
        [numpy_helper.from_array(np.array([1]), "axes"), numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return write_bundle(
        directory,
        onnx=model.SerializeToString(),
        keras_path=keras_path,
        labels=labels,
        spec=SPEC,
        bank=bank,
        segment_frames=SPEC.frames(SEGMENT_SECONDS),
        segment_hop=SPEC.frames(SEGMENT_SECONDS / 2),
        temperature=temperature,
        abstain_below=abstain_below,
        familiarity=None if refuse_above is None else familiarity(bank, refuse_above),
        architecture="toy",
        embedder=embedder,
        lineage={"manifest": "none"} | ({"leaking": True} if leaking else {}) | (lineage or {}),
    )


def familiarity(bank: FilterBank, refuse_above: float) -> Familiarity:
    """Return a reference whose prototypes are the mean levels of the three tones, each five times."""
    logmel = LogMel(SPEC, bank)
    levels = [np.concatenate(list(logmel.frames([tone(label, 6.0)[:, 0]]))).mean(axis=0) for label in TONES]
    rows = np.array([level / np.linalg.norm(level) for level in levels])
    prototypes = np.repeat(rows, 5, axis=0).astype(np.float16)
    return Familiarity(prototypes=prototypes, refuse_above=refuse_above, tracks=20, share=0.05)


def unfamiliar_tone(seconds: float) -> np.ndarray:
    """Return a sine between the tones, in the bands of "bass" but far from its prototypes."""
    return (0.3 * np.sin(2 * np.pi * 1200.0 * np.arange(round(seconds * 8000)) / 8000)).astype(np.float32)


def tone(label: str, seconds: float, *, rate: int = 8000, channels: int = 1) -> np.ndarray:
    """Return a sine at the frequency of `label`, float32 [shape=(n, channels)]."""
    times = np.arange(round(seconds * rate)) / rate
    return np.repeat(0.3 * np.sin(2 * np.pi * TONES[label] * times)[:, None], channels, axis=1).astype(np.float32)


def write_tone(path: Path, label: str, seconds: float = 5.0, *, rate: int = 8000, channels: int = 1, **how) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, tone(label, seconds, rate=rate, channels=channels), rate, **how)
    return path


def write_toy_project(folder: Path) -> Path:
    """Write a project folder as `dvc pull` leaves it, with other files that must not be in a bento."""
    for name in ("bentofile.yaml", "requirements-service.lock"):
        shutil.copy(ROOT / name, folder)
    cached = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src" / "genreflow", folder / "src" / "genreflow", ignore=cached)
    hashes = {"train_tracks": ["ab", "cd"], "valid_tracks": ["ef"]}
    keras_path = folder / "fitted.keras"
    keras_path.write_text("not for the bento")
    write_toy_bundle(folder / "plain", abstain_below=0.4, lineage=hashes, keras_path=keras_path, refuse_above=0.6)
    stamp(folder / "plain", folder / "models" / "champion", version="3", metrics={"accuracy": 0.75})
    beside = ("data/raw/a.wav", "mlruns/0/meta.yaml", "src/genreflow/__pycache__/a.pyc")
    for name in (".venv/bin/python", *beside):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("not for the bento")
    return folder


def build_bento(project: Path, home: Path) -> Path:
    """Run `bentoml build` in `project`, and return the folder of the bento in the store of `home`."""
    environment = os.environ | {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
    command = [sys.executable, "-m", "bentoml", "build"]
    subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True)
    [bento] = [path for path in (home / "bentos" / "genre-classifier").iterdir() if path.is_dir()]
    return bento
