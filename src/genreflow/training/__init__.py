"""From segments to a bundle: batches and augmentation, fit, export, and the study that tunes them."""
