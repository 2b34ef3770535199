"""Features: base log-mel frames of audio, segments of frames, and the feature store."""
