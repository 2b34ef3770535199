"""Baselines: simple classifiers on the same split, beside which a trained model's figure stands."""
