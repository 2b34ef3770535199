"""The log of predictions: its files, and the comparison of what is in them with what a model is known to handle."""
