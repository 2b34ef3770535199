"""From audio to an answer: the predictor, many files at once, and tracks whose features are in a store. No HTTP."""
