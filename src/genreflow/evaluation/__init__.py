"""How good a classifier is: metrics, intervals, calibration and paired tests, in plain NumPy."""
