"""From audio to an answer: the predictor, the BentoML service around it, and many files at once."""
