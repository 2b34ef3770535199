"""Segments and batches, augmentation, optimiser, fit and refit."""
