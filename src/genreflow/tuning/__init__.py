"""The Optuna study: search space, storage, objectives, pruning, trials and results."""
