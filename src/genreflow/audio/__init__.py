"""Audio files: decoding, resampling, limits, and what their headers declare."""
