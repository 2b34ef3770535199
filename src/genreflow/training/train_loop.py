"""The loop of a fit: epochs and updates, with Keras' own step and callbacks.

``keras.Model.fit`` would read the batches through a TensorFlow data set that is fed by a Python generator. On two cores
that hand-over cost small nets up to a fifth of their speed; a thread, a queue and tensors cost a fiftieth.
"""

from collections.abc import Sequence
from contextlib import closing

import keras

from genreflow.training.epochs import TrainingBatches


def learn(
    model: keras.Model,
    batches: TrainingBatches,
    *,
    epochs: int,
    callbacks: Sequence[keras.callbacks.Callback],
    verbose: int = 0,
) -> None:
    """Update a compiled model, epoch after epoch, until they are over or a callback sets ``model.stop_training``.

    Parameters
    ----------
    model : keras.Model
    batches : TrainingBatches
    epochs : int > 0
    callbacks : sequence of keras.callbacks.Callback
        They see what they see in ``keras.Model.fit``.
    verbose : {0, 1, 2}
        As ``keras.Model.fit`` takes it.
    """
    step, tensors = _compiled_step(model)
    watch = keras.callbacks.CallbackList(
        list(callbacks), add_progbar=verbose != 0, verbose=verbose, epochs=epochs, steps=len(batches), model=model
    )
    model.stop_training = False
    watch.on_train_begin()
    for epoch in range(epochs):
        model.reset_metrics()
        watch.on_epoch_begin(epoch)
        with closing(batches.epoch(epoch, ready=tensors)) as made:  # whatever ends the epoch ends the thread
            for number, batch in enumerate(made):
                watch.on_train_batch_begin(number)
                watch.on_train_batch_end(number, step(batch))
                if model.stop_training:
                    break
        logs = {name: float(value) for name, value in model.get_metrics_result().items()}
        watch.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    watch.on_train_end()


def _compiled_step(model: keras.Model):
    """One update, and what makes tensors of a batch for it."""
    if keras.backend.backend() != "tensorflow":  # the other backends keep their state in a way of their own
        return lambda batch: model.train_on_batch(*batch, return_dict=True), tuple
    import tensorflow as tf

    return tf.function(model.train_step), lambda batch: tuple(map(tf.convert_to_tensor, batch))
