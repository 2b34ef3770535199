"""Evaluation of a classifier: metrics, confidence intervals, calibration and paired tests, in plain NumPy."""
