"""The training loop: epochs and updates with Keras' own training step and callbacks.

``keras.Model.fit`` reads batches through a ``tf.data`` pipeline over a Python generator. On two cores that cost small
networks up to a fifth of their speed; a thread and a queue cost a fiftieth.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import keras

from genreflow.training.batches import Batch, TrainingBatches


def run_training_loop(
    model: keras.Model,
    batches: TrainingBatches,
    *,
    epochs: int,
    callbacks: Sequence[keras.callbacks.Callback],
    verbose: int = 0,
) -> None:
    """Train a compiled model for some epochs, or until a callback sets ``model.stop_training``.

    Parameters
    ----------
    model : keras.Model
    batches : TrainingBatches
    epochs : int > 0
    callbacks : sequence of keras.callbacks.Callback
        Called as by ``keras.Model.fit``.
    verbose : {0, 1, 2}
        As in ``keras.Model.fit``.
    """
    train_step, convert = _training_step(model)
    callback_list = keras.callbacks.CallbackList(
        list(callbacks), add_progbar=verbose != 0, verbose=verbose, epochs=epochs, steps=len(batches), model=model
    )
    model.stop_training = False
    callback_list.on_train_begin()
    for epoch in range(epochs):
        model.reset_metrics()
        callback_list.on_epoch_begin(epoch)
        with closing(batches.epoch(epoch, convert=convert)) as prepared:  # ends the thread, whatever ends the epoch
            for index, batch in enumerate(prepared):
                callback_list.on_train_batch_begin(index)
                callback_list.on_train_batch_end(index, train_step(batch))
                if model.stop_training:
                    break
        logs = {name: float(value) for name, value in model.get_metrics_result().items()}
        callback_list.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    callback_list.on_train_end()


def _training_step(model: keras.Model) -> tuple[Callable[[Any], Any], Callable[[Batch], Any]]:
    """The compiled update, and the conversion of a batch to its argument."""
    if keras.backend.backend() != "tensorflow":  # other backends keep their state in different ways
        return lambda batch: model.train_on_batch(*batch, return_dict=True), tuple
    import tensorflow as tf

    # On a CPU the tensors are views of the batch's memory. They are read by the time the step returns, and that memory
    # is only overwritten after the next batch is asked for.
    return tf.function(model.train_step), lambda batch: tuple(map(tf.convert_to_tensor, batch))
