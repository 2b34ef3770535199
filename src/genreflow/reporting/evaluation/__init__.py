"""The report on the evaluation of a model: one page with its metrics, baselines, calibration and mistakes."""
