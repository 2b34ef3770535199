"""From a file to a waveform: decoding, resampling, limits and the exceptions they raise."""

from genreflow.audio.decode import AudioFacts, AudioInfo, inspect, iter_mono, load, probe

__all__ = ["AudioFacts", "AudioInfo", "inspect", "iter_mono", "load", "probe"]
