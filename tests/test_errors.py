"""The exceptions cross processes as they are."""

import pickle

from genreflow.errors import AudioError


def test_audio_error_comes_back_from_a_worker():
    error = pickle.loads(pickle.dumps(AudioError("too_long", "song.wav is longer than 900 s.")))
    assert (error.code, str(error)) == ("too_long", "song.wav is longer than 900 s.")
