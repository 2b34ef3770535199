"""GTZAN, the 1,000 excerpts of Tzanetakis and Cook (2002), with what has been published about them since."""
