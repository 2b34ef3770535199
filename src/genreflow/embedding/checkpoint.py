"""The pretrained weights of musicnn, read from the wheel `musicnn`, whose code is never imported.

Pons and Serra: musicnn: Pre-trained convolutional neural networks for music audio tagging. ISMIR late-breaking (2019).
ISC licence. ``requirements-weights.txt`` pins the wheel and its SHA-256; its dependencies, NumPy below 1.17 among them,
cannot be installed beside ours and are not needed.
"""

import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np

from genreflow.errors import GenreflowError, ParameterError
from genreflow.files import sha256

DISTRIBUTION = "musicnn"
# The licence requires that copies of the weights, such as an exported network, name both.
LICENCE, COPYRIGHT = "ISC", "Copyright (c) Music Technology Group, Universitat Pompeu Fabra 2019"
# SHA-256 of the values of each checkpoint in the wheel, trained on the Million Song Dataset and on MagnaTagATune.
CHECKPOINTS = {
    "MSD_musicnn": "8579734ee6388f799ed0def4bbd0d1fdcbeaf213ef2a9dc860917bd76a303de6",
    "MTT_musicnn": "041f3935e981a65cea739842d30c188d3a7d2adf4410955c8668eb3de4a5acab",
}
_INDEX, _DATA = ".index", ".data-00000-of-00001"

# Shape of the kernel of each convolution, in order of creation: (time, frequency, channels, filters). The first five
# are the front end, on the spectrogram; `conv2d_5` takes the 561 values per frame of the front end.
KERNELS = {
    "conv2d": (7, 38, 1, 204),
    "conv2d_1": (7, 67, 1, 204),
    "conv2d_2": (128, 1, 1, 51),
    "conv2d_3": (64, 1, 1, 51),
    "conv2d_4": (32, 1, 1, 51),
    "conv2d_5": (7, 561, 1, 64),
    "conv2d_6": (7, 64, 1, 64),
    "conv2d_7": (7, 64, 1, 64),
    "dense": (1506, 200),
    "dense_1": (200, 50),
}
CONVOLUTIONS = tuple(name for name in KERNELS if name.startswith("conv2d"))
FRONT_END = CONVOLUTIONS[:5]
# In the order in which Keras has them, too.
BATCH_NORM_PARTS = ("gamma", "beta", "moving_mean", "moving_variance")
# Values per batch normalisation: of the input, after each convolution, and before and after the layer `dense`.
NORMALISED = (1, *(KERNELS[name][-1] for name in CONVOLUTIONS), *KERNELS["dense"])


def batch_norm_name(index: int) -> str:
    """Return the name of a batch normalisation in a checkpoint: TensorFlow numbers them in order of creation."""
    return f"batch_normalization_{index}" if index else "batch_normalization"


def variable_shapes() -> dict[str, tuple[int, ...]]:
    """Return the shape of each variable of musicnn by its name in a checkpoint; 792,079 numbers."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in KERNELS.items():
        shapes |= {f"{name}/kernel": shape, f"{name}/bias": shape[-1:]}
    for index, size in enumerate(NORMALISED):
        for part in BATCH_NORM_PARTS:
            shapes[f"{batch_norm_name(index)}/{part}"] = (size,)
    return shapes


def read_weights(name: str, path: Path | None = None) -> dict[str, np.ndarray]:
    """Read the weights of a checkpoint of musicnn.

    Parameters
    ----------
    name : {"MSD_musicnn", "MTT_musicnn"}
    path : Path, optional
        Directory of a checkpoint of the same structure that is read instead of the one in the wheel.

    Returns
    -------
    dict of str to np.ndarray [dtype=float32]
        The variables of `variable_shapes`.

    Raises
    ------
    ParameterError
        No checkpoint has this name.
    GenreflowError
        The wheel is not installed, or the checkpoint is damaged or of another structure.
    """
    directory = Path(path) if path is not None else checkpoint_directory(name)
    index, data = _checkpoint_files(directory)
    if path is None and (found := sha256(data)) != CHECKPOINTS[name]:
        raise GenreflowError(f"{data}: SHA-256 must be {CHECKPOINTS[name]}; got {found}: run `make weights`.")
    return _read(directory, index, data)


def checkpoint_directory(name: str) -> Path:
    """Return the directory of a checkpoint in the installed wheel.

    Parameters
    ----------
    name : {"MSD_musicnn", "MTT_musicnn"}

    Raises
    ------
    ParameterError
        No checkpoint has this name.
    GenreflowError
        The wheel is not installed.
    """
    if name not in CHECKPOINTS:
        raise ParameterError(f"embedding.name must be one of {', '.join(CHECKPOINTS)}; got {name}.")
    try:
        files = distribution(DISTRIBUTION).files or []
    except PackageNotFoundError:
        raise GenreflowError(
            f"{name}: the pretrained weights must be installed; got no distribution {DISTRIBUTION}: run `make weights`."
        ) from None
    for file in files:
        if file.parent.name == name and file.name == _INDEX:
            return Path(str(file.locate())).parent
    raise GenreflowError(
        f"{name}: the distribution {DISTRIBUTION} must contain {name}/{_INDEX}; got no such file: run `make weights`."
    )


def _checkpoint_files(directory: Path) -> tuple[Path, Path]:
    """Return the index and the values of the only checkpoint in a directory."""
    found = sorted(directory.glob(f"*{_INDEX}")) if directory.is_dir() else []
    if len(found) != 1:
        raise GenreflowError(f"{directory}: must contain one TensorFlow checkpoint (*{_INDEX}); got {len(found)}.")
    data = found[0].with_name(found[0].name.removesuffix(_INDEX) + _DATA)
    if not data.is_file():
        raise GenreflowError(f"{data}: must be there, beside {found[0].name}; got no such file.")
    return found[0], data


def _read(directory: Path, index: Path, data: Path) -> dict[str, np.ndarray]:
    import tensorflow as tf  # takes seconds

    with tempfile.TemporaryDirectory() as temporary:
        # The wheel's checkpoints have an empty prefix (``.index``), which TensorFlow takes for a directory.
        prefix = Path(temporary) / "checkpoint"
        shutil.copyfile(index, f"{prefix}{_INDEX}")
        shutil.copyfile(data, f"{prefix}{_DATA}")
        try:
            reader = tf.train.load_checkpoint(str(prefix))
            stored = reader.get_variable_to_shape_map()
            for name, shape in variable_shapes().items():
                if (found := tuple(stored.get(name, ()))) != shape:
                    raise GenreflowError(
                        f"{directory}: {name} must have shape {shape}; got {found or 'no such variable'}."
                    )
            return {name: np.asarray(reader.get_tensor(name), np.float32) for name in variable_shapes()}
        except (tf.errors.OpError, ValueError, RuntimeError) as error:
            message = " ".join(str(error).split()).rstrip(".")
            raise GenreflowError(f"{directory}: must be a TensorFlow checkpoint; got {message}.") from error
