"""What is known of the tracks: the manifest, its tracks, and which of them belong to one group."""
