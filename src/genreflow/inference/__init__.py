"""Inference: a bundle applied to one file, to many files, and to the tracks of a feature store. No HTTP."""
