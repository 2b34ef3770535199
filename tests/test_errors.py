"""Exceptions keep their attributes across processes."""

import pickle

from genreflow.errors import AudioError


def test_an_audio_error_can_be_pickled():
    error = pickle.loads(pickle.dumps(AudioError("too_long", "song.wav must be at most 900 s long; got 901 s.")))
    assert (error.code, str(error)) == ("too_long", "song.wav must be at most 900 s long; got 901 s.")
