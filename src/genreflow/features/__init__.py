"""From a waveform to base log-mel frames, segments of them, and the store that keeps them."""
