"""Starting Keras without the noise that comes with it."""

import atexit
import gc
import logging
import os


def import_keras() -> None:
    """Import Keras and TensorFlow without the lines they write past Python at start-up (no GPU, which instructions).

    What they would say is no news to anyone and stands between the lines of a pipeline; an error is still raised.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        import keras

        keras.ops.zeros(1)  # the last of these lines comes with the first operation
        # It warns that a function is compiled again and again; that is what a study of many models does.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        # Or Python goes through all that TensorFlow made once more before it ends, for a second.
        atexit.register(gc.freeze)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)
