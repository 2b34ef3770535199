"""What a fit does for its speed, and takes back before anything else sees the model.

`products` may halve the bits of matrix products and convolutions. Weights, optimiser, normalisation and loss stay
float32, and so does every answer: validation, calibration and export never see a rounded product. TensorFlow's own
rewriting of the graph does it, so that no model has to know. Keras's ``mixed_bfloat16`` policy was as fast at best, and
oneDNN's ``FPMATH_MODE``, which rounds inside the products alone, gained a third of it. Small nets lose by the casts:
the rows of the registry say who gains.

`unrolled` writes the steps of short recurrent layers out. XLA, which does that and more, made every net slower.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

# Longer sequences gain little by being written out, and take long to compile.
MOST_STEPS = 24
_CPUINFO = Path("/proc/cpuinfo")
# Multiplies tiles of bfloat16 at many times the speed of float32; vector instructions alone do not repay the casts.
_FLAG = "amx_bf16"


@cache
def processor_gains() -> bool:
    """Whether this processor multiplies matrices of bfloat16 much faster than of float32."""
    try:
        return _FLAG in _CPUINFO.read_text("utf-8").split()
    except OSError:  # no Linux
        return False


@contextmanager
def products(bfloat16: bool) -> Iterator[None]:
    """Functions of TensorFlow that are called inside compute their products so; other backends stay as they are.

    Parameters
    ----------
    bfloat16 : bool
        False: in float32.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    option = "auto_mixed_precision_onednn_bfloat16"
    before = tf.config.optimizer.get_experimental_options().get(option, False)
    tf.config.optimizer.set_experimental_options({option: bfloat16})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({option: before})


@contextmanager
def unrolled(model) -> Iterator[None]:
    """Recurrent layers of at most `MOST_STEPS` steps are written out step by step in what is compiled inside.

    Parameters
    ----------
    model : keras.Model
    """
    layers = list(_short_recurrent(model))
    before = [layer.unroll for layer in layers]
    for layer in layers:
        layer.unroll = True
    try:
        yield
    finally:
        for layer, value in zip(layers, before, strict=True):
            layer.unroll = value


def _short_recurrent(model) -> Iterator:
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _short_recurrent(layer)
        elif isinstance(layer, keras.layers.Bidirectional | keras.layers.RNN) and layer.input.shape[1] <= MOST_STEPS:
            both = isinstance(layer, keras.layers.Bidirectional)
            yield from (layer.forward_layer, layer.backward_layer) if both else (layer,)
