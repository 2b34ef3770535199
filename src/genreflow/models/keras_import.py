"""Import Keras without TensorFlow's start-up messages."""

import atexit
import gc
import logging
import os


def import_keras() -> None:
    """Import Keras and TensorFlow, and keep their start-up messages out of the output of stages and commands.

    It changes the process, so that only entry points call it, and no module does when it is imported. TensorFlow leaves
    no other way: before its C++ logging is initialised it writes to file descriptor 2 (no GPU found, instructions used)
    whatever the log level, and the level of later C++ messages is set by an environment variable only. Errors are still
    raised as exceptions.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    stderr, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        import keras

        keras.ops.zeros(1)  # the first operation initialises the devices, which logs as well
        # The warning that a function is retraced is expected of a study, which builds many models.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        # At exit Python would search all objects of TensorFlow for garbage once more, which takes a second.
        atexit.register(gc.freeze)
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)
