"""Values of the penultimate layer of a network."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def penultimate_model(model: "keras.Model") -> "keras.Model":
    """Return the part of a model in front of the dense layers that compute the logits.

    Parameters
    ----------
    model : keras.Model
        From `genreflow.models.build_model`.

    Returns
    -------
    keras.Model
        From float32 (batch, frames, n_mels) to float32 (batch, n_features).
    """
    import keras

    return keras.Model(model.input, with_penultimate_values(model).outputs[1])


def with_penultimate_values(model: "keras.Model") -> "keras.Model":
    """Return a model with the penultimate values as a second output; both share all layers.

    Parameters
    ----------
    model : keras.Model
        From `genreflow.models.build_model`.

    Returns
    -------
    keras.Model
        From float32 (batch, frames, n_mels) to float32 (batch, classes) and float32 (batch, n_features).
    """
    import keras

    body = model.get_layer("body")
    last = next(layer for layer in body.layers if layer.output is body.output)
    # An ensemble averages the logits of several dense layers.
    members = last.input if isinstance(last.input, list) else [last.output]
    dense = [next(layer for layer in body.layers if layer.output is member) for member in members]
    values = [keras.layers.Flatten()(layer.input) for layer in dense]
    penultimate = keras.layers.Concatenate()(values) if len(values) > 1 else values[0]
    image = model.operations[model.operations.index(body) - 1].output  # `body.input` is within the body
    outputs = keras.Model(body.input, [body.output, penultimate], name=body.name)(image)
    return keras.Model(model.input, outputs, name=model.name)
