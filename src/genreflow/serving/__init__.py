"""The BentoML service: HTTP around the predictor, and its page."""
