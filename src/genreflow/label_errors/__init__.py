"""Tracks whose label a classifier contradicts with confidence, for a person to listen to."""
