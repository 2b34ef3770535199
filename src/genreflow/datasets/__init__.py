"""Where tracks come from: the sources, and the manifest that says what every track is."""
