"""Sources of tracks: local folders, imported spectrograms, published datasets, and the built-in demo data."""
