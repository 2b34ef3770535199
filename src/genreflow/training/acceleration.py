"""Two changes to the compiled training step that make it faster; neither outlives the fit.

`bfloat16_products` lets TensorFlow's graph optimiser compute matrix products and convolutions in bfloat16. Weights,
optimiser state, normalisation and loss stay float32, and validation, calibration and export run in float32. Keras'
``mixed_bfloat16`` policy was at best as fast, and oneDNN's ``FPMATH_MODE`` gave a third of the gain. Small networks
lose by the casts: `Architecture.bfloat16` says which gain.

`unroll_recurrent_layers` unrolls short recurrent layers. XLA, which does that and more, made every network slower.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import keras

# Longer sequences gain little and take long to compile.
MAX_UNROLLED_STEPS = 24


@contextmanager
def bfloat16_products(enabled: bool) -> Iterator[None]:
    """Compute products in bfloat16 in the TensorFlow functions that are called inside; does nothing on other backends.

    Parameters
    ----------
    enabled : bool
        False computes them in float32, also inside an enclosing `bfloat16_products`.
    """
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    option = "auto_mixed_precision_onednn_bfloat16"
    before = tf.config.optimizer.get_experimental_options().get(option, False)
    tf.config.optimizer.set_experimental_options({option: enabled})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({option: before})


@contextmanager
def unroll_recurrent_layers(model: keras.Model) -> Iterator[None]:
    """Unroll recurrent layers of at most `MAX_UNROLLED_STEPS` steps in what is compiled inside.

    Parameters
    ----------
    model : keras.Model
        Models within it are searched too.
    """
    layers = list(_short_recurrent_layers(model))
    before = [layer.unroll for layer in layers]
    for layer in layers:
        layer.unroll = True
    try:
        yield
    finally:
        for layer, value in zip(layers, before, strict=True):
            layer.unroll = value


def _short_recurrent_layers(model: keras.Model) -> Iterator[keras.layers.RNN]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _short_recurrent_layers(layer)
        elif isinstance(layer, keras.layers.Bidirectional):
            if layer.input.shape[1] <= MAX_UNROLLED_STEPS:
                yield from (layer.forward_layer, layer.backward_layer)
        elif isinstance(layer, keras.layers.RNN) and layer.input.shape[1] <= MAX_UNROLLED_STEPS:
            yield layer
